/** How far each has read, on all of his sessions and on nobody else's (M6, E6). */
import { expect, test } from 'vitest'
import type { ConversationId, MessageId } from '../../src/protocol/ids.ts'
import { alice, bob, carol, openRoom, openStage, type Session, say } from './stage.ts'

const mark = async (session: Session, conversation: ConversationId, message: MessageId) =>
  (await session.command('mark_as_last_message_read', { conversation, message })).user_conversation

test('E6 a marker that moves is told to each of that user’s own sessions and to nobody else', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation, stage } = room
  // Bob's second session.
  await stage.connect(bob)
  const message = await say(room.alice, conversation, 'hello')
  const before = await room.bob.command('get_conversation', { conversation })
  for (const session of stage.sessions) await session.rest()

  const marked = await mark(room.bob, conversation, message.id)
  expect(marked).toEqual({
    ...before.user_conversation,
    unread_count: 0,
    last_read_message: message.id,
    last_read_seq: message.seq,
  })
  const told = await Promise.all(stage.sessions.map((session) => session.rest()))
  const update = {
    event: 'update',
    data: {
      record_type: 'user_conversation',
      event_type: 'update',
      record: marked,
      original_record: before.user_conversation,
    },
    cursor: expect.any(String),
  }
  expect(told).toEqual([[], [update], [], [update]])
  expect((await room.bob.command('get_conversation', { conversation })).user_conversation).toEqual(marked)
})

test('M6, E6 a marker moved over HTTP is told to the sessions', async () => {
  await using room = await openRoom()
  const { conversation, stage } = room
  const { id: message } = await say(room.alice, conversation, 'hello')
  await room.bob.rest()
  const { result } = await stage.server.call('mark_as_last_message_read', { conversation, message }, bob)
  expect((await room.bob.next()).data.record).toEqual(result.user_conversation)
})

test('M6 a marker never moves back, and one that stays makes no event', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const ids: MessageId[] = []
  for (const body of ['one', 'two', 'three']) ids.push((await say(room.alice, conversation, body)).id)
  const [first, second] = ids as [MessageId, MessageId]
  const marked = await mark(room.bob, conversation, second)
  expect(marked).toMatchObject({ unread_count: 1, last_read_seq: 3 })
  await room.bob.rest()
  expect(await mark(room.bob, conversation, first)).toEqual(marked)
  expect(await mark(room.bob, conversation, second)).toEqual(marked)
  expect(await room.bob.rest()).toEqual([])
})

test('M6, E6 markers moved at once on several sessions end at the furthest, and each session is told forward only', async () => {
  await using room = await openRoom()
  const { conversation, stage } = room
  const ids: MessageId[] = []
  for (let index = 0; index < 12; index++) ids.push((await say(room.alice, conversation, `${index}`)).id)
  const sessions = [room.bob, await stage.connect(bob), await stage.connect(bob)]
  for (const session of sessions) await session.rest()
  const order = [3, 0, 7, 2, 11, 5, 9, 1, 10, 4, 8, 6]
  await Promise.all(order.map((place, index) => mark(sessions[index % 3] as Session, conversation, ids[place]!)))
  await stage.settle()
  for (const session of sessions) {
    const seqs = session.events.flatMap(({ data }) =>
      data.record_type === 'user_conversation' ? [data.record.last_read_seq] : [],
    )
    expect(seqs).toEqual([...new Set(seqs)].sort((one, other) => one - other))
    expect(seqs.at(-1)).toBe(13)
  }
})

test('M6 what is unread follows the messages of others: sent, deleted, read, and answered', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const unread = async (session: Session) => {
    const { user_conversation } = await session.command('get_conversation', { conversation })
    const total = await session.command('get_unread_count')
    expect(total).toEqual({ conversation: total.message > 0 ? 1 : 0, message: user_conversation.unread_count })
    return total.message
  }
  const first = await say(room.alice, conversation, 'one')
  await say(room.alice, conversation, 'two')
  const third = await say(room.alice, conversation, 'three')
  expect([await unread(room.alice), await unread(room.bob)]).toEqual([0, 3])
  await room.alice.command('edit_message', { message: first.id, body: 'ONE' })
  await room.alice.command('update_conversation', { conversation, title: 'Us' })
  expect(await unread(room.bob)).toBe(3)
  await room.alice.command('delete_message', { message: third.id })
  expect(await unread(room.bob)).toBe(2)
  await mark(room.bob, conversation, first.id)
  expect(await unread(room.bob)).toBe(1)

  // One's own message means that one has read what is before it; no event says so.
  await room.bob.rest()
  const answer = await say(room.bob, conversation, 'four')
  expect(await unread(room.bob)).toBe(0)
  expect((await room.bob.rest()).map(({ event, data }) => [event, 'record_type' in data && data.record_type])).toEqual([
    ['create', 'message'],
  ])
  const { user_conversation } = await room.bob.command('get_conversation', { conversation })
  expect(user_conversation).toMatchObject({ last_read_message: answer.id, last_read_seq: answer.seq })
  expect(await unread(room.alice)).toBe(1)
})

test('M6 get_unread_count counts conversations, and messages to 100 in each', async () => {
  await using stage = await openStage()
  const [host, guest] = [await stage.connect(alice), await stage.connect(bob)]
  const counts = [0, 3, 100, 105]
  for (const count of counts) {
    const { conversation } = await host.command('create_conversation', { participants: [bob] })
    await Promise.all(Array.from({ length: count }, (_, index) => say(host, conversation.id, `${index}`)))
  }
  expect(await guest.command('get_unread_count')).toEqual({ conversation: 3, message: 203 })
  const { conversations } = await guest.command('get_conversations')
  expect(conversations.map(({ user_conversation }) => user_conversation.unread_count).sort((a, b) => a - b)).toEqual([
    0, 3, 100, 100,
  ])
  expect(await host.command('get_unread_count')).toEqual({ conversation: 0, message: 0 })
  const [deleted] = conversations.filter(({ user_conversation }) => user_conversation.unread_count === 3)
  await host.command('delete_conversation', { conversation: deleted?.conversation.id as ConversationId })
  expect(await guest.command('get_unread_count')).toEqual({ conversation: 2, message: 200 })
})

test('M6 a tombstone can be marked as read', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const message = await say(room.alice, conversation, 'gone soon')
  await room.alice.command('delete_message', { message: message.id })
  expect(await mark(room.bob, conversation, message.id)).toMatchObject({
    unread_count: 0,
    last_read_message: message.id,
    last_read_seq: message.seq,
  })
})
