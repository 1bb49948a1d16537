/** Resuming from a cursor (R), over real sockets and a real database. */
import { expect, it } from 'vitest'
import { connect, open } from '../../src/testing/raw-session.ts'
import { missedSince, restOfEvents, resume, said } from './resume.ts'
import { alice, bob, carol, openRoom, say } from './stage.ts'

it('R2 what was missed comes first, in the order of the log, then what happens live', async () => {
  await using room = await openRoom()
  const { cursor } = await room.bob.command('ping')
  await room.bob.end()
  await say(room.alice, room.conversation, 'one')
  const { conversation: other } = await room.alice.command('create_conversation', { participants: [bob] })
  await say(room.alice, other.id, 'two')
  await say(room.alice, room.conversation, 'three')
  await using back = await resume(room.stage, bob, cursor)
  expect(back.greeting).toMatchObject({ resumed: true, cursor })
  await say(room.alice, room.conversation, 'live')
  const events = await restOfEvents(back)
  expect(events.map(said)).toEqual(['one', 'create conversation', 'two', 'three', 'live'])
})

it('R2 user events are among what was missed', async () => {
  await using room = await openRoom()
  const { cursor } = await room.bob.command('ping')
  const message = await say(room.alice, room.conversation, 'read me')
  await room.bob.command('mark_as_last_message_read', { conversation: room.conversation, message: message.id })
  await using back = await resume(room.stage, bob, cursor)
  expect((await restOfEvents(back)).map(said)).toEqual(['read me', 'update user_conversation'])
})

it('R5 a cursor of another database, of another form, or from the future is not gone on from', async () => {
  await using room = await openRoom()
  await using elsewhere = await openRoom()
  const { cursor } = await room.bob.command('ping')
  const foreign = (await elsewhere.bob.command('ping')).cursor
  for (const bad of [foreign, '', 'nonsense', `${cursor}zzz`, `${cursor}.1`]) {
    await using back = await resume(room.stage, bob, bad)
    expect(back.greeting.resumed).toBe(false)
    expect(await back.rest()).toEqual([])
  }
})

it('R3 a cursor holds across a restart of the server', async () => {
  await using room = await openRoom()
  const { cursor } = await room.bob.command('ping')
  await say(room.alice, room.conversation, 'before')
  await room.stage.server.stop()
  await room.stage.server.start()
  await using sender = await connect(room.stage.server, alice)
  await say(sender, room.conversation, 'after')
  await using back = await resume(room.stage, bob, cursor)
  expect((await restOfEvents(back)).map(said)).toEqual(['before', 'after'])
})

it('R1 each record event has a cursor, and so have the replies to connect and ping; typing and gaps have none', async () => {
  await using room = await openRoom()
  const { conversation } = room
  expect(room.bob.greeting.cursor).toMatch(/^[\w.-]+$/)
  await room.bob.command('subscribe_typing', { conversation })
  await room.alice.command('typing', { conversation, event: 'begin' })
  await say(room.alice, conversation, 'hello')
  await room.bob.command('update_user', { name: 'Bob' })
  const { cursor } = await room.bob.command('ping')
  expect(room.bob.events.map((event) => Object.keys(event))).toEqual([
    ['event', 'data', 'conversation', 'seq', 'cursor'],
    ['event', 'data', 'conversation', 'seq', 'cursor'],
    ['event', 'data', 'cursor'],
  ])
  expect(room.bob.events.at(-1)?.cursor).toBe(cursor)
  const typing = room.bob.pushes.filter((push) => !('cursor' in push))
  expect(typing.length).toBeGreaterThan(0)
})

