/** Who comes, stays and goes: what each is told, and that who has gone is told no more (E5). */
import { expect, test } from 'vitest'
import type { CommandName } from '../../src/protocol/commands.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { alice, bob, carol, codeOf, conversationOf, dave, isEvent, openRoom, type Session, say } from './stage.ts'

/** What a session was told of conversations, without typing. */
async function toldTo(session: Session) {
  const events = (await session.rest()).filter(isEvent)
  return events.map(({ event, seq, data }) => ({
    event,
    seq,
    record: data.record,
    original: data.original_record,
  }))
}

test('E5 who is added gets create of the conversation, the others update, all with one seq', async () => {
  await using room = await openRoom({}, [bob, carol, dave])
  const [first, second] = [await room.stage.connect(carol), await room.stage.connect('user/eve')]
  const [, carolToo, daveToo] = room.guests as [Session, Session, Session]
  const { conversation } = room
  await room.alice.command('remove_participants', { conversation, participants: [carol, dave] })
  await room.stage.settle()
  for (const session of room.stage.sessions) await session.rest()

  const before = await room.alice.command('get_conversation', { conversation })
  const { conversation: after } = await room.alice.command('add_participants', {
    conversation,
    participants: [carol, dave, bob, carol],
  })
  expect(after).toEqual({
    ...before.conversation,
    participants: [alice, bob, carol, dave],
    participant_count: 4,
    last_seq: 3,
  })
  const update = [{ event: 'update', seq: 3, record: after, original: before.conversation }]
  const create = [{ event: 'create', seq: 3, record: after, original: null }]
  expect(await toldTo(room.alice)).toEqual(update)
  expect(await toldTo(room.bob)).toEqual(update)
  for (const session of [first, carolToo, daveToo]) expect(await toldTo(session)).toEqual(create)
  expect(await toldTo(second)).toEqual([])
})

test('E5 who is removed gets delete with the id alone, on all sessions; the others get update', async () => {
  await using room = await openRoom({}, [bob, carol, dave])
  const phone = await room.stage.connect(carol)
  const { conversation: id } = room
  const { conversation: before } = await room.alice.command('get_conversation', { conversation: id })
  const { conversation: after } = await room.alice.command('remove_participants', {
    conversation: id,
    participants: [dave, carol, 'user/eve'],
  })
  expect(after).toEqual({ ...before, participants: [alice, bob], participant_count: 2, last_seq: 2 })
  const update = [{ event: 'update', seq: 2, record: after, original: before }]
  const gone = [{ event: 'delete', seq: 2, record: { id }, original: { id } }]
  expect(await toldTo(room.alice)).toEqual(update)
  expect(await toldTo(room.bob)).toEqual(update)
  for (const session of [phone, ...room.guests.slice(1)]) expect(await toldTo(session)).toEqual(gone)
})

test('E5, M2 who leaves gets delete with the id alone, and the reply says no more', async () => {
  await using room = await openRoom()
  const { conversation: id } = room
  const left = await room.bob.command('leave_conversation', { conversation: id })
  expect(left).toEqual({ conversation: { id } })
  expect(await toldTo(room.bob)).toEqual([{ event: 'delete', seq: 2, record: { id }, original: { id } }])
  const [update] = (await room.alice.rest()).filter(isEvent)
  expect(update && conversationOf(update)).toMatchObject({ participants: [alice], participant_count: 1, last_seq: 2 })
  expect(await codeOf(room.bob.command('leave_conversation', { conversation: id }))).toBe('not_found')

  const removed = await room.alice.command('remove_participants', { conversation: id, participants: [alice] })
  expect(removed).toEqual({ conversation: { id } })
  expect(await codeOf(room.alice.command('get_conversation', { conversation: id }))).toBe('not_found')
})

