/** The records as clients see them, and the events that tell of them (E1, E2, E4). */
import { expect, test } from 'vitest'
import type { EventFrame } from '../../src/protocol/frames.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { alice, bob, codeOf, conversationOf, isEvent, openRoom, openStage, say } from './stage.ts'

const keys = {
  message: [
    ...['id', 'conversation', 'created_by', 'created_at', 'updated_at', 'body', 'metadata', 'attachment', 'seq'],
    ...['revision', 'edited_at', 'edited_by', 'deleted', 'client_id'],
  ].sort(),
  conversation: [
    ...['id', 'title', 'metadata', 'participants', 'admins', 'participant_count', 'distinct_by_participants'],
    ...['last_message', 'last_seq', 'created_by', 'created_at', 'updated_at'],
  ].sort(),
  user_conversation: [
    ...['id', 'user', 'conversation', 'unread_count', 'last_read_message', 'last_read_seq', 'is_admin'],
  ].sort(),
  user: ['avatar_url', 'id', 'metadata', 'name', 'updated_at'],
}

const keysOf = (record: object) => Object.keys(record).sort()
const startOfTime = '2026-01-01T00:00:00.000Z'

test('E1 a message has its keys and no others, in replies, events and history', async () => {
  await using room = await openRoom()
  const message = await say(room.alice, room.conversation, 'hello', {
    metadata: { mood: 'good' },
    attachment: { url: 'https://example.org/cat.png' },
    client_id: 'c1',
  })
  expect(message).toEqual({
    id: expect.stringMatching(/^message\/[0-9a-f-]{36}$/),
    conversation: room.conversation,
    created_by: alice,
    created_at: startOfTime,
    updated_at: startOfTime,
    body: 'hello',
    metadata: { mood: 'good' },
    attachment: { url: 'https://example.org/cat.png' },
    seq: 2,
    revision: 1,
    edited_at: null,
    edited_by: null,
    deleted: false,
    client_id: 'c1',
  })
  expect(keysOf(message)).toEqual(keys.message)
  const event = await room.bob.next()
  expect(event.data.record).toEqual(message)
  const { messages } = await room.bob.command('get_messages', { conversation: room.conversation })
  expect(messages).toEqual([message])
})

test('E1 what a message was not given is null or empty, and an edit says by whom and when', async () => {
  await using room = await openRoom()
  const { id, ...rest } = await say(room.alice, room.conversation, '')
  expect(rest).toMatchObject({ body: '', metadata: {}, attachment: null, client_id: null })
  room.clock.advance(1_500)
  const { message } = await room.alice.command('edit_message', { message: id, body: 'better' })
  const later = '2026-01-01T00:00:01.500Z'
  expect(message).toEqual({
    id,
    ...rest,
    body: 'better',
    revision: 2,
    updated_at: later,
    edited_at: later,
    edited_by: alice,
  })
})

test('E1 a conversation and one’s own side of it have their keys and no others', async () => {
  await using stage = await openStage()
  const session = await stage.connect(alice)
  const { conversation } = await session.command('create_conversation', {
    participants: [bob],
    title: 'Two',
    metadata: { colour: 'red' },
  })
  expect(conversation).toEqual({
    id: expect.stringMatching(/^conversation\/[0-9a-f-]{36}$/),
    title: 'Two',
    metadata: { colour: 'red' },
    participants: [alice, bob],
    admins: [alice],
    participant_count: 2,
    distinct_by_participants: false,
    last_message: null,
    last_seq: 1,
    created_by: alice,
    created_at: startOfTime,
    updated_at: startOfTime,
  })
  expect(keysOf(conversation)).toEqual(keys.conversation)
  const view = await session.command('get_conversation', { conversation: conversation.id })
  expect(view).toEqual({
    conversation,
    user_conversation: {
      id: `user_conversation/${conversation.id.slice('conversation/'.length)}:alice`,
      user: alice,
      conversation: conversation.id,
      unread_count: 0,
      last_read_message: null,
      last_read_seq: 1,
      is_admin: true,
    },
    last_message: null,
  })
})

test('E1 participants and admins list the first 100 by user id, and get_participants gives them all', async () => {
  await using stage = await openStage()
  const session = await stage.connect(alice)
  const users = Array.from({ length: 129 }, (_, index): UserId => `user/m${String(index).padStart(3, '0')}`)
  const { conversation } = await session.command('create_conversation', { participants: users, admins: users })
  expect(conversation.participant_count).toBe(130)
  const everyone = [alice, ...users]
  expect(conversation.participants).toEqual(everyone.slice(0, 100))
  expect(conversation.admins).toEqual(everyone.slice(0, 100))

  const first = await session.command('get_participants', { conversation: conversation.id, limit: 70 })
  const second = await session.command('get_participants', {
    conversation: conversation.id,
    limit: 70,
    after: first.participants.at(-1) as UserId,
  })
  expect([...first.participants, ...second.participants]).toEqual(everyone)
  expect(first.admins).toEqual(first.participants)
})

