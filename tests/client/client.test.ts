import { afterEach, expect, test, vi } from 'vitest'
import type { Chat, RecordEvent } from '../../src/client/index.ts'
import { openChat, openSession, reached, recorder } from './open-chat.ts'
import { ScriptedServer } from './scripted-server.ts'

const cat = 'conversation/cat'
const dog = { id: 'conversation/dog' } as const
const message = { id: 'message/1' } as const
/** A `client_id` that the SDK made: 128 random bits. */
const made = expect.stringMatching(/^[0-9a-z]{8}[0-9a-f]{24}$/)

afterEach(() => {
  vi.unstubAllGlobals()
})

/** A push of the creation of message number `seq`. */
function event(seq: number, originalRecord: object | null = null) {
  const data = {
    record_type: 'message',
    event_type: 'create',
    record: { id: `message/${seq}`, body: `body ${seq}` },
    original_record: originalRecord,
  }
  return { event: 'create', data, conversation: cat, seq, cursor: `c${seq}` }
}

test('C1 subscribe gets what the contract says of each event, and nothing else', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const events = recorder<RecordEvent>()
  opened.chat.subscribe(events.callback)
  opened.session.send(event(1))
  opened.session.send(event(2, { id: 'message/2' }))
  expect(await events.next()).toStrictEqual(event(1).data)
  expect(await events.next()).toStrictEqual(event(2, { id: 'message/2' }).data)
})

test('C1 several callbacks get each event, until they are unsubscribed one by one or all at once', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const all = recorder<RecordEvent>()
  const [first, second, third] = [vi.fn(), vi.fn(), vi.fn()]
  const stopFirst = chat.subscribe(first)
  chat.subscribe(second)
  chat.subscribe(second)
  chat.subscribe(third)
  chat.subscribe(all.callback)
  session.send(event(1))
  await all.next()
  stopFirst()
  stopFirst()
  chat.unsubscribe(second)
  session.send(event(2))
  await all.next()
  expect([first, second, third].map((callback) => callback.mock.calls.length)).toEqual([1, 1, 2])
  chat.unsubscribe()
  const last = recorder<RecordEvent>()
  chat.subscribe(last.callback)
  session.send(event(3))
  await last.next()
  expect(third).toHaveBeenCalledTimes(2)
  expect(all.got).toHaveLength(2)
})

test('C1 a callback that throws hurts neither the others nor the connection, and its error is reported', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const report = vi.fn()
  vi.stubGlobal('reportError', report)
  const error = new Error('a fault of the application')
  const events = recorder<RecordEvent>()
  chat.subscribe(() => {
    throw error
  })
  chat.subscribe(events.callback)
  session.send(event(1))
  session.send(event(2))
  await events.next()
  await events.next()
  expect(report.mock.calls).toEqual([[error], [error]])
  expect(chat.state.status).toBe('connected')
})

test('C1 where there is no reportError, a callback that throws is an uncaught error', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  vi.stubGlobal('reportError', undefined)
  const microtask = Promise.withResolvers<() => void>()
  const error = new Error('a fault of the application')
  opened.chat.subscribe(() => {
    vi.stubGlobal('queueMicrotask', microtask.resolve)
    throw error
  })
  opened.session.send(event(1))
  expect(await microtask.promise).toThrow(error)
})

test('C1 a callback that is removed by another one is not called any more, one that is added not yet', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const [removed, added] = [vi.fn(), vi.fn()]
  const events = recorder<RecordEvent>()
  chat.subscribe(() => {
    chat.unsubscribe(removed)
    chat.subscribe(added)
  })
  chat.subscribe(removed)
  chat.subscribe(events.callback)
  session.send(event(1))
  await events.next()
  expect([removed.mock.calls.length, added.mock.calls.length]).toEqual([0, 0])
})

test('C1 onState tells each change until it is stopped, and state is the same object until then', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat } = opened
  const states = vi.fn()
  const stopped = vi.fn()
  chat.onState(states)
  chat.onState(stopped)()
  expect(chat.state).toBe(chat.state)
  chat.close()
  expect(states.mock.calls).toEqual([[chat.state]])
  expect(stopped).not.toHaveBeenCalled()
})

