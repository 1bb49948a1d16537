/** Who may do what, and what everybody else is told: forbidden never tells that a thing exists. */
import { expect, test } from 'vitest'
import type { CommandName } from '../../src/protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../src/protocol/ids.ts'
import { alice, bob, carol, codeOf, noConversation, noMessage, openRoom, openStage, refusal, say } from './stage.ts'

type Given = readonly [command: CommandName, args: object]

/** Every command that names a conversation or a message, with these. */
function commandsOn(conversation: ConversationId, message: MessageId, self: UserId): Given[] {
  return [
    ['get_conversation', { conversation }],
    ['get_conversations', { before: conversation }],
    ['update_conversation', { conversation, title: 'Mine' }],
    ['leave_conversation', { conversation }],
    ['delete_conversation', { conversation }],
    ['add_participants', { conversation, participants: [self] }],
    ['remove_participants', { conversation, participants: [alice] }],
    ['remove_participants', { conversation, participants: [self] }],
    ['add_admins', { conversation, admins: [self] }],
    ['remove_admins', { conversation, admins: [alice] }],
    ['get_participants', { conversation }],
    ['create_message', { conversation, body: 'hello' }],
    ['create_message', { conversation, body: 'hello', client_id: 'c' }],
    ['edit_message', { message, body: 'edited' }],
    ['edit_message', { message, body: 'edited', revision: 7, client_id: 'c' }],
    ['delete_message', { message }],
    ['get_messages', { conversation }],
    ['get_events', { conversation, after_seq: 0 }],
    ['mark_as_last_message_read', { conversation, message }],
    ['typing', { conversation, event: 'begin' }],
    ['typing', { conversation, event: 'finished' }],
    ['subscribe_typing', { conversation }],
  ]
}

/** What was answered, without the ids that were asked for. */
function anonymous(answer: unknown): unknown {
  return JSON.parse(JSON.stringify(answer).replaceAll(/(conversation|message)\/[0-9a-f-]{36}/g, '$1/…'))
}

test('M2, M4, M5 what one may not see is not_found, with the same answer as what does not exist', async () => {
  await using room = await openRoom()
  const { stage, conversation } = room
  const { id: message } = await say(room.alice, conversation, 'hello')
  const outsider = await stage.connect(carol)
  const foreign = commandsOn(conversation, message, carol)
  const missing = commandsOn(noConversation, noMessage, carol)
  await room.bob.rest()
  for (const [index, [command, args]] of foreign.entries()) {
    const [, missingArgs] = missing[index] as Given
    const told = await refusal(outsider.commandOf({ command, args }))
    const toldOfNothing = await refusal(outsider.commandOf({ command, args: missingArgs }))
    expect({ command, code: told.code }).toEqual({ command, code: 'not_found' })
    expect({ command, told: anonymous(told) }).toEqual({ command, told: anonymous(toldOfNothing) })
  }
  expect(await room.bob.rest()).toEqual([])
})

test('M2, W7 over HTTP too what one may not see is not_found, as what does not exist', async () => {
  await using room = await openRoom()
  const { server } = room.stage
  const { id: message } = await say(room.alice, room.conversation, 'hello')
  const sessionsOnly = new Set<CommandName>(['subscribe_typing'])
  const foreign = commandsOn(room.conversation, message, carol).filter(([command]) => !sessionsOnly.has(command))
  const missing = commandsOn(noConversation, noMessage, carol).filter(([command]) => !sessionsOnly.has(command))
  const headers = { authorization: `Bearer ${await server.token('carol')}` }
  for (const [index, [command, args]] of foreign.entries()) {
    const [, missingArgs] = missing[index] as Given
    const answers = [
      await server.call(command, args, undefined, headers),
      await server.call(command, missingArgs, undefined, headers),
      await server.call(command, args, carol),
      await server.call(command, missingArgs, carol),
    ]
    const told = answers.map(({ status, error }) => anonymous({ command, status, error }))
    expect(told).toEqual(Array(4).fill({ command, status: 404, error: expect.objectContaining({ code: 'not_found' }) }))
    expect(new Set(told.map((one) => JSON.stringify(one))).size).toBe(1)
  }
})

