/** The log as nodes follow it: what each entry names, and whom it was told (R1). */
import { describe, expect, it } from 'vitest'
import type { UserId } from '../../protocol/ids.ts'
import type { LogEntry, Written } from '../../storage/storage.ts'
import { alice, bob, carol, dave, entryOf, type OpenStorage, openStage, type Stage, told } from './stage.ts'

/** One of each kind of event, in two conversations. */
async function oneOfEach(stage: Stage): Promise<LogEntry[]> {
  const room = await stage.create(alice, [bob])
  const { id } = room.result.conversation
  const message = await stage.say(alice, id, 'one')
  const other = await stage.create(bob, [alice])
  const written: Written<unknown>[] = [
    room,
    message,
    other,
    await stage.edit(alice, message.result.message.id, { body: 'two' }),
    await stage.read(bob, id, message.result.message.id),
    await stage.storage.users.put(stage.act(alice), { name: 'Alice' }),
    await stage.add(alice, id, carol, dave),
    await stage.update(alice, id, 'Title'),
    await stage.remove(alice, id, carol),
    await stage.storage.conversations.setAdmins(stage.act(alice), id, [bob], true),
    await stage.say(bob, other.result.conversation.id, 'elsewhere'),
    await stage.rotate(alice, 'another'),
    await stage.delete(alice, message.result.message.id),
    await stage.leave(dave, id),
    await stage.end(alice, id),
  ]
  return written.map(entryOf)
}

export function followingContract(open: OpenStorage): void {
  describe('following the log', () => {
    it('R1 each entry names the one before it in its conversation, and 0 where there is none', async () => {
      await using stage = await openStage(open)
      const last = new Map<string, number>()
      for (const { position, previous, place } of await oneOfEach(stage)) {
        expect(previous).toBe((place && last.get(place.conversation)) ?? 0)
        if (place) last.set(place.conversation, position)
      }
    })

    it('R1 what stands behind a place comes in the order of the log, as many as are asked for, and how far that is', async () => {
      await using stage = await openStage(open)
      const entries = await oneOfEach(stage)
      const last = entries.at(-1)!.position
      const gone = entries.at(-1)!.place?.conversation
      const { since } = stage.storage.events
      const found = await since(0, 100)
      expect(found.upTo).toBe(last)
      // Of a conversation that is gone, what nobody can be told any more may be gone too.
      const left = entries.filter(({ position }) => found.entries.some((entry) => entry.position === position))
      expect(left.filter(({ place }) => place?.conversation !== gone)).toHaveLength(5)
      expect(left).toContain(entries.at(-1))
      expect(found.entries).toEqual(
        left.map(({ position, place, tellings }) => {
          const user = place ? null : (tellings[0]?.to[0] as UserId)
          return { position, place, user }
        }),
      )
      const first = await since(0, 3)
      expect(first).toEqual({ upTo: found.entries[2]!.position, entries: found.entries.slice(0, 3) })
      expect(await since(first.upTo, 100)).toEqual({ upTo: last, entries: found.entries.slice(3) })
      expect(await since(last, 100)).toEqual({ upTo: last, entries: [] })
      expect(await since(last + 7, 100)).toEqual({ upTo: last + 7, entries: [] })
    })

    it('R1, E5 an entry’s audience are all whom it was told, who come and go with it too', async () => {
      await using stage = await openStage(open)
      const room = await stage.create(alice, [bob])
      const { id } = room.result.conversation
      const message = await stage.say(bob, id, 'one')
      const written = [
        room,
        message,
        await stage.read(alice, id, message.result.message.id),
        await stage.add(alice, id, carol),
        await stage.remove(alice, id, bob),
        await stage.storage.users.put(stage.act(dave), { name: 'Dave' }),
        await stage.add(alice, id, bob),
        await stage.edit(bob, message.result.message.id, { body: 'two' }),
        await stage.leave(carol, id),
      ].map(entryOf)
      for (const entry of written) {
        expect(await stage.storage.events.audience(entry.position)).toEqual(Object.keys(told(entry)))
      }
      const end = entryOf(await stage.end(alice, id))
      expect(await stage.storage.events.audience(end.position)).toEqual([alice, bob])
      expect(await stage.storage.events.audience(end.position + 1)).toEqual([])
    })
  })
}