test('C7 when a callback closes the chat, what the others are told last is what the state is', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const states = vi.fn()
  chat.onState(() => chat.close())
  chat.onState(states)
  session.cut()
  await reached(chat, 'closed')
  expect(states.mock.calls).toEqual([[chat.state]])
})

test('C1 sendTypingIndicator sends typing without an id, for a record or its id', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  chat.sendTypingIndicator(cat, 'begin')
  chat.sendTypingIndicator(dog, 'finished')
  const typing = [await session.command('typing'), await session.command('typing')]
  expect(typing).toStrictEqual([
    { command: 'typing', args: { conversation: cat, event: 'begin' } },
    { command: 'typing', args: { conversation: dog.id, event: 'finished' } },
  ])
})

test('C1 subscribeTypingIndicator gets the set of its conversation until it is unsubscribed', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const begin = { event: 'begin', at: '2016-11-16T18:44:00.000Z' }
  const sets = recorder<object>()
  const stop = chat.subscribeTypingIndicator(dog, sets.callback)
  const { id, args } = await session.command('subscribe_typing')
  expect(args).toEqual({ conversation: dog.id })
  session.reply(id, { typing: { 'user/bob': begin } })
  expect(await sets.next()).toStrictEqual({ 'user/bob': begin })
  session.send({ event: 'typing', data: { [cat]: { 'user/x': begin }, [dog.id]: {} } })
  expect(await sets.next()).toStrictEqual({})
  stop()
  const end = await session.command('unsubscribe_typing')
  expect(end.args).toEqual({ conversation: dog.id })
  session.reply(end.id, {})
  chat.subscribeTypingIndicator(dog, sets.callback)
  session.reply((await session.command('subscribe_typing')).id, { typing: {} })
  chat.unsubscribeTypingIndicator(dog)
  await session.command('unsubscribe_typing')
})

/** An `<input>` as far as the SDK knows one. */
class Input extends EventTarget {
  value = ''
  readonly textContent = ''

  write(text: string): void {
    this.value = text
    this.dispatchEvent(new Event('input'))
  }
}

test('C2 createMessage makes typing finished for the bound inputs of its conversation only, before the message', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const [catInput, dogInput] = [new Input(), new Input()]
  chat.bindTypingIndicator({ id: cat }, catInput)
  chat.bindTypingIndicator(dog, dogInput)
  catInput.write('hello')
  dogInput.write('woof')
  const call = chat.createMessage(cat, 'hello')
  const commands = []
  for (const name of ['typing', 'typing', 'typing', 'create_message']) commands.push((await session.command(name)).args)
  expect(commands).toEqual([
    { conversation: cat, event: 'begin' },
    { conversation: dog.id, event: 'begin' },
    { conversation: cat, event: 'finished' },
    { conversation: cat, body: 'hello', client_id: made },
  ])
  chat.close()
  await call.catch(() => {})
})

test('C2 the interval of begin is the one that the server sets', async () => {
  await using server = await ScriptedServer.start()
  using opened = openChat(server)
  const { chat } = opened
  const session = await server.session()
  const settings = { typing_interval_ms: 0, typing_expiry_ms: 5_000, ping_interval_ms: 0, max_frame_bytes: 0 }
  const input = new Input()
  const unbind = chat.bindTypingIndicator(cat, input)
  await session.begin({ settings })
  await reached(chat, 'connected')
  for (const text of ['h', 'he', 'hel']) input.write(text)
  unbind()
  unbind()
  input.write('hell')
  const call = chat.createMessage(cat, 'hello').catch(() => {})
  for (const event of ['begin', 'begin', 'begin', 'finished']) {
    expect((await session.command('typing')).args.event).toBe(event)
  }
  await session.command('create_message')
  chat.close()
  await call
})

test('C2 close ends the bindings: finished is sent, and then nothing', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const input = new Input()
  chat.bindTypingIndicator(cat, input)
  input.write('h')
  chat.close()
  input.write('hi')
  await session.closed
  expect(session.unread.map(({ args }) => args.event)).toEqual(['begin', 'finished'])
})

const signal = new AbortController().signal

