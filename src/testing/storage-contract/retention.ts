/** How much is told, and how long it is kept: gaps, places in the log, epochs and pruning (R1, R3–R5, M5). */
import { describe, expect, it } from 'vitest'
import type { ConversationId } from '../../protocol/ids.ts'
import { missedInAll, missedPerConversation } from '../../storage/storage.ts'
import { allMissed, here, missedData, sayMany } from './missed.ts'
import { alice, bob, carol, codeOf, dave, entryOf, type OpenStorage, openStage, seqOf, told } from './stage.ts'

export function retentionContract(open: OpenStorage): void {
  describe('too much that was missed', () => {
    it('R4 of a conversation with more than 500 events come a gap and the latest 500, and no gap at 500', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const start = await here(stage)
      await sayMany(stage, room, missedPerConversation)
      const exactly = await allMissed(stage, bob, start)
      expect(exactly).toMatchObject({ gaps: [], gapsAfter: [] })
      expect(exactly?.events).toHaveLength(missedPerConversation)
      await stage.say(alice, room, 'one more')
      const more = await allMissed(stage, bob, start)
      expect(more).toMatchObject({ gaps: [{ conversation: room, after_seq: 1, before_seq: 3 }], gapsAfter: [] })
      expect(more?.events.map(({ place }) => place?.seq)).toEqual(Array.from({ length: 500 }, (_, index) => index + 3))
    })

    it('R4, E5 a gap leaves out nothing of what one was not there for, nor what one has', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob, carol])
      await sayMany(stage, room, 20)
      await stage.remove(alice, room, bob)
      const start = await here(stage)
      await sayMany(stage, room, 20)
      const again = seqOf(await stage.add(alice, room, bob)) as number
      await sayMany(stage, room, 600)
      const last = again + 600
      const gap = (after_seq: number) => [{ conversation: room, after_seq, before_seq: last - 499 }]
      expect((await allMissed(stage, bob, start))?.gaps).toEqual(gap(again - 1))
      expect((await allMissed(stage, carol, start))?.gaps).toEqual(gap(22))
    })

    it('R4 a gap begins behind what one has, also where that was pruned', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      await sayMany(stage, room, 49)
      const start = await here(stage)
      const pruned = stage.now
      await sayMany(stage, room, 600)
      expect(await stage.storage.events.prune(pruned, stage.now, 100)).toBe(50)
      expect((await allMissed(stage, bob, start))?.gaps).toEqual([
        { conversation: room, after_seq: 50, before_seq: 151 },
      ])
    })

    it('R4, R1 behind the first 10,000 events come gaps alone, and no cursor passes them by', {
      timeout: 300_000,
    }, async () => {
      await using stage = await openStage(open)
      const rooms: ConversationId[] = []
      for (let count = 0; count < 22; count++) rooms.push(await stage.conversation(alice, [bob]))
      const start = await here(stage)
      await Promise.all(rooms.slice(0, 20).map((room) => sayMany(stage, room, 499)))
      for (const room of rooms.slice(0, 20)) await stage.say(alice, room, 'the last that is told')
      expect((await allMissed(stage, bob, start))?.gapsAfter).toEqual([])
      const last = await here(stage)
      // What comes now is one too many, but for what concerns bob alone, and for what he leaves.
      await stage.storage.users.put(stage.act(bob), { name: 'Bob' })
      await sayMany(stage, rooms[20]!, 3)
      await stage.leave(bob, rooms[21]!)
      const missed = await allMissed(stage, bob, start)
      expect(missed).toMatchObject({ upTo: last + 5, wholeTo: last, gaps: [] })
      expect(missed?.gapsAfter).toEqual([{ conversation: rooms[20], after_seq: 1, before_seq: 5 }])
      const positions = missed?.events.map(({ position }) => position)
      expect(positions).toEqual([
        ...Array.from({ length: missedInAll }, (_, index) => start + 1 + index),
        last + 1,
        last + 5,
      ])
    })
  })

  describe('places in the log', () => {
    it('R5 of another database, of the future and of no epoch there is nothing to go on from', async () => {
      await using stage = await openStage(open)
      await using other = await openStage(open)
      await stage.conversation(alice, [bob])
      const { epoch } = stage.storage
      const position = await here(stage)
      const missed = (epoch: string, position: number) => stage.storage.events.missed(bob, { epoch, position })
      expect(await missed(epoch, position)).toMatchObject({ upTo: position, events: [] })
      expect(await missed(epoch, position + 1)).toBeNull()
      expect(await missed(other.storage.epoch, 0)).toBeNull()
      expect(await missed('', 0)).toBeNull()
      const since = { epoch: other.storage.epoch, position: 0 }
      expect((await stage.storage.userChannels.admit(bob, stage.fresh('his'), since)).missed).toBeNull()
      expect((await stage.storage.userChannels.admitListener('his', since))?.missed).toBeNull()
    })

    it('R3 each holds across every opening of the database, be it named by the epoch of then or of now', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const places: { epoch: string; position: number }[] = []
      for (const body of ['one', 'two', 'three']) {
        const { position } = entryOf(await stage.say(alice, room, body))
        places.push({ epoch: stage.storage.epoch, position })
        await stage.reopen()
        places.push({ epoch: stage.storage.epoch, position })
      }
      const bodies = async (epoch: string, position: number) =>
        (await allMissed(stage, bob, position, epoch))?.events.map(
          ({ data }) => 'body' in data.record && data.record.body,
        )
      for (const [index, { epoch, position }] of places.entries()) {
        expect(await bodies(epoch, position)).toEqual(['one', 'two', 'three'].slice(Math.floor(index / 2) + 1))
      }
      // What a session is told of before the opening is told by its epoch; so a break on the way leads back to such a place.
      expect(await bodies(stage.storage.epoch, places[0]!.position)).toEqual(['two', 'three'])
      expect(await bodies(places[0]!.epoch, places[4]!.position)).toBeUndefined()
    })
  })

  describe('pruning', () => {
    it('R3 takes the oldest entries alone, at most as many as it may, and says how many', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const start = await here(stage)
      for (const body of ['one', 'two', 'three']) await stage.message(alice, room, body)
      const before = stage.now
      await stage.message(alice, room, 'four')
      const { prune } = stage.storage.events
      expect(await prune(0, stage.now, 10)).toBe(0)
      expect(await missedData(stage, bob, start)).toHaveLength(4)
      expect(await prune(before, stage.now, 2)).toBe(2)
      expect(await prune(before, stage.now, 10)).toBe(2)
      expect(await prune(before, stage.now, 10)).toBe(0)
      expect(await missedData(stage, bob, start + 3)).toHaveLength(1)
      // The records are not the log's.
      expect((await stage.messages(bob, room)).map(({ body }) => body)).toEqual(['four', 'three', 'two', 'one'])
    })

    it('R3 stops before the first entry that is not old, be there older ones behind it', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      stage.now += 3_600_000
      const before = stage.now
      await stage.message(alice, room, 'by a clock that was ahead')
      stage.now -= 3_600_000
      await stage.message(alice, room, 'by one that was set back')
      expect(await stage.storage.events.prune(before, before, 10)).toBe(1)
      expect(await stage.events(bob, room, 1)).toHaveLength(2)
    })

    it('R3 what a clock that was ahead has dated is as old as what came behind it', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const year = 365 * 86_400_000
      const sayAhead = async (count: number) => {
        stage.now += year
        for (let said = 0; said < count; said++) await stage.message(alice, room, 'by a clock that was ahead')
        stage.now -= year
      }
      const { prune } = stage.storage.events
      await sayAhead(3)
      // Nothing behind them says how old they are.
      expect(await prune(stage.now, stage.now, 10)).toBe(1)
      await stage.message(alice, room, 'old')
      const before = stage.now
      await sayAhead(1)
      await stage.message(alice, room, 'kept')
      expect(await prune(before, stage.now, 2)).toBe(2)
      expect(await prune(before, stage.now, 10)).toBe(2)
      expect(await prune(before, stage.now, 10)).toBe(0)
      expect(await prune(before, stage.now, 1)).toBe(0)
      expect(await stage.events(bob, room, 5)).toHaveLength(2)
      expect(await prune(stage.now, stage.now, 10)).toBe(2)
    })

    it('R5 a place before what was pruned can’t be gone on from, and the one behind it can; so after reopening', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const first = await here(stage)
      await stage.message(alice, room, 'pruned')
      await stage.message(alice, room, 'pruned too')
      const { epoch } = stage.storage
      expect(await stage.storage.events.prune(stage.now, stage.now, 2)).toBe(2)
      for (const reopened of [false, true]) {
        if (reopened) await stage.reopen()
        expect(await allMissed(stage, bob, first, epoch)).toBeNull()
        expect((await allMissed(stage, bob, first + 1, epoch))?.events).toHaveLength(1)
        expect(await allMissed(stage, carol, first, epoch)).toBeNull()
      }
    })

    it('R5, M5 what is asked for by position or by seq and was pruned is refused, and not left out', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const start = await here(stage)
      for (const body of ['one', 'two', 'three']) await stage.message(alice, room, body)
      const positions = [1, 2, 3].map((n) => start + n)
      await stage.storage.events.prune(stage.now, stage.now, 2)
      const { read } = stage.storage.events
      expect(await read(bob, positions)).toBeNull()
      expect((await read(bob, positions.slice(1)))?.events).toHaveLength(2)
      expect(await read(bob, [])).toEqual({ events: [], read: 0 })
      expect(await codeOf(stage.events(bob, room, 0))).toBe('conflict')
      expect(await codeOf(stage.events(bob, room, 1))).toBe('conflict')
      expect(await stage.events(bob, room, 2)).toHaveLength(2)
      expect(await codeOf(stage.events(dave, room, 0))).toBe('not_found')
    })

    it('R5 what is pruned whole leaves the log’s end where it was', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const position = await here(stage)
      expect(await stage.storage.events.prune(stage.now, stage.now, 10)).toBe(1)
      await stage.reopen()
      expect(stage.storage.position).toBe(position)
      const next = entryOf(await stage.say(alice, room, 'next'))
      expect(next.position).toBe(position + 1)
      expect(await missedData(stage, bob, position)).toEqual([told(next)[bob]])
    })
  })
}
