/** The log as nodes follow it: what each entry names, and whom it was told (R1). */
import { describe, expect, it } from 'vitest'
import type { UserId } from '../../protocol/ids.ts'
import type { RecordEvent } from '../../protocol/records.ts'
import type { LogEntry, Telling, Written } from '../../storage/storage.ts'
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

function byUser(tellings: readonly Telling[]): Record<UserId, RecordEvent> {
  const each = tellings.flatMap(({ to, data }) => (to as readonly UserId[]).map((user) => [user, data] as const))
  expect(new Set(each.map(([user]) => user)).size, 'somebody is told twice').toBe(each.length)
  return Object.fromEntries(each)
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

    it('R1, E5 who follows finds of an entry what it told at its commit, and whom', async () => {
      await using stage = await openStage(open)
      const found = async (entry: LogEntry) => {
        expect(byUser(await stage.storage.events.tellings(entry.position))).toEqual(told(entry))
      }
      const room = await stage.create(alice, [bob])
      const { id } = room.result.conversation
      await found(entryOf(room))
      const message = await stage.say(bob, id, 'one')
      await found(entryOf(message))
      await found(entryOf(await stage.read(alice, id, message.result.message.id)))
      await found(entryOf(await stage.add(alice, id, carol)))
      await found(entryOf(await stage.remove(alice, id, bob)))
      await found(entryOf(await stage.storage.users.put(stage.act(dave), { name: 'Dave' })))
      await found(entryOf(await stage.add(alice, id, bob)))
      await found(entryOf(await stage.edit(bob, message.result.message.id, { body: 'two' })))
      await found(entryOf(await stage.leave(carol, id)))
      await found(entryOf(await stage.delete(bob, message.result.message.id)))
      await found(entryOf(await stage.rotate(alice, 'another')))
      const end = entryOf(await stage.end(alice, id))
      await found(end)
      expect(await stage.storage.events.tellings(end.position + 5)).toEqual([])
    })

    it('R1, L2 that is one question, be they ten thousand', async () => {
      await using stage = await openStage(open)
      const crowd = Array.from({ length: 10_000 }, (_, index): UserId => `user/${10_000 + index}`)
      const room = await stage.create(crowd[0]!, crowd)
      const { position } = entryOf(await stage.say(crowd[0]!, room.result.conversation.id, 'to all'))
      const tellings = await stage.storage.events.tellings(position)
      expect(tellings.map(({ to }) => to)).toEqual([crowd])
    })

    it('R2, E4, E5 later he finds of it what each of them would read of it himself', async () => {
      await using stage = await openStage(open)
      const room = await stage.create(alice, [bob, carol])
      const { id } = room.result.conversation
      const { id: message } = (await stage.say(bob, id, 'one')).result.message
      await stage.edit(bob, message, { body: 'two' })
      await stage.remove(alice, id, bob)
      await stage.add(alice, id, bob, dave)
      await stage.leave(dave, id)
      await stage.add(alice, id, dave)
      await stage.leave(dave, id)
      await stage.delete(alice, message)
      await stage.leave(carol, id)
      const last = entryOf(await oneOfEach(stage).then(() => stage.say(bob, id, 'three'))).position
      const { events } = stage.storage
      for (let position = 1; position <= last; position++) {
        const read: Record<UserId, RecordEvent> = {}
        for (const user of [alice, bob, carol, dave]) {
          const [event] = (await events.read(user, [position]))?.events ?? []
          if (event) read[user] = event.data
        }
        expect(byUser(await events.tellings(position)), `position ${position}`).toEqual(read)
      }
    })
  })
}