/** Each call: what is called, the command and arguments that it sends, the result that the server gives, and what the call gives. */
const calls: [(chat: Chat) => Promise<unknown>, string, object, object, unknown][] = [
  [
    (chat) => chat.createConversation(['user/bob', { id: 'user/cy' }]),
    'create_conversation',
    { participants: ['user/bob', 'user/cy'], client_id: made },
    { conversation: dog, created: true },
    { conversation: dog, created: true },
  ],
  [
    (chat) =>
      chat.createConversation(
        ['user/bob'],
        'Title',
        { a: 1 },
        {
          admins: [{ id: 'user/bob' }],
          distinct_by_participants: true,
          client_id: 'c',
          signal,
        },
      ),
    'create_conversation',
    {
      participants: ['user/bob'],
      title: 'Title',
      metadata: { a: 1 },
      admins: ['user/bob'],
      distinct_by_participants: true,
      client_id: 'c',
    },
    { conversation: dog, created: false },
    { conversation: dog, created: false },
  ],
  [
    (chat) => chat.createDirectConversation('user/bob', null, { a: 1 }, { client_id: 'c', signal }),
    'create_conversation',
    { participants: ['user/bob'], title: null, metadata: { a: 1 }, distinct_by_participants: true, client_id: 'c' },
    { conversation: dog, created: true },
    { conversation: dog, created: true },
  ],
  [
    (chat) => chat.getConversation(dog, { signal }),
    'get_conversation',
    { conversation: dog.id },
    { conversation: dog, user_conversation: {}, last_message: null },
    { conversation: dog, user_conversation: {}, last_message: null },
  ],
  [(chat) => chat.getConversations(), 'get_conversations', {}, { conversations: [1] }, [1]],
  [
    (chat) => chat.getConversations({ limit: 5, before: dog }, { signal }),
    'get_conversations',
    { limit: 5, before: dog.id },
    { conversations: [] },
    [],
  ],
  [
    (chat) => chat.getConversations({ before: '2026-01-01T00:00:00.000Z' }),
    'get_conversations',
    { before: '2026-01-01T00:00:00.000Z' },
    { conversations: [] },
    [],
  ],
  [
    (chat) => chat.updateConversation(dog, { title: 'New' }, { signal }),
    'update_conversation',
    { conversation: dog.id, title: 'New' },
    { conversation: dog },
    dog,
  ],
  [(chat) => chat.leaveConversation(dog), 'leave_conversation', { conversation: dog.id }, { conversation: dog }, dog],
  [
    (chat) => chat.deleteConversation(cat, { signal }),
    'delete_conversation',
    { conversation: cat },
    { conversation: { id: cat, deleted: true } },
    { id: cat, deleted: true },
  ],
  [
    (chat) => chat.addParticipants(dog, ['user/bob', { id: 'user/cy' }], { signal }),
    'add_participants',
    { conversation: dog.id, participants: ['user/bob', 'user/cy'] },
    { conversation: dog },
    dog,
  ],
  [
    (chat) => chat.removeParticipants(dog, ['user/bob'], { signal }),
    'remove_participants',
    { conversation: dog.id, participants: ['user/bob'] },
    { conversation: dog },
    dog,
  ],
  [
    (chat) => chat.addAdmins(dog, [{ id: 'user/bob' }], { signal }),
    'add_admins',
    { conversation: dog.id, admins: ['user/bob'] },
    { conversation: dog },
    dog,
  ],
  [
    (chat) => chat.removeAdmins(dog, ['user/bob'], { signal }),
    'remove_admins',
    { conversation: dog.id, admins: ['user/bob'] },
    { conversation: dog },
    dog,
  ],
  [
    (chat) => chat.getParticipants(dog),
    'get_participants',
    { conversation: dog.id },
    { participants: ['user/bob'], admins: [] },
    { participants: ['user/bob'], admins: [] },
  ],
  [
    (chat) => chat.getParticipants(dog, { limit: 2, after: { id: 'user/bob' } }, { signal }),
    'get_participants',
    { conversation: dog.id, limit: 2, after: 'user/bob' },
    { participants: [], admins: [] },
    { participants: [], admins: [] },
  ],
  [
    (chat) => chat.createMessage(dog, 'hi'),
    'create_message',
    { conversation: dog.id, body: 'hi', client_id: made },
    { message },
    message,
  ],
  [
    (chat) => chat.createMessage(dog, '', { a: 1 }, { url: 'u' }, { client_id: 'c', signal }),
    'create_message',
    { conversation: dog.id, body: '', metadata: { a: 1 }, attachment: { url: 'u' }, client_id: 'c' },
    { message },
    message,
  ],
  [
    (chat) => chat.editMessage(message, 'better', { client_id: 'c', signal }),
    'edit_message',
    { message: message.id, body: 'better', client_id: 'c' },
    { message },
    message,
  ],
  [
    (chat) => chat.editMessage('message/2', { metadata: {}, attachment: null, revision: 3 }),
    'edit_message',
    { message: 'message/2', metadata: {}, attachment: null, revision: 3, client_id: made },
    { message },
    message,
  ],
  [(chat) => chat.deleteMessage(message, { signal }), 'delete_message', { message: message.id }, { message }, message],
  [(chat) => chat.getMessages(dog), 'get_messages', { conversation: dog.id }, { messages: [message] }, [message]],
  [
    (chat) => chat.getMessages(cat, { limit: 9, before_seq: 40, before_time: 't' }, { signal }),
    'get_messages',
    { conversation: cat, limit: 9, before_seq: 40, before_time: 't' },
    { messages: [] },
    [],
  ],
  [
    (chat) => chat.getEvents(dog, { after_seq: 7, limit: 2 }, { signal }),
    'get_events',
    { conversation: dog.id, after_seq: 7, limit: 2 },
    { events: [1] },
    [1],
  ],
  [
    (chat) => chat.markAsLastMessageRead(dog, message, { signal }),
    'mark_as_last_message_read',
    { conversation: dog.id, message: message.id },
    { user_conversation: { unread_count: 0 } },
    { unread_count: 0 },
  ],
  [
    (chat) => chat.getUnreadCount({ signal }),
    'get_unread_count',
    {},
    { conversation: 3, message: 23 },
    { conversation: 3, message: 23 },
  ],
  [
    (chat) => chat.updateUser({ name: 'Alice', avatar_url: null }, { signal }),
    'update_user',
    { name: 'Alice', avatar_url: null },
    { user: { id: 'user/alice' } },
    { id: 'user/alice' },
  ],
  [
    (chat) => chat.getUsers(['user/bob', { id: 'user/cy' }], { signal }),
    'get_users',
    { users: ['user/bob', 'user/cy'] },
    { users: [] },
    [],
  ],
  [
    (chat) => chat.getUserChannel({ signal }),
    'get_user_channel',
    {},
    { user_channel: { name: 'secret' } },
    { name: 'secret' },
  ],
  [(chat) => chat.rotateUserChannel(), 'rotate_user_channel', {}, { user_channel: { name: 'new' } }, { name: 'new' }],
  [
    (chat) => chat.rotateUserChannel({ revoke: true }, { signal }),
    'rotate_user_channel',
    { revoke: true },
    { user_channel: { name: 'new' } },
    { name: 'new' },
  ],
]