test('E5 when a conversation is deleted all get {id, deleted:true}, and nothing of it is left to read', async () => {
  await using room = await openRoom()
  const { conversation: id } = room
  const message = await say(room.alice, id, 'a secret', { client_id: 'c' })
  await room.alice.rest()
  await room.bob.rest()
  const gone = { id, deleted: true }
  expect(await room.alice.command('delete_conversation', { conversation: id })).toEqual({ conversation: gone })
  const told = [{ event: 'delete', seq: 3, record: gone, original: gone }]
  expect(await toldTo(room.alice)).toEqual(told)
  expect(await toldTo(room.bob)).toEqual(told)

  for (const session of [room.alice, room.bob]) {
    const { conversations } = await session.command('get_conversations')
    expect(conversations).toEqual([])
    const commands: [CommandName, object][] = [
      ['get_conversation', { conversation: id }],
      ['get_messages', { conversation: id }],
      ['get_events', { conversation: id, after_seq: 0 }],
      ['get_participants', { conversation: id }],
      ['create_message', { conversation: id, body: 'hello?' }],
      ['create_message', { conversation: id, body: 'a secret', client_id: 'c' }],
      ['edit_message', { message: message.id, body: 'hello?' }],
      ['delete_message', { message: message.id }],
      ['typing', { conversation: id, event: 'begin' }],
      ['subscribe_typing', { conversation: id }],
      ['delete_conversation', { conversation: id }],
    ]
    for (const [command, args] of commands) {
      expect({ command, code: await codeOf(session.commandOf({ command, args })) }).toEqual({
        command,
        code: 'not_found',
      })
    }
    expect(await session.command('get_unread_count')).toEqual({ conversation: 0, message: 0 })
  }
})

test('E5 after the delete push who was removed gets no frame of it: no event, no typing, no reply', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation } = room
  const { id: message } = await say(room.bob, conversation, 'mine')
  await room.bob.command('subscribe_typing', { conversation })
  await room.bob.command('typing', { conversation, event: 'begin' })
  await room.alice.command('remove_participants', { conversation, participants: [bob] })
  await room.bob.next(({ event }) => event === 'delete')
  await room.bob.rest()

  await room.guests[1]?.command('typing', { conversation, event: 'begin' })
  room.clock.advance(1_000)
  await say(room.alice, conversation, 'he has gone')
  await room.alice.command('update_conversation', { conversation, title: 'Us' })
  await room.alice.command('delete_message', { message })
  const commands: [CommandName, object][] = [
    ['get_conversation', { conversation }],
    ['get_messages', { conversation }],
    ['get_events', { conversation, after_seq: 0 }],
    ['get_participants', { conversation }],
    ['edit_message', { message, body: 'still mine' }],
    ['delete_message', { message }],
    ['mark_as_last_message_read', { conversation, message }],
    ['typing', { conversation, event: 'begin' }],
    ['subscribe_typing', { conversation }],
    ['add_participants', { conversation, participants: [bob] }],
  ]
  for (const [command, args] of commands) {
    expect({ command, code: await codeOf(room.bob.commandOf({ command, args })) }).toEqual({
      command,
      code: 'not_found',
    })
  }
  expect(await room.bob.command('unsubscribe_typing', { conversation })).toEqual({})
  expect((await room.bob.command('get_conversations')).conversations).toEqual([])
  expect(await room.bob.rest()).toEqual([])
})

test('E5 what is asked for in the turn of leaving is answered before the delete push, or not at all', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { id: message } = await say(room.alice, conversation, 'hello')
  const reads: [CommandName, object][] = [
    ['get_conversation', { conversation }],
    ['get_conversations', {}],
    ['get_messages', { conversation }],
    ['get_events', { conversation, after_seq: 0 }],
    ['get_participants', { conversation }],
    ['mark_as_last_message_read', { conversation, message }],
    ['get_users', { users: [alice] }],
    ['subscribe_typing', { conversation }],
  ]
  for (const [command, args] of reads) {
    await room.bob.rest()
    const start = room.bob.frames.length
    // All of a turn goes into one commit, so the reading and the leaving are answered in one turn as well.
    const answers = [
      room.bob.commandOf({ command, args }),
      room.bob.command('leave_conversation', { conversation }),
      room.bob.commandOf({ command, args }).catch(() => {}),
    ]
    await Promise.all(answers)
    await room.bob.rest()
    const frames = room.bob.frames.slice(start)
    const told = frames.map((frame, index) => {
      const text = room.bob.texts[start + index] as string
      if ('event' in frame) return frame.event
      return 'result' in frame && text.includes(conversation) ? 'shown' : 'other'
    })
    expect({ command, afterwards: told.slice(told.indexOf('delete')).includes('shown') }).toEqual({
      command,
      afterwards: false,
    })
    await room.alice.command('add_participants', { conversation, participants: [bob] })
  }
})

test('E5 typing asked for in the turn of leaving, of a conversation this server has not heard of, is answered in time', async () => {
  await using room = await openRoom()
  const { conversation } = room
  await room.stage.server.stop()
  await room.stage.server.start()
  const guest = await room.stage.connect(bob)
  const asked = [
    guest.command('subscribe_typing', { conversation }),
    guest.command('typing', { conversation, event: 'begin' }),
    guest.command('leave_conversation', { conversation }),
  ]
  await Promise.all(asked)
  await guest.rest()
  const kinds = guest.frames.slice(1).map((frame) => {
    if ('event' in frame) return frame.event
    return 'result' in frame ? Object.keys(frame.result as object)[0] : 'error'
  })
  expect(kinds.slice(0, 4)).toEqual(['typing', undefined, 'conversation', 'delete'])
})

