/** What was missed: to whom it is told, and how (R2, E4, E5). */
import { describe, expect, it } from 'vitest'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { RecordEvent } from '../../protocol/records.ts'
import type { Missed } from '../../storage/storage.ts'
import { Random, seedOfTest } from '../random.ts'
import { allMissed, gone, here, missedData, sayMany } from './missed.ts'
import { alice, bob, carol, dave, entryOf, newId, type OpenStorage, openStage, told } from './stage.ts'

/** No answer holds more than this, in characters, so that whoever asks need not hold more. */
const mostAtOnce = 256 * 1024

export function resumingContract(open: OpenStorage): void {
  describe('what was missed', () => {
    it('R2 is told in the order of the log, as it was told then, to each what he was told', async () => {
      await using stage = await openStage(open)
      const start = await here(stage)
      const room = await stage.create(alice, [bob, carol])
      const { id } = room.result.conversation
      const message = await stage.say(alice, id, 'one', { metadata: { a: 1 }, clientId: 'c' })
      const other = await stage.create(bob, [alice])
      const written = [
        room,
        message,
        other,
        await stage.edit(alice, message.result.message.id, { body: 'two' }),
        await stage.read(bob, id, message.result.message.id),
        await stage.storage.users.put(stage.act(alice), { name: 'Alice' }),
        await stage.update(alice, id, 'Title'),
        await stage.add(alice, id, dave),
        await stage.storage.conversations.setAdmins(stage.act(alice), id, [bob], true),
        await stage.edit(alice, message.result.message.id, { body: 'three' }),
        await stage.rotate(alice, 'another'),
        await stage.say(dave, id, 'four'),
      ].map(entryOf)
      for (const user of [alice, bob, carol, dave]) {
        const toldThen = written.flatMap((entry) => {
          const data = told(entry)[user]
          return data ? [{ position: entry.position, place: entry.place, data }] : []
        })
        expect(toldThen.length).toBeGreaterThan(2)
        expect(await allMissed(stage, user, start)).toEqual({
          upTo: written.at(-1)?.position,
          wholeTo: written.at(-1)?.position,
          gaps: [],
          positions: expect.any(Array),
          gapsAfter: [],
          events: toldThen,
        })
      }
    })

    it('R1, R2 from each place on it is what stands behind that place, and nothing from the last one', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      for (const body of ['one', 'two', 'three']) await stage.message(alice, room, body)
      await stage.read(bob, room, (await stage.message(alice, room, 'four')).id)
      const everything = await allMissed(stage, bob, 0)
      expect(everything?.events.map(({ data }) => data.record_type)).toEqual([
        'conversation',
        ...Array(4).fill('message'),
        'user_conversation',
      ])
      for (const [index, { position }] of everything!.events.entries()) {
        expect((await allMissed(stage, bob, position))?.events).toEqual(everything?.events.slice(index + 1))
      }
    })

    it('R2 of many conversations and of a long log it is the same, whichever is more', async () => {
      await using stage = await openStage(open)
      // One who is in few conversations of a long log, one who is in many of a short tail.
      const rooms = await Promise.all(Array.from({ length: 70 }, () => stage.conversation(alice, [bob])))
      const few = await stage.conversation(alice, [carol])
      const left = await stage.conversation(alice, [carol])
      await stage.leave(carol, left)
      const start = await here(stage)
      await stage.message(alice, few, 'first')
      const written = await Promise.all(rooms.map((room) => stage.say(alice, room, room)))
      const inOrder = written.toSorted((one, other) => entryOf(one).position - entryOf(other).position)
      await sayMany(stage, left, 250)
      await stage.message(alice, few, 'last')
      const bodies = async (user: UserId) =>
        (await missedData(stage, user, start))?.map(({ record }) => 'body' in record && record.body)
      expect(await bodies(carol)).toEqual(['first', 'last'])
      expect(await bodies(bob)).toEqual(inOrder.map(({ result }) => result.message.body))
    })

    it('R2 a session that begins is told all that it missed up to one moment, and the rest stands behind that', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const start = await here(stage)
      const { epoch } = stage.storage
      for (let round = 0; round < 10; round++) {
        const since = { epoch, position: await here(stage) }
        const asked = Promise.all([stage.say(alice, room, 'one'), stage.say(alice, room, 'two')])
        const { missed } = await stage.storage.userChannels.admit(bob, stage.fresh('his'), since)
        const positions = (await asked).map((written) => entryOf(written).position)
        const upTo = missed?.upTo as number
        expect([since.position, ...positions]).toContain(upTo)
        expect(missed?.events.map(({ position }) => position)).toEqual(positions.filter((position) => position <= upTo))
        const rest = await stage.storage.events.missed(bob, { epoch, position: upTo })
        expect(rest?.events.map(({ position }) => position)).toEqual(positions.filter((position) => position > upTo))
      }
      const listening = await stage.storage.userChannels.admitListener('his', { epoch, position: start })
      expect(listening?.missed?.events).toHaveLength(20)
    })

    it('R2 a session that begins is admitted to what is there, and is told nothing where it missed nothing', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const since = { epoch: stage.storage.epoch, position: await here(stage) }
      await stage.message(alice, room, 'one')
      const admitted = await stage.storage.userChannels.admit(bob, stage.fresh('his'), since)
      expect(admitted.missed).toMatchObject({ upTo: since.position + 1, positions: [] })
      const listening = await stage.storage.userChannels.admitListener('his', since)
      expect(listening).toMatchObject({ userChannel: admitted.userChannel, rotatedAt: admitted.rotatedAt })
      expect(listening?.missed).toEqual(admitted.missed)
      expect((await stage.storage.userChannels.admit(bob, stage.fresh('x'), null)).missed).toBeNull()
    })

    it('R2 one answer holds no more than its reader should hold, whatever the events are made of', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const start = await here(stage)
      const big = { filling: 'x'.repeat(8_000) }
      await Promise.all([
        ...Array.from({ length: 200 }, () => stage.say(alice, room, '.')),
        ...Array.from({ length: 50 }, () => stage.say(alice, room, 'x'.repeat(16_000))),
        ...Array.from({ length: 50 }, () => stage.say(alice, room, '', { metadata: big, attachment: big })),
        ...Array.from({ length: 50 }, () => stage.update(alice, room, undefined, big)),
        ...Array.from({ length: 50 }, () => stage.storage.users.put(stage.act(bob), { metadata: big })),
      ])
      const missed = (await stage.storage.events.missed(bob, { epoch: stage.storage.epoch, position: start })) as Missed
      expect(JSON.stringify(missed.events).length).toBeLessThan(mostAtOnce)
      const seen = missed.events.map(({ position }) => position)
      for (let positions = missed.positions; positions.length > 0; ) {
        const read = await stage.storage.events.read(bob, positions)
        expect(JSON.stringify(read?.events).length).toBeLessThan(mostAtOnce)
        seen.push(...read!.events.map(({ position }) => position))
        positions = positions.slice(read!.read)
      }
      expect(seen).toEqual(Array.from({ length: 400 }, (_, index) => start + 1 + index))
    })

    it('E4 of a message that was deleted since, no content is told, in no record and no original', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const start = await here(stage)
      const secret = { metadata: { a: 'secret' }, attachment: { a: 'secret' } }
      const { id } = await stage.message(alice, room, 'secret', secret)
      await stage.edit(alice, id, { body: 'secret too' })
      await stage.edit(alice, id, { metadata: { b: 'secret' } })
      const before = await allMissed(stage, bob, start)
      expect(JSON.stringify(before)).toContain('secret too')
      await stage.delete(alice, id)
      const after = await allMissed(stage, bob, start)
      expect(after?.events.map(({ data }) => data.event_type)).toEqual(['create', 'update', 'update', 'delete'])
      expect(JSON.stringify(after)).not.toContain('secret')
      const positions = before!.events.map(({ position }) => position)
      expect(JSON.stringify(await stage.storage.events.read(bob, positions))).not.toContain('secret')
    })
  })

  describe('what was missed of a conversation that changed', () => {
    it('E5 who was removed is told that alone, whatever happened there before and after', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const start = await here(stage)
      await stage.read(bob, room, (await stage.message(alice, room, 'before')).id)
      const asked = (await allMissed(stage, bob, start))!.events.map(({ position }) => position)
      expect(asked).toHaveLength(2)
      await stage.remove(alice, room, bob)
      await stage.message(alice, room, 'after')
      expect(await missedData(stage, bob, start)).toEqual([gone(room)])
      // Nor is he told it where it was found to be missed before he was removed.
      expect(await stage.storage.events.read(bob, asked)).toEqual({ events: [], read: 2 })
    })

    it('E5 who was added is told `create` and what came since, and nothing of before', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const start = await here(stage)
      await stage.message(alice, room, 'before')
      const added = entryOf(await stage.add(alice, room, carol))
      const since = entryOf(await stage.say(alice, room, 'since'))
      expect(await missedData(stage, carol, start)).toEqual([told(added)[carol], told(since)[carol]])
      expect(told(added)[carol]).toMatchObject({ event_type: 'create', original_record: null })
    })

    it('E5 who went and came again is told both, each stay’s events, and nothing of between', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const start = await here(stage)
      const before = entryOf(await stage.say(alice, room, 'before'))
      const between = [await stage.remove(alice, room, bob), await stage.say(alice, room, 'between')]
      const again = entryOf(await stage.add(alice, room, bob))
      const since = entryOf(await stage.say(alice, room, 'since'))
      const expected = [told(before)[bob], gone(room), told(again)[bob], told(since)[bob]]
      expect(await missedData(stage, bob, start)).toEqual(expected)
      expect(await missedData(stage, bob, entryOf(between[0]!).position)).toEqual(expected.slice(2))
      await stage.leave(bob, room)
      expect(await missedData(stage, bob, start)).toEqual([gone(room)])
      expect(await missedData(stage, bob, since.position)).toEqual([gone(room)])
    })

    it('E5 of a conversation that was deleted each is told how it ended for him, and nothing else', async () => {
      await using stage = await openStage(open)
      const start = await here(stage)
      const room = await stage.conversation(alice, [bob, carol, dave])
      await stage.read(bob, room, (await stage.message(alice, room, 'secret')).id)
      const left = entryOf(await stage.leave(carol, room))
      await stage.remove(alice, room, dave)
      await stage.add(alice, room, dave)
      const beforeEnd = await here(stage)
      const end = entryOf(await stage.end(alice, room))
      const deleted = told(end)[bob]
      expect(deleted?.record).toEqual({ id: room, deleted: true })
      for (const reopened of [false, true]) {
        if (reopened) await stage.reopen()
        for (const user of [alice, bob, dave]) {
          expect(await missedData(stage, user, start)).toEqual([deleted])
          expect(await missedData(stage, user, beforeEnd)).toEqual([deleted])
          expect(await missedData(stage, user, end.position)).toEqual([])
        }
        expect(await missedData(stage, carol, start)).toEqual([gone(room)])
        expect(await missedData(stage, carol, left.position)).toEqual([])
      }
      const places = (await allMissed(stage, carol, start))?.events.map(({ place }) => place)
      expect(places).toEqual([left.place])
    })

    it('E5 who asks by positions gets nothing that is another’s', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const theirs = [
        await stage.say(alice, room, 'theirs'),
        await stage.storage.users.put(stage.act(alice), { name: 'Alice' }),
        await stage.read(bob, room, (await stage.message(alice, room, 'read')).id),
        await stage.rotate(alice, 'another'),
      ].map((written) => entryOf(written).position)
      expect(await stage.storage.events.read(carol, theirs)).toEqual({ events: [], read: 4 })
      const read = await stage.storage.events.read(alice, theirs)
      expect(read?.events.map(({ position }) => position)).toEqual([theirs[0], theirs[1], theirs[3]])
    })

    it('R2, E5 whatever happens, each is told from any place on what he may see now and could see then', async () => {
      await using stage = await openStage(open)
      const random = new Random(seedOfTest())
      const users = [bob, carol, dave]
      const rooms: ConversationId[] = []
      const log: { position: number; room: ConversationId | null; told: Record<UserId, RecordEvent> }[] = []
      const note = async (writing: Promise<{ entry: ReturnType<typeof entryOf> | null }>) => {
        const { entry } = await writing
        if (entry) log.push({ position: entry.position, room: entry.place?.conversation ?? null, told: told(entry) })
      }
      for (let step = 0; step < 150; step++) {
        const room = random.pick(rooms.length ? rooms : [newId('conversation')])
        const user = random.pick(users)
        const kind = random.below(12)
        if (rooms.length < 2 || kind === 0) {
          const id = newId('conversation')
          await note(stage.create(alice, [user], { id }))
          rooms.push(id)
        } else if (kind < 3) await note(stage.add(alice, room, user))
        else if (kind < 5) await note(stage.remove(alice, room, user))
        else if (kind === 5) await note(stage.storage.users.put(stage.act(user), { name: `${step}` }))
        else if (kind === 6 && random.below(4) === 0) {
          await note(stage.end(alice, room))
          rooms.splice(rooms.indexOf(room), 1)
        } else await note(stage.say(alice, room, `${step}`))
      }
      for (const user of users) {
        const inside = new Set<ConversationId>()
        for (const { room, told } of log) {
          if (room && told[user]?.record_type === 'conversation') {
            if (told[user].event_type === 'delete') inside.delete(room)
            else inside.add(room)
          }
        }
        const lastOf = new Map(log.filter((entry) => entry.told[user]).map(({ room, position }) => [room, position]))
        const visible = log.filter(({ room, position, told }) => {
          return told[user] && (room === null || inside.has(room) || lastOf.get(room) === position)
        })
        for (const since of [0, ...Array.from({ length: 12 }, () => random.below(log.length + 1))]) {
          const expected = visible.filter(({ position }) => position > since).map(({ told }) => told[user])
          expect(await missedData(stage, user, since)).toEqual(expected)
        }
      }
    })
  })
}