test('M5, M6 a message of another conversation is not_found where one names it with one’s own', async () => {
  await using room = await openRoom()
  const other = await room.alice.command('create_conversation', { participants: [carol] })
  const { id: foreign } = await say(room.alice, other.conversation.id, 'not for bob')
  const mark = (message: MessageId) =>
    refusal(room.bob.command('mark_as_last_message_read', { conversation: room.conversation, message }))
  expect((await mark(foreign)).code).toBe('not_found')
  expect(anonymous(await mark(foreign))).toEqual(anonymous(await mark(noMessage)))
})

test('M2 what only admins may do is forbidden to other participants, and changes nothing', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation } = room
  const message = await say(room.alice, conversation, 'hello')
  const before = await room.alice.command('get_conversation', { conversation })
  await room.bob.rest()
  const commands: Given[] = [
    ['update_conversation', { conversation, title: 'Mine' }],
    ['update_conversation', { conversation, metadata: {} }],
    ['delete_conversation', { conversation }],
    ['add_participants', { conversation, participants: ['user/eve'] }],
    ['add_participants', { conversation, participants: [bob] }],
    ['remove_participants', { conversation, participants: [carol] }],
    ['remove_participants', { conversation, participants: [bob, carol] }],
    ['remove_participants', { conversation, participants: ['user/nobody'] }],
    ['add_admins', { conversation, admins: [bob] }],
    ['add_admins', { conversation, admins: ['user/nobody'] }],
    ['remove_admins', { conversation, admins: [alice] }],
    ['delete_message', { message: message.id }],
    ['edit_message', { message: message.id, body: 'mine' }],
  ]
  for (const [command, args] of commands) {
    const code = await codeOf(room.bob.commandOf({ command, args }))
    expect({ command, args, code }).toEqual({ command, args, code: 'forbidden' })
  }
  expect(await room.bob.rest()).toEqual([])
  expect(await room.alice.command('get_conversation', { conversation })).toEqual(before)
})

test('M2 every participant may read, leave and remove himself', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation } = room
  const { id: message } = await say(room.alice, conversation, 'hello')
  const commands: Given[] = [
    ['get_conversation', { conversation }],
    ['get_messages', { conversation }],
    ['get_events', { conversation, after_seq: 0 }],
    ['get_participants', { conversation }],
    ['mark_as_last_message_read', { conversation, message }],
    ['typing', { conversation, event: 'begin' }],
    ['subscribe_typing', { conversation }],
    ['create_message', { conversation, body: 'me too' }],
  ]
  for (const [command, args] of commands) await room.bob.commandOf({ command, args })
  await room.bob.command('remove_participants', { conversation, participants: [bob] })
  await room.guests[1]?.command('leave_conversation', { conversation })
  const { conversation: left } = await room.alice.command('get_conversation', { conversation })
  expect(left.participants).toEqual([alice])
})

test('M2 an admin makes another one, who may do all that the first may, until it is taken from him', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation } = room
  const { conversation: record } = await room.alice.command('add_admins', { conversation, admins: [bob, bob, alice] })
  expect(record).toMatchObject({ admins: [alice, bob], last_seq: 2 })
  const view = await room.bob.command('get_conversation', { conversation })
  expect(view.user_conversation.is_admin).toBe(true)
  const theirs = await say(room.alice, conversation, 'hello')
  await room.bob.command('update_conversation', { conversation, title: 'Ours' })
  expect((await room.bob.command('delete_message', { message: theirs.id })).message.deleted).toBe(true)
  expect(await codeOf(room.bob.command('edit_message', { message: theirs.id, body: 'mine' }))).toBe('forbidden')
  await room.bob.command('remove_participants', { conversation, participants: [carol] })

  await room.bob.command('remove_admins', { conversation, admins: [alice, 'user/nobody'] })
  expect(await codeOf(room.alice.command('update_conversation', { conversation, title: 'Mine' }))).toBe('forbidden')
  // Who has left and is added again comes back as anybody.
  await room.bob.command('add_admins', { conversation, admins: [alice] })
  await room.bob.command('remove_participants', { conversation, participants: [alice] })
  await room.bob.command('add_participants', { conversation, participants: [alice] })
  expect(await codeOf(room.alice.command('update_conversation', { conversation, title: 'Mine' }))).toBe('forbidden')
})

