/** Who comes, stays and goes: what each is told, and what he may read afterwards (E5, M2, U2). */
import { describe, expect, it } from 'vitest'
import type { ConversationId } from '../../protocol/ids.ts'
import type { RecordEvent } from '../../protocol/records.ts'
import { alice, bob, carol, codeOf, dave, entryOf, type OpenStorage, openStage, seqOf, told } from './stage.ts'

/** What is told to who leaves or is removed. */
const gone = (id: ConversationId): RecordEvent => ({
  record_type: 'conversation',
  event_type: 'delete',
  record: { id },
  original_record: { id },
})

const briefly = (events: readonly RecordEvent[]) =>
  events.map(({ record_type, event_type, record }) =>
    'body' in record ? `${event_type} ${record.body}` : `${event_type} ${record_type}`,
  )

export function participantsContract(open: OpenStorage): void {
  describe('who is told', () => {
    it('E5 who is added gets create, those who were there get update', async () => {
      await using stage = await openStage(open)
      const { conversation: before } = (await stage.create(alice, [bob])).result
      const written = await stage.add(alice, before.id, dave, bob, carol, dave)
      const record = written.result.conversation
      expect(record).toMatchObject({ participants: [alice, bob, carol, dave], admins: [alice], participant_count: 4 })
      const create = { record_type: 'conversation', event_type: 'create', record, original_record: null }
      const update = { record_type: 'conversation', event_type: 'update', record, original_record: before }
      expect(told(entryOf(written))).toEqual({ [alice]: update, [bob]: update, [carol]: create, [dave]: create })
      expect(entryOf(written).membership?.participants).toEqual([alice, bob, carol, dave])
    })

    it('E5 who is removed gets delete with his own id and no more, those who stay get update', async () => {
      await using stage = await openStage(open)
      const { conversation: before } = (await stage.create(alice, [bob, carol, dave], { admins: [dave] })).result
      const written = await stage.remove(alice, before.id, dave, carol, 'user/eve', carol)
      const record = written.result.conversation
      expect(record).toMatchObject({ participants: [alice, bob], admins: [alice], participant_count: 2 })
      const update = { record_type: 'conversation', event_type: 'update', record, original_record: before }
      const left = gone(before.id)
      expect(told(entryOf(written))).toEqual({ [alice]: update, [bob]: update, [carol]: left, [dave]: left })
      expect(entryOf(written).membership?.participants).toEqual([alice, bob])
    })

    it('E5 who leaves is answered and told {id}, and those who stay get update', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const written = await stage.leave(bob, room)
      expect(written.result).toEqual({ conversation: { id: room } })
      const { [alice]: stays, [bob]: left } = told(entryOf(written))
      expect(left).toEqual(gone(room))
      expect(stays).toMatchObject({ event_type: 'update', record: { participants: [alice] } })
      expect(await codeOf(stage.leave(bob, room))).toBe('not_found')
    })

    it('E5 an admin who removes others and himself is answered {id}', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob, carol])
      const written = await stage.remove(alice, room, bob, alice)
      expect(written.result).toEqual({ conversation: { id: room } })
      expect(Object.keys(told(entryOf(written)))).toEqual([alice, bob, carol])
    })

    it('E5 the last one can leave, and nobody else is told', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [])
      const entry = entryOf(await stage.leave(alice, room))
      expect(told(entry)).toEqual({ [alice]: gone(room) })
      expect(entry.membership?.participants).toEqual([])
      expect(await codeOf(stage.get(alice, room))).toBe('not_found')
    })

    it('E5 when a conversation is deleted all get {id, deleted:true}, and it is nobody’s any more', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob, carol])
      const message = await stage.message(bob, room, 'hello')
      await stage.leave(carol, room)
      const written = await stage.end(alice, room)
      const record = { id: room, deleted: true }
      const data = { record_type: 'conversation', event_type: 'delete', record, original_record: record }
      expect(written.result).toEqual({ conversation: record })
      expect(told(entryOf(written))).toEqual({ [alice]: data, [bob]: data })
      expect(entryOf(written).membership?.participants).toEqual([])
      expect(await codeOf(stage.storage.conversations.membership(room))).toBe('not_found')
      expect(await stage.storage.conversations.list(bob, 10, null)).toEqual([])
      expect(await stage.storage.readMarkers.unread(alice)).toEqual({ conversation: 0, message: 0 })
      expect(await codeOf(stage.edit(bob, message.id, { body: 'x' }))).toBe('not_found')
      expect(await codeOf(stage.add(alice, room, carol))).toBe('not_found')
    })

    it('M2 adding who is there, and removing who is not, succeed without an event', async () => {
      await using stage = await openStage(open)
      const { conversation } = (await stage.create(alice, [bob])).result
      const { setAdmins } = stage.storage.conversations
      const nothing = { result: { conversation }, entry: null }
      expect(await stage.add(alice, conversation.id, bob, alice)).toEqual(nothing)
      expect(await stage.remove(alice, conversation.id, carol, dave)).toEqual(nothing)
      expect(await setAdmins(stage.act(alice), conversation.id, [alice], true)).toEqual(nothing)
      expect(await setAdmins(stage.act(alice), conversation.id, [bob, carol], false)).toEqual(nothing)
      expect((await stage.get(alice, conversation.id)).conversation).toEqual(conversation)
    })

    it('M2 making admins and unmaking them is one event each, told alike to all', async () => {
      await using stage = await openStage(open)
      const { conversation: before } = (await stage.create(alice, [bob, carol])).result
      const { setAdmins } = stage.storage.conversations
      const made = await setAdmins(stage.act(alice), before.id, [carol, bob, alice, bob], true)
      expect(made.result.conversation).toMatchObject({ admins: [alice, bob, carol], last_seq: 2 })
      const unmade = await setAdmins(stage.act(bob), before.id, [alice, bob], false)
      expect(unmade.result.conversation).toMatchObject({ admins: [carol], last_seq: 3 })
      expect(Object.values(told(entryOf(unmade)))).toEqual(
        [alice, bob, carol].map(() => ({
          record_type: 'conversation',
          event_type: 'update',
          record: unmade.result.conversation,
          original_record: made.result.conversation,
        })),
      )
      expect((await stage.get(alice, before.id)).user_conversation.is_admin).toBe(false)
    })

    it('M1 who does not take part cannot be made an admin, nor anybody named beside him', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const made = stage.storage.conversations.setAdmins(stage.act(alice), room, [bob, carol], true)
      expect(await codeOf(made)).toBe('invalid_argument')
      expect((await stage.get(alice, room)).conversation).toMatchObject({ admins: [alice], last_seq: 1 })
    })
  })

  describe('the membership of an entry', () => {
    it('U2 has the participants as of the entry, and leaves them out for who knows its version', async () => {
      await using stage = await openStage(open)
      const created = await stage.create(alice, [bob])
      const room = created.result.conversation.id
      const { version = 0 } = entryOf(created).membership ?? {}
      expect(version).toBeGreaterThan(0)
      const say = async (known: number) => {
        const draft = { id: `message/${crypto.randomUUID()}` as const, conversation: room, body: 'hello' }
        const more = { metadata: {}, attachment: null, clientId: null }
        return entryOf(await stage.storage.messages.create(stage.act(alice, known), { ...draft, ...more })).membership
      }
      expect(await say(0)).toEqual({ version, participants: [alice, bob] })
      expect(await say(version)).toEqual({ version })
      expect(await say(version + 1)).toEqual({ version, participants: [alice, bob] })
      expect(await stage.storage.conversations.membership(room)).toEqual({ version, participants: [alice, bob] })
    })

    it('U2 has a new version with each change of participants, always with all of them, and with no other change', async () => {
      await using stage = await openStage(open)
      const created = await stage.create(alice, [bob])
      const room = created.result.conversation.id
      const { addParticipants, removeParticipants, setAdmins, update } = stage.storage.conversations
      let known = entryOf(created).membership?.version ?? 0
      const kept = [
        await update(stage.act(alice, known), room, 'Title', undefined),
        await setAdmins(stage.act(alice, known), room, [bob], true),
      ]
      expect(kept.map((written) => entryOf(written).membership)).toEqual([{ version: known }, { version: known }])
      const changes = [
        () => addParticipants(stage.act(alice, known), room, [carol]),
        () => removeParticipants(stage.act(alice, known), room, [bob]),
        () => removeParticipants(stage.act(carol, known), room, [carol]),
        () => addParticipants(stage.act(alice, known), room, [bob]),
      ]
      for (const [index, change] of changes.entries()) {
        const { membership } = entryOf(await change())
        expect(membership?.participants).toEqual([[alice, bob, carol], [alice, carol], [alice], [alice, bob]][index])
        expect(membership?.version).toBeGreaterThan(known)
        expect(await stage.storage.conversations.membership(room)).toEqual(membership)
        known = membership?.version ?? 0
      }
    })

    it('U2 changes of participants asked for at once each have the participants as of their own event', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      const entries = await Promise.all([
        stage.say(bob, room, 'one'),
        stage.add(alice, room, carol),
        stage.say(carol, room, 'two'),
        stage.remove(alice, room, bob),
        stage.say(carol, room, 'three'),
      ])
      expect(entries.map((written) => entryOf(written).membership?.participants)).toEqual([
        [alice, bob],
        [alice, bob, carol],
        [alice, bob, carol],
        [alice, carol],
        [alice, carol],
      ])
    })
  })

  describe('what one may read', () => {
    it('E5 who is added reads the whole history, and the events from his coming on', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [])
      const early = await stage.message(alice, room, 'early')
      const added = await stage.add(alice, room, bob)
      await stage.edit(alice, early.id, { body: 'edited' })
      expect((await stage.messages(bob, room)).map(({ body }) => body)).toEqual(['edited'])
      const events = await stage.events(bob, room)
      expect(briefly(events)).toEqual(['create conversation', 'update edited'])
      expect(events[0]).toEqual(told(entryOf(added))[bob])
      expect(events[1]?.original_record).toEqual(early)
      expect(briefly(await stage.events(alice, room))).toEqual([
        'create conversation',
        'create early',
        'update conversation',
        'update edited',
      ])
    })

    it('E5 over several stays one reads the events of each, told as then, and nothing of between', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      await stage.message(alice, room, 'first stay')
      await stage.leave(bob, room)
      await stage.message(alice, room, 'away')
      const back = await stage.add(alice, room, bob, carol)
      await stage.message(bob, room, 'second stay')
      await stage.remove(alice, room, bob)
      await stage.update(alice, room, 'away again')
      await stage.add(alice, room, bob)
      const events = await stage.events(bob, room)
      expect(briefly(events)).toEqual([
        'create conversation',
        'create first stay',
        'delete conversation',
        'create conversation',
        'create second stay',
        'delete conversation',
        'create conversation',
      ])
      expect(events[2]).toEqual(gone(room))
      expect(events[3]).toEqual(told(entryOf(back))[bob])
      const listed = await stage.storage.events.list(bob, room, 0, 100)
      expect(listed.map(({ place }) => place.seq)).toEqual([1, 2, 3, 5, 6, 7, 9])
      expect(listed.every(({ place }) => place.conversation === room)).toBe(true)
      expect(listed[3]?.position).toBe(entryOf(back).position)
    })

    it('M5 events come in pages, oldest first, also across stays', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      for (let stay = 0; stay < 4; stay++) {
        await stage.message(alice, room, `${stay}`)
        await stage.leave(bob, room)
        await stage.message(alice, room, 'away')
        await stage.add(alice, room, bob)
      }
      const whole = await stage.storage.events.list(bob, room, 0, 100)
      expect(whole).toHaveLength(13)
      for (const limit of [1, 2, 3, 5, 13]) {
        const paged: typeof whole = []
        for (;;) {
          const page = await stage.storage.events.list(bob, room, paged.at(-1)?.place.seq ?? 0, limit)
          expect(page.length).toBeLessThanOrEqual(limit)
          if (page.length === 0) break
          paged.push(...page)
        }
        expect(paged).toEqual(whole)
      }
    })

    it('E5 who has left reads nothing of it, and once back has his marker at his coming', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      await stage.message(alice, room, 'unread')
      await stage.leave(bob, room)
      expect(await stage.storage.readMarkers.unread(bob)).toEqual({ conversation: 0, message: 0 })
      expect(await codeOf(stage.events(bob, room))).toBe('not_found')
      await stage.message(alice, room, 'away')
      const seq = seqOf(await stage.add(alice, room, bob))
      expect((await stage.get(bob, room)).user_conversation).toMatchObject({ unread_count: 0, last_read_seq: seq })
    })
  })
}
