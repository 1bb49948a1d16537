/** The event log: its order, what an entry holds, and what is gone from it (E2–E4). */
import { describe, expect, it } from 'vitest'
import type { MessageId } from '../../protocol/ids.ts'
import type { Message, RecordEvent } from '../../protocol/records.ts'
import type { LogEntry } from '../../storage/storage.ts'
import { alice, bob, carol, entryOf, type OpenStorage, openStage, seqOf, time, told } from './stage.ts'

export function logContract(open: OpenStorage): void {
  describe('the order of the log', () => {
    it('E2 every event of a conversation takes its next seq, from 1, whatever the operation', async () => {
      await using stage = await openStage(open)
      const first = await stage.create(alice, [bob])
      const second = await stage.create(bob, [alice])
      const here = first.result.conversation.id
      const there = second.result.conversation.id
      const message = await stage.say(alice, here, 'one')
      const other = await stage.say(bob, there, 'elsewhere')
      const { id } = message.result.message
      const written = [
        first,
        message,
        await stage.edit(alice, id, { body: 'two' }),
        await stage.update(alice, here, 'Title'),
        await stage.add(alice, here, carol),
        await stage.storage.conversations.setAdmins(stage.act(alice), here, [carol], true),
        await stage.remove(alice, here, bob),
        await stage.delete(carol, id),
        await stage.leave(carol, here),
        await stage.end(alice, here),
      ]
      expect(written.map(seqOf)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
      expect(written.map((one) => entryOf(one).place?.conversation)).toEqual(written.map(() => here))
      expect([second, other].map(seqOf)).toEqual([1, 2])
      const inOrder = [first, second, message, other, ...written.slice(2)].map((one) => entryOf(one).position)
      expect(inOrder).toEqual([...new Set(inOrder)].sort((a, b) => a - b))
    })

    it('E2 200 operations asked for at once leave no gap, and settle in the order of the log', async () => {
      await using stage = await openStage(open)
      const rooms = [await stage.conversation(alice, [bob]), await stage.conversation(bob, [alice])] as const
      const messages = [
        await stage.message(alice, rooms[0], 'old'),
        await stage.message(alice, rooms[1], 'old'),
      ] as const
      const settled: (LogEntry | null)[] = []
      const asked = Array.from({ length: 200 }, (_, index) => {
        const at = index % 2 === 0 ? 0 : 1
        switch (index % 5) {
          case 0:
            return stage.edit(alice, messages[at].id, { body: `${index}` })
          case 1:
            return stage.say(carol, rooms[at], 'from outside')
          case 2:
            return stage.update(at === 0 ? alice : bob, rooms[at], `${index}`)
          default:
            return stage.say(bob, rooms[at], `${index}`)
        }
      })
      const outcomes = await Promise.allSettled(
        asked.map((operation) => operation.then(({ entry }) => settled.push(entry))),
      )
      expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(40)
      const positions = settled.map((entry) => entry?.position ?? 0)
      expect(positions).toEqual(positions.toSorted((a, b) => a - b))
      for (const room of rooms) {
        const seqs = settled.flatMap((entry) => (entry?.place?.conversation === room ? [entry.place.seq] : []))
        expect(seqs).toEqual(Array.from({ length: 80 }, (_, index) => index + 3))
        expect((await stage.get(alice, room)).conversation.last_seq).toBe(82)
      }
    })

    it('E2 seqs and positions go on where they were when the database is opened again', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const { epoch } = stage.storage
      const last = entryOf(await stage.say(alice, room, 'before'))
      await stage.reopen()
      expect(stage.storage.position).toBe(last.position)
      expect(stage.storage.epoch).not.toBe(epoch)
      const next = entryOf(await stage.say(bob, room, 'after'))
      expect(next.place?.seq).toBe(3)
      expect(next.position).toBeGreaterThan(last.position)
    })

    it('E2 a new message moves last_message, last_seq and updated_at, and is one event', async () => {
      await using stage = await openStage(open)
      const { conversation: before } = (await stage.create(alice, [bob])).result
      const { message } = (await stage.say(bob, before.id, 'hello')).result
      expect((await stage.get(alice, before.id)).conversation).toEqual({
        ...before,
        last_message: message.id,
        last_seq: 2,
        updated_at: message.created_at,
      })
      expect(await stage.events(alice, before.id, 1)).toHaveLength(1)
    })

    it('E2 an edit and a deletion move last_seq alone, and last_message stays when it is deleted', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const { id } = await stage.message(bob, room, 'hello')
      const { conversation: before } = await stage.get(alice, room)
      await stage.edit(bob, id, { body: 'hello!' })
      const deleted = await stage.delete(bob, id)
      expect(await stage.get(alice, room)).toMatchObject({
        conversation: { ...before, last_seq: 4 },
        last_message: deleted.result.message,
      })
    })

    it('E2 a message’s own seq is that of its creation for ever', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const { id, seq } = await stage.message(alice, room, 'one')
      await stage.message(bob, room, 'two')
      const edited = await stage.edit(alice, id, { body: 'three' })
      const deleted = await stage.delete(alice, id)
      expect([seq, edited.result.message.seq, deleted.result.message.seq]).toEqual([2, 2, 2])
      expect((await stage.messages(bob, room)).map((message) => message.seq)).toEqual([3, 2])
    })

    it('E2 a clock that was set back puts no later message before an earlier one, and no updated_at goes back', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const first = await stage.message(alice, room, 'first')
      stage.now -= 3_600_000
      const second = await stage.message(alice, room, 'second')
      const edited = await stage.edit(alice, first.id, { body: 'edited' })
      const deleted = await stage.delete(alice, second.id)
      await stage.update(alice, room, 'Title')
      expect(second.created_at).toBe(first.created_at)
      const records = [second, edited.result.message, deleted.result.message]
      expect(records.map(({ updated_at }) => updated_at)).toEqual(records.map(() => first.created_at))
      expect((await stage.get(bob, room)).conversation.updated_at).toBe(first.created_at)
    })
  })

  describe('what an entry holds', () => {
    it('E3 all participants are told of a message that is created, edited and deleted, its author too', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const created = await stage.say(alice, room, 'one')
      const edited = await stage.edit(alice, created.result.message.id, { body: 'two' })
      const deleted = await stage.delete(alice, created.result.message.id)
      for (const { entry, result } of [created, edited, deleted]) {
        const { [alice]: ours, [bob]: theirs, ...others } = told(entry as LogEntry)
        expect(ours).toEqual(theirs)
        expect(ours?.record).toEqual(result.message)
        expect(others).toEqual({})
      }
    })

    it('E4 original_record is the record before the change, and null for a creation', async () => {
      await using stage = await openStage(open)
      const room = await stage.create(alice, [bob])
      const { conversation } = room.result
      const renamed = await stage.update(alice, conversation.id, 'Title', { topic: 'x' })
      const created = await stage.say(alice, conversation.id, 'one', { metadata: { a: 1 } })
      const { message } = created.result
      const edited = await stage.edit(alice, message.id, { body: 'two', metadata: { a: 2 } })
      const data = [room, renamed, created, edited].map((written) => told(entryOf(written))[bob])
      expect(data).toEqual([
        { record_type: 'conversation', event_type: 'create', record: conversation, original_record: null },
        {
          record_type: 'conversation',
          event_type: 'update',
          record: renamed.result.conversation,
          original_record: conversation,
        },
        { record_type: 'message', event_type: 'create', record: message, original_record: null },
        { record_type: 'message', event_type: 'update', record: edited.result.message, original_record: message },
      ])
    })

    it('E4 a deletion tells the tombstone, and an original without its content', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const content = { body: 'secret', metadata: { a: 'secret' }, attachment: { url: 'secret' } }
      const empty = { body: '', metadata: {}, attachment: null }
      const message = await stage.message(alice, room, content.body, { ...content, clientId: 'mine' })
      expect(message).toMatchObject(content)
      const { entry, result } = await stage.delete(alice, message.id)
      expect(told(entry as LogEntry)[bob]).toEqual({
        record_type: 'message',
        event_type: 'delete',
        record: { ...message, ...empty, revision: 2, deleted: true, updated_at: time(stage.now - 1_000) },
        original_record: { ...message, ...empty },
      })
      expect(result.message).toEqual(told(entry as LogEntry)[bob]?.record)
    })

    it('E4 deleted content is nowhere any more: in no history, no earlier event, no answer to its client_id', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const secret = (text: string) => ({ body: text, metadata: { a: [text] }, attachment: { url: text } })
      const { id } = await stage.message(alice, room, '', { ...secret('secret 1'), clientId: 'c' })
      await stage.edit(alice, id, { ...secret('secret 2'), clientId: 'e' })
      await stage.message(bob, room, 'kept')
      await stage.edit(alice, id, secret('secret 3'))
      await stage.delete(alice, id)
      const everything = async () =>
        JSON.stringify([
          await stage.events(alice, room),
          await stage.events(bob, room),
          await stage.messages(bob, room),
          await stage.messages(alice, room, { after_seq: 0 }),
          await stage.get(bob, room),
          await stage.storage.conversations.list(alice, 10, null),
          await stage.say(alice, room, 'secret 4', { ...secret('secret 4'), clientId: 'c' }),
          await stage.edit(alice, id, { ...secret('secret 5'), clientId: 'e' }),
          await stage.delete(bob, id).catch(String),
          await stage.delete(alice, id),
        ])
      expect(await everything()).not.toContain('secret')
      await stage.reopen()
      const again = await everything()
      expect(again).not.toContain('secret')
      expect(again).toContain('kept')
    })

    it('E4 the events of a deleted message are still there, each without content', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const message = await stage.message(alice, room, 'one')
      const edited = (await stage.edit(alice, message.id, { body: 'two' })).result.message
      const deleted = (await stage.delete(alice, message.id)).result.message
      const events = (await stage.events(bob, room, 1)) as Extract<RecordEvent, { record_type: 'message' }>[]
      const emptied = (record: Message): Message => ({ ...record, body: '' })
      expect(events.map(({ event_type, record, original_record }) => [event_type, record, original_record])).toEqual([
        ['create', emptied(message), null],
        ['update', emptied(edited), emptied(message)],
        ['delete', deleted, emptied(edited)],
      ])
    })

    it('E4 deleting one message leaves the content of others as it was', async () => {
      await using stage = await openStage(open)
      const rooms = [await stage.conversation(alice, [bob]), await stage.conversation(alice, [bob])]
      const ids: MessageId[] = []
      for (const round of [1, 2]) {
        for (const room of rooms) {
          const { id } = await stage.message(alice, room, `body ${round}`, { metadata: { round } })
          await stage.edit(alice, id, { body: `edited ${round}` })
          ids.push(id)
        }
      }
      const before = await Promise.all(rooms.map((room) => stage.events(bob, room)))
      await stage.delete(alice, ids[0]!)
      const after = await Promise.all(rooms.map((room) => stage.events(bob, room)))
      expect(after[1]).toEqual(before[1])
      const others = (events: RecordEvent[]) => events.filter(({ record }) => record.id !== ids[0])
      expect(others(after[0]!)).toEqual(others(before[0]!))
    })
  })
}