test('M2 a conversation whose last admin has gone has none, and nobody can change it, but write and leave', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation } = room
  const { id: message } = await say(room.alice, conversation, 'hello')
  await room.alice.command('leave_conversation', { conversation })
  const changes: Given[] = [
    ['update_conversation', { conversation, title: 'Ours' }],
    ['add_admins', { conversation, admins: [bob] }],
    ['add_participants', { conversation, participants: [alice] }],
    ['delete_message', { message }],
    ['delete_conversation', { conversation }],
  ]
  for (const [command, args] of changes) {
    expect([command, await codeOf(room.bob.commandOf({ command, args }))]).toEqual([command, 'forbidden'])
  }
  expect((await say(room.bob, conversation, '')).body).toBe('')
  await room.guests[1]?.command('leave_conversation', { conversation })
  const { conversation: left } = await room.bob.command('get_conversation', { conversation })
  expect(left).toMatchObject({ admins: [], participants: [bob] })
})

test('M1, M2 an admin must be a participant', async () => {
  await using room = await openRoom()
  const { conversation } = room
  expect(await codeOf(room.alice.command('add_admins', { conversation, admins: [bob, carol] }))).toBe(
    'invalid_argument',
  )
  const made = room.alice.command('create_conversation', { participants: [bob], admins: [carol] })
  expect(await codeOf(made)).toBe('invalid_argument')
  expect(await room.bob.rest()).toEqual([])
  const { conversations } = await room.alice.command('get_conversations')
  expect(conversations.map((view) => view.conversation.admins)).toEqual([[alice]])
})

test('M1 with --conversations backend users make no conversations and change no participants', async () => {
  await using room = await openRoomOfBackend()
  const { alice: host, conversation, stage } = room
  const forbidden: Given[] = [
    ['create_conversation', { participants: [bob] }],
    ['add_participants', { conversation, participants: [carol] }],
    ['add_participants', { conversation: noConversation, participants: [carol] }],
    ['remove_participants', { conversation, participants: [bob] }],
    ['remove_participants', { conversation, participants: [alice, bob] }],
  ]
  const headers = { authorization: `Bearer ${await stage.server.token('alice')}` }
  for (const [command, args] of forbidden) {
    expect({ command, code: await codeOf(host.commandOf({ command, args })) }).toEqual({ command, code: 'forbidden' })
    const { status, error } = await stage.server.call(command, args, undefined, headers)
    expect({ command, status, code: error.code }).toEqual({ command, status: 403, code: 'forbidden' })
  }
  // All else goes on as ever.
  await host.command('update_conversation', { conversation, title: 'Ours' })
  await host.command('add_admins', { conversation, admins: [bob] })
  await say(room.bob, conversation, 'hello')
  await room.bob.command('remove_participants', { conversation, participants: [bob] })
  await host.command('leave_conversation', { conversation })
})

test('M1, W7 with --conversations backend the API key does it, with the rights of the user that it names', async () => {
  await using room = await openRoomOfBackend()
  const { conversation, stage } = room
  const guest = await stage.connect(carol)
  const args = { conversation, participants: [carol] }
  const as = async (user?: UserId) => {
    const { status, error } = await stage.server.call('add_participants', args, user)
    return error ? [status, error.code] : [status]
  }
  expect(await as(bob)).toEqual([403, 'forbidden'])
  expect(await as(carol)).toEqual([404, 'not_found'])
  expect(await as()).toEqual([400, 'invalid_argument'])
  expect(await as(alice)).toEqual([200])
  expect((await guest.next()).event).toBe('create')
  const { result } = await stage.server.call('remove_participants', args, alice)
  expect(result.conversation).toMatchObject({ participants: [alice, bob] })
  expect((await guest.next()).event).toBe('delete')
})

/** Alice, its admin, and bob are in a conversation that the backend has made. */
async function openRoomOfBackend() {
  const stage = await openStage({ conversations: 'backend' })
  const [host, guest] = [await stage.connect(alice), await stage.connect(bob)]
  const made = await stage.server.call('create_conversation', { participants: [bob] }, alice)
  for (const session of [host, guest]) await session.rest()
  return {
    stage,
    alice: host,
    bob: guest,
    conversation: made.result.conversation.id,
    [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose](),
  }
}