test('E5 who is added again reads the whole history, and create starts the counting of seq anew', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const before = await say(room.alice, conversation, 'before')
  await room.bob.command('leave_conversation', { conversation })
  const between = await say(room.alice, conversation, 'between')
  await room.bob.rest()
  await room.alice.command('add_participants', { conversation, participants: [bob] })
  const after = await say(room.alice, conversation, 'after')

  expect((await toldTo(room.bob)).map(({ event, seq }) => [event, seq])).toEqual([
    ['create', 5],
    ['create', 6],
  ])
  const { messages } = await room.bob.command('get_messages', { conversation })
  expect(messages).toEqual([after, between, before])
  const view = await room.bob.command('get_conversation', { conversation })
  expect(view.user_conversation).toMatchObject({ last_read_seq: 5, unread_count: 1, last_read_message: null })
})

test('E5 who is added later has nothing unread', async () => {
  await using room = await openRoom()
  const { conversation } = room
  await say(room.alice, conversation, 'before')
  await room.alice.command('add_participants', { conversation, participants: [carol] })
  const late = await room.stage.connect(carol)
  expect(await late.command('get_unread_count')).toEqual({ conversation: 0, message: 0 })
  expect((await late.command('get_conversation', { conversation })).user_conversation).toMatchObject({
    unread_count: 0,
    last_read_message: null,
    last_read_seq: 3,
    is_admin: false,
  })
})

test('E5 of a removal in one turn with messages and typing nothing reaches who was removed after it', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation } = room
  const [, third] = room.guests as [Session, Session]
  for (let round = 0; round < 20; round++) {
    await Promise.all([room.bob, third].map((session) => session.command('subscribe_typing', { conversation })))
    for (const session of room.stage.sessions) await session.rest()
    const start = room.bob.frames.length
    await Promise.allSettled([
      third.command('typing', { conversation, event: 'begin' }),
      say(room.alice, conversation, 'one'),
      room.bob.command('typing', { conversation, event: 'begin' }),
      say(third, conversation, 'two'),
      say(room.bob, conversation, 'three'),
      room.alice.command('remove_participants', { conversation, participants: [bob] }),
      room.bob.command('subscribe_typing', { conversation }),
      room.bob.command('typing', { conversation, event: 'begin' }),
      third.command('typing', { conversation, event: 'pause' }),
      say(room.alice, conversation, 'four'),
      say(third, conversation, 'five'),
      say(room.bob, conversation, 'six'),
    ])
    room.clock.advance(300)
    await room.stage.settle()
    const frames = room.bob.frames.slice(start)
    const end = frames.findIndex((frame) => 'event' in frame && frame.event === 'delete')
    expect(end).toBeGreaterThan(0)
    const later = frames.slice(end + 1).filter((frame) => !('error' in frame))
    expect(later.filter((frame) => JSON.stringify(frame).includes(conversation))).toEqual([])

    // Of his typing nothing is left for the others either.
    const { typing } = await third.command('subscribe_typing', { conversation })
    expect(typing).toEqual({})
    await room.alice.command('add_participants', { conversation, participants: [bob] })
  }
})

test('E5 what is sent before a removal reaches who is removed, and what is sent after an adding who is added', async () => {
  await using room = await openRoom({}, [bob])
  const { conversation } = room
  const guest = await room.stage.connect(carol)
  const others: UserId[] = [carol]
  const turn = [
    say(room.alice, conversation, 'before'),
    room.alice.command('add_participants', { conversation, participants: others }),
    say(room.alice, conversation, 'during'),
    room.alice.command('remove_participants', { conversation, participants: others }),
    say(room.alice, conversation, 'after'),
    room.alice.command('add_participants', { conversation, participants: others }),
    say(room.alice, conversation, 'again'),
  ]
  await Promise.all(turn)
  expect(
    (await toldTo(guest)).map(({ event, seq, record }) => [event, seq, 'body' in record ? record.body : null]),
  ).toEqual([
    ['create', 3, null],
    ['create', 4, 'during'],
    ['delete', 5, null],
    ['create', 7, null],
    ['create', 8, 'again'],
  ])
})