test('E1, E4 every event holds whole records: after the change, and before it for update and delete', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const message = await say(room.alice, conversation, 'one')
  const { message: edited } = await room.alice.command('edit_message', { message: message.id, body: 'two' })
  const { message: tombstone } = await room.alice.command('delete_message', { message: message.id })
  const before = await room.alice.command('get_conversation', { conversation })
  const after = await room.alice.command('update_conversation', { conversation, title: 'Title' })
  const { user_conversation: read } = await room.bob.command('mark_as_last_message_read', {
    conversation,
    message: message.id,
  })
  const { user } = await room.bob.command('update_user', { name: 'Bob' })

  const emptied = { ...edited, body: '' }
  const events = (await room.bob.rest()).filter(isEvent)
  expect(events.map(({ event, data }) => [event, data.record_type, data.record, data.original_record])).toEqual([
    ['create', 'message', message, null],
    ['update', 'message', edited, message],
    ['delete', 'message', tombstone, emptied],
    ['update', 'conversation', after.conversation, before.conversation],
    ['update', 'user_conversation', read, { ...read, last_read_message: null, last_read_seq: 1 }],
    ['update', 'user', user, { id: bob, name: null, avatar_url: null, metadata: {}, updated_at: null }],
  ])
  for (const { event, data } of events) {
    expect(data.event_type).toBe(event)
    expect(keysOf(data.record)).toEqual(keys[data.record_type as keyof typeof keys])
    if (data.original_record) expect(keysOf(data.original_record)).toEqual(keysOf(data.record))
  }
  expect(tombstone).toEqual({ ...edited, body: '', revision: 3, deleted: true })
})

test('E2 every kind of change takes the next seq, from 1 without a gap, and nothing else takes one', async () => {
  await using stage = await openStage()
  const [host, guest] = [await stage.connect(alice), await stage.connect(bob)]
  const { conversation } = await host.command('create_conversation', { participants: [bob] })
  const id = conversation.id
  const message = await say(guest, id, 'one')
  await guest.command('edit_message', { message: message.id, body: 'two' })
  await host.command('update_conversation', { conversation: id, title: 'Title' })
  await host.command('add_participants', { conversation: id, participants: ['user/carol', 'user/dave'] })
  await host.command('add_admins', { conversation: id, admins: [bob] })
  await host.command('remove_admins', { conversation: id, admins: [bob] })
  await host.command('remove_participants', { conversation: id, participants: ['user/carol', 'user/dave'] })
  await guest.command('delete_message', { message: message.id })

  // None of these changes anything in the conversation, or anything at all.
  const other = await say(host, id, 'three', { client_id: 'c' })
  await say(host, id, 'again', { client_id: 'c' })
  await guest.command('mark_as_last_message_read', { conversation: id, message: other.id })
  await guest.command('typing', { conversation: id, event: 'begin' })
  await guest.command('delete_message', { message: message.id })
  await host.command('add_participants', { conversation: id, participants: [alice, bob] })
  await host.command('remove_participants', { conversation: id, participants: ['user/carol'] })
  await host.command('add_admins', { conversation: id, admins: [alice] })
  await host.command('remove_admins', { conversation: id, admins: [bob] })
  await codeOf(guest.command('update_conversation', { conversation: id, title: 'Mine' }))
  await codeOf(guest.command('edit_message', { message: message.id, body: 'too late' }))

  await host.command('delete_conversation', { conversation: id })
  await stage.settle()
  const told = (events: readonly EventFrame[]) => events.map(({ event, data, seq }) => [event, data.record_type, seq])
  const changes = [
    ['create', 'conversation', 1],
    ['create', 'message', 2],
    ['update', 'message', 3],
    ['update', 'conversation', 4],
    ['update', 'conversation', 5],
    ['update', 'conversation', 6],
    ['update', 'conversation', 7],
    ['update', 'conversation', 8],
    ['delete', 'message', 9],
    ['create', 'message', 10],
    ['delete', 'conversation', 11],
  ]
  expect(told(host.events)).toEqual(changes)
  expect(told(guest.events.filter(({ conversation }) => conversation === id))).toEqual(changes)
})

test('E2 two conversations count apart', async () => {
  await using room = await openRoom()
  const other = await room.alice.command('create_conversation', { participants: [bob] })
  await say(room.alice, room.conversation, 'here')
  await say(room.alice, other.conversation.id, 'there')
  expect((await say(room.bob, room.conversation, 'here again')).seq).toBe(3)
  expect((await say(room.bob, other.conversation.id, 'there again')).seq).toBe(3)
})

test('E2 a new message shows in last_message, last_seq, updated_at and unread counts without any further event', async () => {
  await using room = await openRoom()
  const { conversation } = room
  room.clock.advance(1_000)
  const message = await say(room.alice, conversation, 'hello')
  expect((await room.bob.rest()).length).toBe(1)
  const seen = await room.bob.command('get_conversation', { conversation })
  expect(seen.last_message).toEqual(message)
  expect(seen.conversation).toMatchObject({
    last_message: message.id,
    last_seq: 2,
    created_at: startOfTime,
    updated_at: '2026-01-01T00:00:01.000Z',
  })
  expect(seen.user_conversation.unread_count).toBe(1)

  // An edit moves the seq only: old conversations don't come up for a corrected letter.
  room.clock.advance(1_000)
  await room.alice.command('edit_message', { message: message.id, body: 'Hello' })
  const { conversation: record } = await room.bob.command('get_conversation', { conversation })
  expect(record).toMatchObject({ last_message: message.id, last_seq: 3, updated_at: '2026-01-01T00:00:01.000Z' })
  await room.alice.command('update_conversation', { conversation, metadata: { a: 1 } })
  expect(conversationOf(await room.bob.next(({ seq }) => seq === 4))).toMatchObject({
    last_seq: 4,
    metadata: { a: 1 },
    title: null,
    updated_at: '2026-01-01T00:00:02.000Z',
  })
})
