/** The same client_id means the same thing: retries make no second one (M3). */
import { expect, test } from 'vitest'
import { alice, bob, carol, codeOf, noConversation, openRoom, openStage, say } from './stage.ts'

test('M3 a client_id that comes again returns the same message, and makes no second event', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const first = await say(room.alice, conversation, 'hello', { client_id: 'c1' })
  const again = await say(room.alice, conversation, 'hello again', { client_id: 'c1' })
  expect(again).toEqual(first)
  expect(first.client_id).toBe('c1')
  expect((await room.bob.rest()).length).toBe(1)
  expect((await say(room.alice, conversation, 'next', { client_id: 'c2' })).seq).toBe(3)
})

test('M3 a client_id sent many times at once makes one message, on one session or on several', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const phone = await room.stage.connect(alice)
  const sessions = [room.alice, phone, room.alice, phone, phone, room.alice]
  const messages = await Promise.all(sessions.map((session) => say(session, conversation, 'hello', { client_id: 'c' })))
  expect(new Set(messages.map(({ id }) => id)).size).toBe(1)
  expect((await room.bob.rest()).length).toBe(1)
  expect((await phone.rest()).length).toBe(1)
  const page = await room.bob.command('get_messages', { conversation })
  expect(page.messages).toEqual([messages[0]])
})

test('M3 a client_id means the same over HTTP as on a session', async () => {
  await using room = await openRoom()
  const { conversation, stage } = room
  const first = await say(room.alice, conversation, 'hello', { client_id: 'c' })
  const args = { conversation, body: 'hello', client_id: 'c' }
  const byKey = await stage.server.call('create_message', args, alice)
  const headers = { authorization: `Bearer ${await stage.server.token('alice')}` }
  const byToken = await stage.server.call('create_message', args, undefined, headers)
  expect([byKey.result.message, byToken.result.message]).toEqual([first, first])
  expect((await room.bob.rest()).length).toBe(1)
})

test('M3 a client_id is known after a restart', async () => {
  await using room = await openRoom()
  const { conversation, stage } = room
  const first = await say(room.alice, conversation, 'hello', { client_id: 'c' })
  await stage.server.stop()
  await stage.server.start()
  const [session, guest] = [await stage.connect(alice), await stage.connect(bob)]
  expect(await say(session, conversation, 'hello', { client_id: 'c' })).toEqual(first)
  expect(await guest.rest()).toEqual([])
})

test('M3 the message comes as it is now: edited, or as a tombstone', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { id: message } = await say(room.alice, conversation, 'one', { client_id: 'c' })
  const edited = await room.alice.command('edit_message', { message, body: 'two' })
  expect(await say(room.alice, conversation, 'one', { client_id: 'c' })).toEqual(edited.message)
  const deleted = await room.alice.command('delete_message', { message })
  expect(await say(room.alice, conversation, 'one', { client_id: 'c' })).toEqual(deleted.message)
})

test('M3 who has left since gets not_found, and who came back the message', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const first = await say(room.bob, conversation, 'hello', { client_id: 'c' })
  await room.bob.command('leave_conversation', { conversation })
  expect(await codeOf(say(room.bob, conversation, 'hello', { client_id: 'c' }))).toBe('not_found')
  await room.alice.command('add_participants', { conversation, participants: [bob] })
  expect(await say(room.bob, conversation, 'hello', { client_id: 'c' })).toEqual(first)
})

test('M3 a client_id belongs to its user and its command', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const mine = await say(room.alice, conversation, 'mine', { client_id: 'c' })
  const theirs = await say(room.bob, conversation, 'theirs', { client_id: 'c' })
  expect(theirs.id).not.toBe(mine.id)
  const made = await room.alice.command('create_conversation', { participants: [bob], client_id: 'c' })
  expect(made.created).toBe(true)
  const edited = await room.alice.command('edit_message', { message: mine.id, body: 'edited', client_id: 'c' })
  expect(edited.message).toMatchObject({ id: mine.id, body: 'edited', client_id: 'c' })
})

test('M3 a command that failed has not used its client_id up', async () => {
  await using room = await openRoom()
  expect(await codeOf(say(room.alice, noConversation, 'hello', { client_id: 'c' }))).toBe('not_found')
  const message = await say(room.alice, room.conversation, 'hello', { client_id: 'c' })
  const stale = room.alice.command('edit_message', { message: message.id, body: 'no', revision: 7, client_id: 'e' })
  expect(await codeOf(stale)).toBe('conflict')
  const edited = await room.alice.command('edit_message', { message: message.id, body: 'yes', client_id: 'e' })
  expect(edited.message.body).toBe('yes')
})

test('M3 an edit that comes again changes nothing again, though the message was changed since', async () => {
  await using room = await openRoom()
  const { id: message } = await say(room.alice, room.conversation, 'one')
  const edit = { message, body: 'two', revision: 1, client_id: 'e' }
  await Promise.all([room.alice.command('edit_message', edit), room.alice.command('edit_message', edit)])
  const { message: now } = await room.alice.command('edit_message', { message, body: 'three' })
  expect((await room.alice.command('edit_message', edit)).message).toEqual(now)
  expect((await room.bob.rest()).length).toBe(3)
})

test('M1, M3 a conversation asked for again by its client_id is made once', async () => {
  await using stage = await openStage()
  const [host, phone, guest] = [await stage.connect(alice), await stage.connect(alice), await stage.connect(bob)]
  const ask = { participants: [bob], title: 'Us', client_id: 'c' }
  const made = await Promise.all([host, phone, host].map((session) => session.command('create_conversation', ask)))
  expect(new Set(made.map(({ conversation }) => conversation.id)).size).toBe(1)
  expect(made.filter(({ created }) => created).length).toBe(1)
  expect((await guest.rest()).length).toBe(1)

  const id = made[0]?.conversation.id as `conversation/${string}`
  const { conversation: now } = await host.command('update_conversation', { conversation: id, title: 'We' })
  const again = await host.command('create_conversation', { participants: [carol], client_id: 'c' })
  expect(again).toEqual({ conversation: now, created: false })
  await host.command('leave_conversation', { conversation: id })
  expect(await codeOf(host.command('create_conversation', ask))).toBe('not_found')
})
