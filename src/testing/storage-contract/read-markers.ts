/** How far each has read, and what is unread (M6, E6). */
import { describe, expect, it } from 'vitest'
import type { MessageId } from '../../protocol/ids.ts'
import { alice, bob, carol, entryOf, type OpenStorage, openStage, seqOf } from './stage.ts'

export function readMarkersContract(open: OpenStorage): void {
  describe('read markers', () => {
    it('E6, W4 a marker that moves is told to its own user alone, outside the conversation’s order', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const message = await stage.message(alice, room, 'hello')
      const before = (await stage.get(bob, room)).user_conversation
      const written = await stage.read(bob, room, message.id)
      const record = { ...before, unread_count: 0, last_read_message: message.id, last_read_seq: message.seq }
      expect(written.result.user_conversation).toEqual(record)
      const data = {
        record_type: 'user_conversation',
        event_type: 'update',
        record,
        original_record: before,
      }
      const entry = entryOf(written)
      expect(entry).toEqual({
        position: entry.position,
        previous: 0,
        place: null,
        membership: null,
        tellings: [{ to: [bob], data }],
      })
      expect((await stage.get(bob, room)).user_conversation).toEqual(record)
      expect((await stage.get(alice, room)).conversation.last_seq).toBe(2)
      expect(seqOf(await stage.say(alice, room, 'next'))).toBe(3)
      expect(await stage.events(bob, room)).toHaveLength(3)
    })

    it('M6, E1 a participant’s own side of a conversation is whole', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const message = await stage.message(alice, room, 'hello')
      expect((await stage.get(alice, room)).user_conversation).toEqual({
        id: `user_conversation/${room.slice('conversation/'.length)}:alice`,
        user: alice,
        conversation: room,
        unread_count: 0,
        last_read_message: message.id,
        last_read_seq: 2,
        is_admin: true,
      })
    })

    it('M6 a marker never moves back, and one that does not move makes no event', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const messages = []
      for (const body of ['one', 'two', 'three']) messages.push(await stage.message(alice, room, body))
      const { user_conversation } = (await stage.read(bob, room, messages[1]!.id)).result
      expect(user_conversation).toMatchObject({ unread_count: 1, last_read_seq: 3 })
      for (const message of messages.slice(0, 2)) {
        expect(await stage.read(bob, room, message.id)).toEqual({ result: { user_conversation }, entry: null })
      }
      await stage.delete(alice, messages[2]!.id)
      expect((await stage.read(bob, room, messages[2]!.id)).result.user_conversation).toMatchObject({
        last_read_message: messages[2]!.id,
        last_read_seq: 4,
      })
    })

    it('M6 moved by several devices at once, the furthest counts', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const ids: MessageId[] = []
      for (let index = 0; index < 6; index++) ids.push((await stage.message(alice, room, `${index}`)).id)
      const moves = await Promise.all([2, 5, 0, 5, 3].map((index) => stage.read(bob, room, ids[index]!)))
      expect(moves.map(({ result }) => result.user_conversation.last_read_seq)).toEqual([4, 7, 7, 7, 7])
      expect(moves.map(({ entry }) => entry !== null)).toEqual([true, true, false, false, false])
      expect(await stage.unread(bob, room)).toBe(0)
    })

    it('M6 others’ messages behind the marker that are not deleted count, one’s own never do', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob, carol])
      const first = await stage.message(alice, room, 'one')
      const second = await stage.message(alice, room, 'two')
      await stage.message(bob, room, 'three')
      const fourth = await stage.message(alice, room, 'four')
      const unread = () => Promise.all([alice, bob, carol].map((user) => stage.unread(user, room)))
      expect(await unread()).toEqual([0, 1, 4])
      await stage.edit(alice, second.id, { body: 'edited' })
      await stage.update(alice, room, 'Title')
      expect(await unread()).toEqual([0, 1, 4])
      await stage.delete(alice, first.id)
      expect(await unread()).toEqual([0, 1, 3])
      await stage.delete(alice, fourth.id)
      expect(await unread()).toEqual([0, 0, 2])
      await stage.read(carol, room, second.id)
      expect(await unread()).toEqual([0, 0, 1])
    })

    it('M6 sending a message moves one’s own marker past all before it, without an event', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      await stage.message(alice, room, 'one')
      await stage.message(alice, room, 'two')
      const own = await stage.message(bob, room, 'three')
      expect((await stage.get(bob, room)).user_conversation).toMatchObject({
        unread_count: 0,
        last_read_message: own.id,
        last_read_seq: own.seq,
      })
      expect(await stage.events(bob, room, own.seq)).toEqual([])
    })

    it('M6 who is added later begins with nothing unread, at the seq of joining', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const early = await stage.message(alice, room, 'early')
      const seq = seqOf(await stage.add(alice, room, carol))
      expect((await stage.get(carol, room)).user_conversation).toMatchObject({
        unread_count: 0,
        last_read_seq: seq,
        last_read_message: null,
      })
      expect((await stage.read(carol, room, early.id)).entry).toBeNull()
      await stage.message(alice, room, 'late')
      expect(await stage.unread(carol, room)).toBe(1)
      expect(await stage.unread(bob, room)).toBe(2)
    })

    it('M6 unread counts to 100 in a conversation, and adds up over all of them', async () => {
      await using stage = await openStage(open)
      const [busy, quiet, silent] = [
        await stage.conversation(alice, [bob]),
        await stage.conversation(alice, [bob]),
        await stage.conversation(alice, [bob]),
      ] as const
      const unread = () => stage.storage.readMarkers.unread(bob)
      expect(await unread()).toEqual({ conversation: 0, message: 0 })
      const messages = await Promise.all(
        Array.from({ length: 105 }, (_, index) => stage.message(alice, busy, `${index}`)),
      )
      await stage.message(alice, quiet, 'one')
      await stage.delete(alice, (await stage.message(alice, silent, 'deleted')).id)
      expect(await stage.unread(bob, busy)).toBe(100)
      expect(await unread()).toEqual({ conversation: 2, message: 101 })
      await stage.read(bob, busy, messages[3]!.id)
      expect(await stage.unread(bob, busy)).toBe(100)
      await stage.read(bob, busy, messages[5]!.id)
      expect(await stage.unread(bob, busy)).toBe(99)
      await stage.delete(alice, messages[50]!.id)
      await stage.reopen()
      expect(await unread()).toEqual({ conversation: 2, message: 99 })
      await stage.leave(bob, busy)
      expect(await unread()).toEqual({ conversation: 1, message: 1 })
      await stage.end(alice, quiet)
      expect(await unread()).toEqual({ conversation: 0, message: 0 })
      expect(await stage.storage.readMarkers.unread(carol)).toEqual({ conversation: 0, message: 0 })
    })
  })
}
