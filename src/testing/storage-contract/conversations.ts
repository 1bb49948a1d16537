/** Making conversations, finding them, and their limits (M1, M2, L2). */
import { describe, expect, it } from 'vitest'
import type { ConversationView } from '../../protocol/commands.ts'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import {
  alice,
  bob,
  carol,
  codeOf,
  dave,
  entryOf,
  newId,
  type OpenStorage,
  openStage,
  refusal,
  seqOf,
  time,
  told,
} from './stage.ts'

const ids = (views: readonly ConversationView[]) => views.map(({ conversation }) => conversation.id)

export function conversationsContract(open: OpenStorage): void {
  describe('making a conversation', () => {
    it('M1, E1 the caller takes part and is an admin, and the record is whole', async () => {
      await using stage = await openStage(open)
      const at = time(stage.now)
      const id = newId('conversation')
      const more = { id, title: 'Title', metadata: { topic: { deep: [1, null, 'x'] } }, admins: [carol] }
      const written = await stage.create(alice, [carol, bob, carol], more)
      const record = {
        id,
        title: 'Title',
        metadata: { topic: { deep: [1, null, 'x'] } },
        participants: [alice, bob, carol],
        admins: [alice, carol],
        participant_count: 3,
        distinct_by_participants: false,
        last_message: null,
        last_seq: 1,
        created_by: alice,
        created_at: at,
        updated_at: at,
      }
      expect(written.result).toEqual({ conversation: record, created: true })
      const { tellings, membership, place } = entryOf(written)
      expect(tellings).toEqual([
        {
          to: 'participants',
          data: { record_type: 'conversation', event_type: 'create', record, original_record: null },
        },
      ])
      expect(place).toEqual({ conversation: id, seq: 1 })
      expect(membership?.participants).toEqual([alice, bob, carol])
      expect((await stage.get(bob, id)).conversation).toEqual(record)
    })

    it('M1 one may name oneself, and be alone', async () => {
      await using stage = await openStage(open)
      const { conversation } = (await stage.create(alice, [alice])).result
      expect(conversation).toMatchObject({ participants: [alice], admins: [alice], participant_count: 1 })
      const note = await stage.say(alice, conversation.id, 'to myself')
      expect(Object.keys(told(entryOf(note)))).toEqual([alice])
    })

    it('M1 an admin who does not take part is invalid_argument, and nothing is made', async () => {
      await using stage = await openStage(open)
      const draft = { id: newId('conversation'), admins: [bob, dave], clientId: 'c', distinct: true }
      expect(await codeOf(stage.create(alice, [bob], draft))).toBe('invalid_argument')
      expect(await codeOf(stage.get(alice, draft.id))).toBe('not_found')
      expect(await stage.storage.conversations.list(bob, 10, null)).toEqual([])
      const retried = await stage.create(alice, [bob], { ...draft, admins: [bob] })
      expect(retried.result).toMatchObject({ created: true, conversation: { admins: [alice, bob] } })
    })

    it('M1 the same participants have one distinct conversation, whoever asks and in whatever order', async () => {
      await using stage = await openStage(open)
      const made = await stage.create(alice, [bob, carol], { distinct: true, title: 'Ours' })
      expect(made.result).toMatchObject({ created: true, conversation: { distinct_by_participants: true } })
      await stage.say(bob, made.result.conversation.id, 'hello')
      const again = await stage.create(carol, [bob, alice, bob, carol], { distinct: true, title: 'Mine' })
      expect(again).toEqual({
        result: { created: false, conversation: (await stage.get(alice, made.result.conversation.id)).conversation },
        entry: null,
      })
      expect(again.result.conversation).toMatchObject({ title: 'Ours', last_seq: 2, admins: [alice] })
    })

    it('M1 other participants, or a conversation that is not distinct, are another conversation', async () => {
      await using stage = await openStage(open)
      const distinct = { distinct: true }
      const written = [
        await stage.create(alice, [bob]),
        await stage.create(alice, [bob], distinct),
        await stage.create(alice, [bob]),
        await stage.create(alice, [bob, carol], distinct),
        await stage.create(alice, [], distinct),
        await stage.create(bob, [], distinct),
      ]
      expect(written.map(({ result }) => result.created)).toEqual(written.map(() => true))
      expect(new Set(written.map(({ result }) => result.conversation.id)).size).toBe(written.length)
    })

    it('M1 asked for at once by several, a distinct conversation is made once', async () => {
      await using stage = await openStage(open)
      const asked = await Promise.all(
        Array.from({ length: 20 }, (_, index) =>
          stage.create(index % 2 ? alice : bob, index % 2 ? [bob] : [alice], { distinct: true }),
        ),
      )
      expect(new Set(asked.map(({ result }) => result.conversation.id)).size).toBe(1)
      expect(asked.filter(({ result }) => result.created)).toHaveLength(1)
      expect(asked.filter(({ entry }) => entry)).toHaveLength(1)
      expect(asked[0]?.result.created).toBe(true)
    })

    it('M1 nobody new can be added to a distinct conversation, and who is there already can', async () => {
      await using stage = await openStage(open)
      const { id } = (await stage.create(alice, [bob], { distinct: true })).result.conversation
      expect(await codeOf(stage.add(alice, id, bob, carol))).toBe('conflict')
      expect((await stage.add(alice, id, bob)).entry).toBeNull()
      expect((await stage.get(alice, id)).conversation).toMatchObject({ participants: [alice, bob], last_seq: 1 })
    })

    it.each(['leaving', 'removal'])('M1 %s ends a conversation’s distinctness', async (how) => {
      await using stage = await openStage(open)
      const distinct = { distinct: true }
      const { id } = (await stage.create(alice, [bob, carol], distinct)).result.conversation
      await (how === 'leaving' ? stage.leave(bob, id) : stage.remove(alice, id, bob))
      const { conversation } = await stage.get(alice, id)
      expect(conversation).toMatchObject({ distinct_by_participants: false, participants: [alice, carol] })
      for (const others of [[bob, carol], [carol]]) {
        const { result } = await stage.create(alice, others, distinct)
        expect([result.created, result.conversation.id === id]).toEqual([true, false])
      }
      expect((await stage.add(alice, id, bob)).result.conversation).toMatchObject({ participants: [alice, bob, carol] })
    })

    it('M1 a deleted distinct conversation is not found again', async () => {
      await using stage = await openStage(open)
      const { id } = (await stage.create(alice, [bob], { distinct: true })).result.conversation
      await stage.end(alice, id)
      const { result } = await stage.create(bob, [alice], { distinct: true })
      expect([result.created, result.conversation.id === id]).toEqual([true, false])
    })

    it('M1, M3 a client_id makes one conversation for ever, its user’s and its command’s own', async () => {
      await using stage = await openStage(open)
      const made = await stage.create(alice, [bob], { clientId: 'c', title: 'One' })
      const { id } = made.result.conversation
      await stage.update(alice, id, 'Two')
      const again = await stage.create(alice, [carol], { clientId: 'c', title: 'Three' })
      expect(again).toMatchObject({
        result: { created: false, conversation: { id, title: 'Two', participants: [alice, bob] } },
        entry: null,
      })
      const theirs = await stage.create(bob, [alice], { clientId: 'c' })
      const message = await stage.say(alice, id, 'hello', { clientId: 'c' })
      expect([theirs.result.created, seqOf(message)]).toEqual([true, 3])
      await stage.reopen()
      expect((await stage.create(alice, [], { clientId: 'c' })).result).toMatchObject({
        created: false,
        conversation: { id },
      })
      await stage.leave(alice, id)
      expect(await codeOf(stage.create(alice, [bob], { clientId: 'c' }))).toBe('not_found')
    })

    it('M1, M3 the same client_id asked for at once makes one conversation', async () => {
      await using stage = await openStage(open)
      const asked = await Promise.all(Array.from({ length: 10 }, () => stage.create(alice, [bob], { clientId: 'c' })))
      expect(asked.map(({ result }) => result.created)).toEqual([true, ...Array(9).fill(false)])
      expect(await stage.storage.conversations.list(alice, 50, null)).toHaveLength(1)
    })

    it('M1, M3 a client_id that found a distinct conversation stands for it from then on', async () => {
      await using stage = await openStage(open)
      const { id } = (await stage.create(alice, [bob], { distinct: true })).result.conversation
      await stage.create(bob, [alice], { distinct: true, clientId: 'c' })
      await stage.add(alice, (await stage.create(alice, [])).result.conversation.id, bob)
      expect((await stage.create(bob, [carol], { clientId: 'c' })).result).toMatchObject({
        created: false,
        conversation: { id },
      })
    })
  })

  describe('limits of number', () => {
    it('L2 more participants than may be is too_large, and nothing is half-written', async () => {
      await using stage = await openStage(open, { maxParticipants: 3 })
      const draft = { id: newId('conversation'), distinct: true, clientId: 'c' }
      expect(await refusal(stage.create(alice, [bob, carol, dave], draft))).toMatchObject({
        code: 'too_large',
        details: { limit: 3 },
      })
      expect(await codeOf(stage.get(alice, draft.id))).toBe('not_found')
      const { id } = (await stage.create(alice, [alice, bob, bob], { clientId: 'c' })).result.conversation
      expect(await codeOf(stage.add(alice, id, carol, dave))).toBe('too_large')
      expect((await stage.get(alice, id)).conversation).toMatchObject({ participants: [alice, bob], last_seq: 1 })
      expect(await codeOf(stage.get(carol, id))).toBe('not_found')
      expect(seqOf(await stage.add(alice, id, bob, carol))).toBe(2)
      expect((await stage.add(alice, id, alice, bob, carol)).entry).toBeNull()
    })

    it('L2 a user in as many conversations as may be can be in no other, and nothing is half-written', async () => {
      await using stage = await openStage(open, { maxConversationsPerUser: 2 })
      const first = await stage.conversation(alice, [bob])
      await stage.conversation(bob, [])
      const { message: _, ...error } = await refusal(stage.create(carol, [dave, bob]))
      expect(error).toEqual({ code: 'too_large', retryable: false, details: { limit: 2 } })
      expect(await stage.storage.conversations.list(carol, 10, null)).toEqual([])
      const room = await stage.conversation(carol, [dave])
      expect(await codeOf(stage.add(carol, room, alice, bob))).toBe('too_large')
      expect((await stage.get(carol, room)).conversation).toMatchObject({ participants: [carol, dave], last_seq: 1 })
      await stage.leave(bob, first)
      expect((await stage.add(carol, room, alice, bob)).result.conversation.participant_count).toBe(4)
    })

    it('L2 a distinct conversation is found also by who is in as many as may be', async () => {
      await using stage = await openStage(open, { maxConversationsPerUser: 1 })
      const { id } = (await stage.create(alice, [bob], { distinct: true })).result.conversation
      const { result } = await stage.create(bob, [alice], { distinct: true })
      expect([result.created, result.conversation.id]).toEqual([false, id])
    })

    it('E1 a record lists the first 100 participants and admins by user id, and counts them all', async () => {
      await using stage = await openStage(open)
      const users = Array.from({ length: 150 }, (_, index): UserId => `user/${String(index).padStart(3, '0')}`)
      const { conversation } = (await stage.create(users[149]!, users, { admins: users.slice(10) })).result
      expect(conversation.participants).toEqual(users.slice(0, 100))
      expect(conversation.admins).toEqual(users.slice(10, 110))
      expect(conversation.participant_count).toBe(150)
      expect((await stage.storage.conversations.membership(conversation.id)).participants).toEqual(users)
    })
  })

  describe('finding conversations', () => {
    it('M2 get gives the record, one’s own side and the latest message', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(alice, [bob])
      expect(await stage.get(bob, room)).toMatchObject({ conversation: { id: room }, last_message: null })
      const message = await stage.message(alice, room, 'hello')
      const { conversation, user_conversation, last_message } = await stage.get(bob, room)
      expect([conversation.last_message, last_message]).toEqual([message.id, message])
      expect(user_conversation).toMatchObject({ user: bob, conversation: room, unread_count: 1, is_admin: false })
    })

    it('M2 list gives one’s own conversations, latest activity first', async () => {
      await using stage = await openStage(open)
      const rooms = [
        await stage.conversation(alice, [bob]),
        await stage.conversation(alice, []),
        await stage.conversation(bob, [alice]),
        await stage.conversation(bob, [carol]),
      ] as const
      const list = async (user: UserId) => ids(await stage.storage.conversations.list(user, 10, null))
      expect(await list(alice)).toEqual([rooms[2], rooms[1], rooms[0]])
      const message = await stage.message(bob, rooms[0], 'hello')
      expect(await list(alice)).toEqual([rooms[0], rooms[2], rooms[1]])
      await stage.update(alice, rooms[1], 'Title')
      expect(await list(alice)).toEqual([rooms[1], rooms[0], rooms[2]])
      await stage.edit(bob, message.id, { body: 'edited' })
      expect(await list(alice)).toEqual([rooms[1], rooms[0], rooms[2]])
      await stage.leave(alice, rooms[0])
      await stage.end(bob, rooms[2])
      expect(await list(alice)).toEqual([rooms[1]])
      expect(await list(dave)).toEqual([])
      const views = await stage.storage.conversations.list(bob, 10, null)
      expect(views).toEqual(await Promise.all(ids(views).map((id) => stage.get(bob, id))))
    })

    it('M2 pages go on after a conversation, also where several were active in the same millisecond', async () => {
      await using stage = await openStage(open)
      const { now } = stage
      const made = []
      for (let index = 0; index < 9; index++) {
        if (index % 4 !== 0) stage.now = now
        made.push(await stage.conversation(alice, [bob]))
      }
      const whole = ids(await stage.storage.conversations.list(alice, 50, null))
      expect(whole.toSorted()).toEqual(made.toSorted())
      const paged: ConversationId[] = []
      for (let before: ConversationId | null = null; ; before = paged.at(-1) ?? null) {
        const page = ids(await stage.storage.conversations.list(alice, 2, before))
        if (page.length === 0) break
        paged.push(...page)
      }
      expect(paged).toEqual(whole)
    })

    it('M2 pages stay below a time', async () => {
      await using stage = await openStage(open)
      const start = stage.now
      const rooms = [await stage.conversation(alice, []), await stage.conversation(alice, [])]
      const below = async (ms: number) => ids(await stage.storage.conversations.list(alice, 10, ms))
      expect(await below(start)).toEqual([])
      expect(await below(start + 1)).toEqual([rooms[0]])
      expect(await below(start + 1_000)).toEqual([rooms[0]])
      expect(await below(start + 1_001)).toEqual([rooms[1], rooms[0]])
    })

    it('M2 a page cannot go on after a conversation that one is not in', async () => {
      await using stage = await openStage(open)
      const room = await stage.conversation(bob, [])
      for (const before of [room, newId('conversation')]) {
        expect(await codeOf(stage.storage.conversations.list(alice, 10, before))).toBe('not_found')
      }
    })

    it('M2 participants come by user id, byte by byte, in pages, with the admins among them', async () => {
      await using stage = await openStage(open)
      const users: UserId[] = ['user/10', 'user/2', 'user/A', 'user/Z', 'user/_', 'user/a', 'user/a-b', 'user/a.b']
      users.push('user/aB', 'user/ab', 'user/z', 'user/~')
      const shuffled = users.toReversed()
      const room = (await stage.create('user/a', shuffled, { admins: ['user/~', 'user/2'] })).result.conversation
      const page = (limit: number, after: UserId | null) =>
        stage.storage.conversations.participants('user/z', room.id, limit, after)
      expect(await page(100, null)).toEqual({
        participants: users.toSorted(),
        admins: ['user/2', 'user/a', 'user/~'],
      })
      expect(await page(5, null)).toEqual({ participants: users.toSorted().slice(0, 5), admins: ['user/2'] })
      expect(await page(3, 'user/_')).toEqual({ participants: ['user/a', 'user/a-b', 'user/a.b'], admins: ['user/a'] })
      expect(await page(3, 'user/B')).toMatchObject({ participants: ['user/Z', 'user/_', 'user/a'] })
      expect(await page(3, 'user/~')).toEqual({ participants: [], admins: [] })
      expect(room.participants).toEqual(users.toSorted())
    })
  })
}