test('C3 each call sends its command with its arguments, and gives what the reply holds', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  for (const [call, name, args, result, expected] of calls) {
    const promise = call(opened.chat)
    const command = await opened.session.command(name)
    expect(command.args, String(call)).toStrictEqual(args)
    opened.session.reply(command.id, result)
    expect(await promise, String(call)).toStrictEqual(expected)
  }
})

test('C3 every call is in the list above', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const notCalls = new Set(['constructor', 'close', 'subscribe', 'unsubscribe'])
  const names = Object.entries(Object.getOwnPropertyDescriptors(Object.getPrototypeOf(opened.chat)))
    .filter(([name, { value }]) => value && !notCalls.has(name) && !/^on[A-Z]|TypingIndicator$/.test(name))
    .map(([name]) => name)
  const listed = calls.map(([call]) => /chat\s*\.(\w+)/.exec(String(call))?.[1])
  expect(new Set(listed)).toEqual(new Set(names))
})

test('C3 what is no record and no id is left for the server to refuse', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const call = opened.chat.createMessage(undefined as never, 'hi')
  const { id, args } = await opened.session.command('create_message')
  expect(args).toEqual({ body: 'hi', client_id: made })
  opened.session.fail(id, 'invalid_argument')
  await expect(call).rejects.toMatchObject({ code: 'invalid_argument' })
})