it('R1 the cursor of a quiet session stays young by ping, whatever happens to others', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { cursor: old } = await room.guests[1]!.command('ping')
  const { conversation: other } = await room.alice.command('create_conversation', { participants: [bob] })
  await say(room.alice, other.id, 'not for carol')
  const { cursor } = await room.guests[1]!.command('ping')
  expect(cursor).not.toBe(old)
  expect(cursor).toBe((await room.bob.command('ping')).cursor)
  await say(room.alice, room.conversation, 'for all')
  expect((await missedSince(room.stage, carol, cursor, room.bob)).length).toBe(1)
})

it('R2 who has missed nothing is told so, and goes on', async () => {
  await using room = await openRoom()
  const { cursor } = await room.bob.command('ping')
  await using back = await resume(room.stage, bob, cursor)
  expect(back.greeting).toMatchObject({ user: bob, resumed: true, cursor })
  expect(await back.rest()).toEqual([])
  await say(room.alice, room.conversation, 'live')
  expect((await restOfEvents(back)).map(said)).toEqual(['live'])
})

it('R2 what was missed is told just as it was told to those who were there', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { cursor } = await room.bob.command('ping')
  const { id } = await say(room.alice, conversation, 'one', { client_id: 'c', metadata: { a: 1 } })
  await room.alice.command('edit_message', { message: id, body: 'two' })
  await room.alice.command('update_conversation', { conversation, title: 'Title' })
  await room.alice.command('edit_message', { message: id, body: 'three', attachment: { url: 'x' } })
  await room.alice.command('add_participants', { conversation, participants: [carol] })
  await room.bob.command('mark_as_last_message_read', { conversation, message: id })
  await room.bob.command('update_user', { name: 'Bob' })
  await room.bob.command('rotate_user_channel', {})
  const live = (await room.bob.rest()).map((push) => JSON.stringify(push))
  expect(live).toHaveLength(8)
  const missed = await missedSince(room.stage, bob, cursor, room.alice)
  expect(missed.map((push) => JSON.stringify(push))).toEqual(live)
})

it('R2 of many sessions that come back at once each gets all that it missed, while others go on writing', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const cursors = [(await room.bob.command('ping')).cursor]
  for (let count = 1; count <= 9; count++) {
    await say(room.alice, conversation, `${count}`)
    cursors.push((await room.bob.command('ping')).cursor)
  }
  const writing = Promise.all(Array.from({ length: 40 }, (_, index) => say(room.alice, conversation, `live ${index}`)))
  const sessions = await Promise.all(cursors.map((cursor) => resume(room.stage, bob, cursor)))
  await writing
  await Promise.all(sessions.map((session) => session.command('ping')))
  for (const [index, session] of sessions.entries()) {
    await expect.poll(() => session.events.length).toBe(49 - index)
    expect(session.events.map(({ seq }) => seq)).toEqual(Array.from({ length: 49 - index }, (_, at) => 2 + index + at))
    await session.end()
  }
})

it('S1, R5 a cursor that is no text is refused, and the session may try again', async () => {
  await using room = await openRoom()
  await using session = await open(room.stage.server)
  const token = await room.stage.server.token('bob')
  const wrong = session.commandOf({ command: 'connect', args: { token, cursor: 7 } })
  await expect(wrong).rejects.toMatchObject({ code: 'invalid_argument' })
  expect(await session.command('connect', { token })).toMatchObject({ resumed: false })
})

it('R5 a cursor that is none in its form, whatever its characters, is answered resumed:false', async () => {
  await using room = await openRoom()
  const { cursor } = await room.bob.command('ping')
  for (const none of [
    '',
    'x',
    '.',
    '\0',
    '\ud800',
    `${cursor}\0`,
    `\udfff${cursor}`,
    `${cursor}\n`,
    'x'.repeat(60_000),
  ]) {
    await using session = await resume(room.stage, bob, none)
    expect([none.slice(0, 80), session.greeting.resumed]).toEqual([none.slice(0, 80), false])
    expect(await session.rest()).toEqual([])
  }
  await using back = await resume(room.stage, bob, cursor)
  expect(back.greeting.resumed).toBe(true)
})
