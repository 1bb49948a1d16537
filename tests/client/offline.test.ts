import { afterEach, expect, test, vi } from 'vitest'
import type { Chat, Message } from '../../src/client/index.ts'
import {
  answered,
  caughtUp,
  cutAndReturn,
  holdTime,
  openChat,
  openSession,
  quiet,
  reached,
  recorder,
} from './open-chat.ts'
import { type ReceivedCommand, ScriptedServer, type ScriptedSession } from './scripted-server.ts'

const cat = 'conversation/cat'
const dog = 'conversation/dog'
const bob = 'user/bob'

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

/** Takes the next command, a create_message with `body`, and gives it. */
async function sent(session: ScriptedSession, body: string): Promise<ReceivedCommand> {
  const command = await session.command('create_message')
  expect(command.args.body).toBe(body)
  return command
}

/** Takes the next command, a create_message with `body`, and replies to it. */
async function stored(session: ScriptedSession, body: string): Promise<void> {
  const { id, args } = await sent(session, body)
  session.reply(id, { message: { body, client_id: args.client_id } })
}

const bodyOf = ({ body }: Message) => body

test('C6 sends made before there is a connection, and while it is lost, wait in order and go out once', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = openChat(server)
  const { chat } = opened
  const early = ['one', 'two'].map((body) => chat.createMessage(cat, body))
  const session = await server.session()
  await session.begin()
  for (const body of ['one', 'two']) await stored(session, body)
  expect((await Promise.all(early)).map(bodyOf)).toEqual(['one', 'two'])
  session.cut()
  await reached(chat, 'waiting')
  const late = ['three', 'four', 'five'].map((body) => chat.createMessage(cat, body))
  chat.sendTypingIndicator(cat, 'begin')
  vi.advanceTimersByTime(500)
  const again = await server.session()
  await again.begin()
  for (const body of ['three', 'four', 'five']) await stored(again, body)
  expect((await Promise.all(late)).map(bodyOf)).toEqual(['three', 'four', 'five'])
  await answered(chat, again)
  expect(again.unread, 'typing from before is dropped').toEqual([])
})

test('C6 a call whose reply was lost goes out again with the same client_id, before those behind it', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const settled = vi.fn()
  const calls = ['one', 'two'].map((body) => chat.createMessage(cat, body))
  const made = chat.createConversation(['user/bob'])
  for (const call of [...calls, made]) call.then(settled, settled)
  const first = await sent(session, 'one')
  const again = await cutAndReturn(server, chat, session)
  expect(settled).not.toHaveBeenCalled()
  await again.begin()
  const second = await sent(again, 'one')
  expect(second.args).toEqual(first.args)
  again.reply(second.id, { message: { body: 'one' } })
  await stored(again, 'two')
  const creation = await again.command('create_conversation')
  again.reply(creation.id, { conversation: { id: dog }, created: true })
  expect((await Promise.all(calls)).map(bodyOf)).toEqual(['one', 'two'])
  expect(await made).toEqual({ conversation: { id: dog }, created: true })
  expect(settled).toHaveBeenCalledTimes(3)
})

test('C6 each send has a client_id of its own; one that the application gave stays', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = [
    chat.createMessage(cat, 'one'),
    chat.createMessage(dog, 'two'),
    chat.editMessage('message/1', 'three'),
    chat.createConversation([]),
    chat.createMessage('conversation/cow', 'four', {}, null, { client_id: 'my own' }),
  ]
  const ids = []
  for (const _ of calls) ids.push((await session.next()).args.client_id)
  expect(ids.at(-1)).toBe('my own')
  expect(new Set(ids).size).toBe(calls.length)
  chat.close()
  await Promise.allSettled(calls)
})

test('C6 of the client_ids that the SDK makes later ones sort later, and each has 96 random bits', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = []
  const ids: string[] = []
  for (const time of ['2026-11-30T23:59:59.999Z', '2026-12-01', '2027-01-01', '2058-12-31'].map(Date.parse)) {
    vi.setSystemTime(time)
    calls.push(chat.createMessage(`conversation/${time}`, 'one'))
    ids.push(String((await session.command('create_message')).args.client_id))
    expect(ids.at(-1)).toMatch(/^[0-9a-z]{8}[0-9a-f]{24}$/)
    expect(Number.parseInt(ids.at(-1)?.slice(0, 8) ?? '', 36)).toBe(time)
  }
  expect([...ids].sort()).toEqual(ids)
  expect(new Set(ids.map((id) => id.slice(8))).size).toBe(ids.length)
  chat.close()
  await Promise.allSettled(calls)
})

test('C6 calls without a client_id that may be repeated go out again as well, in their order', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = [
    chat.getMessages(cat),
    chat.markAsLastMessageRead(cat, 'message/1'),
    chat.deleteMessage('message/1'),
    chat.updateConversation(cat, { title: 'Cats' }),
    chat.addParticipants(dog, ['user/bob']),
    chat.removeAdmins('conversation/cow', ['user/bob']),
    chat.updateUser({ name: 'Alice' }),
  ]
  const before = []
  for (const _ of calls) before.push(await session.next())
  const again = await cutAndReturn(server, chat, session)
  await again.begin()
  const after = []
  for (const _ of calls) after.push(await again.next())
  expect(after).toEqual(before)
  for (const { id } of after) again.reply(id, {})
  await Promise.all(calls)
})

test('C6 rotateUserChannel is not repeated when its reply was lost, but one that waited is sent', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const lost = chat.rotateUserChannel({ revoke: true }).catch((error) => error)
  await session.command('rotate_user_channel')
  session.cut()
  await reached(chat, 'waiting')
  expect(await lost).toMatchObject({
    code: 'unavailable',
    retryable: true,
    message: expect.stringContaining('may or may not have been done'),
  })
  const waiting = chat.rotateUserChannel()
  vi.advanceTimersByTime(500)
  const again = await server.session()
  await again.begin()
  again.reply((await again.command('rotate_user_channel')).id, { user_channel: { name: 'new' } })
  expect(await waiting).toEqual({ name: 'new' })
  await answered(chat, again)
})

test.each([
  ['leave_conversation', 'leaveConversation', { id: cat }],
  ['delete_conversation', 'deleteConversation', { id: cat, deleted: true }],
] as const)('C6 %s that is repeated and finds nothing was done the first time', async (command, call, gone) => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const unknown = chat[call](dog).catch((error) => error)
  session.fail((await session.command(command)).id, 'not_found')
  expect(await unknown).toMatchObject({ code: 'not_found' })
  const lost = chat[call](cat)
  await session.command(command)
  const again = await cutAndReturn(server, chat, session)
  await again.begin()
  again.fail((await again.command(command)).id, 'not_found')
  expect(await lost).toEqual(gone)
})

test('C6 remove_participants that is repeated and finds nothing was done the first time to who removed himself', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const others = chat.removeParticipants(dog, ['user/bob']).catch((error) => error)
  const lost = chat.removeParticipants(cat, ['user/bob', 'user/alice'])
  for (const _call of [others, lost]) await session.command('remove_participants')
  const again = await cutAndReturn(server, chat, session)
  await again.begin()
  for (const _call of [others, lost]) again.fail((await again.command('remove_participants')).id, 'not_found')
  expect(await lost).toEqual({ id: cat })
  expect(await others, 'which may not have been done').toMatchObject({ code: 'not_found' })
})

test('C6 calls made in one turn go out in their order; of those that send in one conversation one at a time', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = [
    chat.getMessages(cat),
    chat.createMessage(cat, 'one'),
    chat.createMessage(dog, 'two'),
    chat.createMessage(cat, 'three'),
    chat.getMessages(cat),
  ]
  session.reply((await session.command('get_messages')).id, { messages: [] })
  const one = await sent(session, 'one')
  await stored(session, 'two')
  await caughtUp(session)
  expect(session.unread).toEqual([])
  session.reply(one.id, { message: {} })
  await stored(session, 'three')
  session.reply((await session.command('get_messages')).id, { messages: [] })
  await Promise.all(calls)
})

test.each([
  [
    'add_participants',
    'remove_participants',
    (chat: Chat) => [chat.addParticipants(cat, [bob]), chat.removeParticipants(cat, [bob])],
  ],
  [
    'edit_message',
    'delete_message',
    (chat: Chat) => [chat.editMessage('message/1', 'no'), chat.deleteMessage('message/1')],
  ],
  [
    'create_message',
    'leave_conversation',
    (chat: Chat) => [chat.createMessage(cat, 'Bye'), chat.leaveConversation(cat)],
  ],
  ['update_user', 'update_user', (chat: Chat) => [chat.updateUser({ name: 'A' }), chat.updateUser({ name: 'B' })]],
] as const)('C6 %s that the server puts off is not overtaken by %s', async (first, second, make) => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = make(chat)
  const one = await session.next()
  session.fail(one.id, 'rate_limited', { retry_after_ms: 500 })
  await caughtUp(session)
  expect(session.unread).toEqual([])
  vi.advanceTimersByTime(500)
  const again = await session.command(first)
  expect(again).toEqual(one)
  session.reply(again.id, {})
  session.reply((await session.command(second)).id, {})
  await Promise.all(calls)
})

test('C6 a send that is rate_limited goes out again when the server says, and all behind it wait', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = ['one', 'two'].map((body) => chat.createMessage(cat, body))
  const refused = await sent(session, 'one')
  session.fail(refused.id, 'rate_limited', { retry_after_ms: 1_234 })
  await caughtUp(session)
  const behind = chat.getUnreadCount()
  vi.advanceTimersByTime(1_233)
  await caughtUp(session)
  expect(session.unread).toEqual([])
  vi.advanceTimersByTime(1)
  const second = await sent(session, 'one')
  expect(second.args).toEqual(refused.args)
  // Without a time it is a second.
  session.fail(second.id, 'rate_limited')
  await caughtUp(session)
  vi.advanceTimersByTime(999)
  await caughtUp(session)
  expect(session.unread).toEqual([])
  vi.advanceTimersByTime(1)
  for (const body of ['one', 'two']) await stored(session, body)
  session.reply((await session.command('get_unread_count')).id, { conversation: 0, message: 0 })
  await Promise.all([...calls, behind])
})

test('C6 100 calls are on their way at first, and one more for each that is done', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = Array.from({ length: 110 }, () => chat.getUnreadCount())
  const nothing = { conversation: 0, message: 0 }
  const ids: (number | undefined)[] = []
  for (const _ of Array(100)) ids.push((await session.command('get_unread_count')).id)
  await caughtUp(session)
  expect(session.unread).toEqual([])
  session.reply(ids.shift(), nothing)
  for (const _ of Array(2)) ids.push((await session.command('get_unread_count')).id)
  await caughtUp(session)
  expect(session.unread).toEqual([])
  for (const id of ids.splice(0)) session.reply(id, nothing)
  for (const _ of Array(8)) session.reply((await session.command('get_unread_count')).id, nothing)
  await Promise.all(calls)
})

test('C6 after rate_limited calls go out one at a time, and with each that is done one more', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server, { queueLimit: 10 })
  const { chat, session } = opened
  const calls = Array.from({ length: 8 }, () => chat.getUnreadCount())
  const nothing = { conversation: 0, message: 0 }
  for (const _ of calls)
    session.fail((await session.command('get_unread_count')).id, 'rate_limited', { retry_after_ms: 20 })
  await caughtUp(session)
  vi.advanceTimersByTime(20)
  for (const count of [1, 2, 4]) {
    const sent = []
    for (let index = 0; index < count; index++) sent.push((await session.command('get_unread_count')).id)
    await caughtUp(session)
    expect([count, session.unread]).toEqual([count, []])
    for (const id of sent) session.reply(id, nothing)
  }
  session.reply((await session.command('get_unread_count')).id, nothing)
  expect(await Promise.all(calls)).toEqual(Array(8).fill(nothing))
})

test('C6 of several who ask to be left alone the longest counts, also into the next session', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = ([cat, dog, 'conversation/cow'] as const).map((conversation) => chat.createMessage(conversation, 'hi'))
  for (const retry_after_ms of [700, 3_000, 800]) {
    session.fail((await session.command('create_message')).id, 'rate_limited', { retry_after_ms })
  }
  await caughtUp(session)
  const again = await cutAndReturn(server, chat, session)
  await again.begin()
  await reached(chat, 'connected')
  vi.advanceTimersByTime(2_499)
  await caughtUp(again)
  expect(again.unread).toEqual([])
  vi.advanceTimersByTime(1)
  for (const _ of calls) await stored(again, 'hi')
  await Promise.all(calls)
})

test('C6 being put off by rate_limited leaves a call its five times more after unavailable', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = openChat(server)
  const { chat } = opened
  const session = await server.session()
  await session.begin({ settings: quiet })
  await reached(chat, 'connected')
  const call = chat.createMessage(cat, 'one').catch((error) => error)
  for (const code of [...Array(7).fill('rate_limited'), ...Array(5).fill('unavailable')]) {
    session.fail((await sent(session, 'one')).id, code, { retry_after_ms: 500 })
    await caughtUp(session)
    vi.advanceTimersByTime(500)
  }
  session.fail((await sent(session, 'one')).id, 'unavailable')
  expect(await call).toMatchObject({ code: 'unavailable' })
})

test('C6 a call that is answered unavailable goes out five times more with growing delays, then rejects', async () => {
  await using server = await ScriptedServer.start()
  holdTime(1)
  using opened = openChat(server)
  const { chat } = opened
  const session = await server.session()
  await session.begin({ settings: quiet })
  await reached(chat, 'connected')
  const first = chat.createMessage(cat, 'one').catch((error) => error)
  const second = chat.createMessage(cat, 'two')
  for (const delay of [2_000, 4_000, 8_000, 16_000, 20_000]) {
    session.fail((await sent(session, 'one')).id, 'unavailable')
    await caughtUp(session)
    vi.advanceTimersByTime(delay - 1)
    await caughtUp(session)
    expect(session.unread).toEqual([])
    vi.advanceTimersByTime(1)
  }
  session.fail((await sent(session, 'one')).id, 'unavailable')
  expect(await first).toMatchObject({ code: 'unavailable' })
  await stored(session, 'two')
  expect(bodyOf(await second)).toBe('two')
})

test.each(['internal', 'not_found', 'conflict', 'forbidden'])(
  'C6 a send that is answered %s rejects at once',
  async (code) => {
    await using server = await ScriptedServer.start()
    using opened = await openSession(server)
    const { chat, session } = opened
    const call = chat.createMessage(cat, 'one').catch((error) => error)
    session.fail((await sent(session, 'one')).id, code)
    expect(await call).toMatchObject({ name: 'FanfareError', code })
    await answered(chat, session)
  },
)

test('C6 1,000 calls may wait, and the next one is rate_limited at once', async () => {
  await using server = await ScriptedServer.start()
  using opened = openChat(server)
  const { chat } = opened
  const calls = Array.from({ length: 1_000 }, () => chat.getUnreadCount())
  await expect(chat.getUnreadCount()).rejects.toMatchObject({
    code: 'rate_limited',
    retryable: true,
    details: { queue_limit: 1_000 },
  })
  chat.close()
  await Promise.allSettled(calls)
})

test('C6 the queue limit is an option; a call that settles makes room, and the SDK itself needs none', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server, { queueLimit: 2 })
  const { chat, session } = opened
  const calls = [chat.getUsers([]), chat.getUsers([])]
  await expect(chat.getUsers([])).rejects.toMatchObject({ code: 'rate_limited' })
  const first = await session.command('get_users')
  await session.command('get_users')
  await caughtUp(session)
  session.reply(first.id, { users: [] })
  await calls[0]
  await answered(chat, session)
  chat.close()
  await calls[1]?.catch(() => {})
})

test('C6 what the SDK itself waits for takes no room from the calls of the application', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server, { queueLimit: 1 })
  const { chat, session } = opened
  for (const conversation of ['conversation/cat', 'conversation/dog'] as const) {
    chat.subscribeTypingIndicator(conversation, () => {})
    await session.command('subscribe_typing')
  }
  const call = chat.getUsers([])
  session.reply((await session.command('get_users')).id, { users: [] })
  expect(await call).toEqual([])
  await answered(chat, session)
})

test('C6 an aborted call is not sent if it still waits, and not again if its reply was lost', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const [lost, behind] = [new AbortController(), new AbortController()]
  const first = chat.createMessage(cat, 'one', {}, null, { signal: lost.signal }).catch((reason) => reason)
  const second = chat.createMessage(cat, 'two', {}, null, { signal: behind.signal }).catch((reason) => reason)
  const third = chat.createMessage(cat, 'three')
  await sent(session, 'one')
  behind.abort('not that')
  session.cut()
  await reached(chat, 'waiting')
  lost.abort('nor that')
  vi.advanceTimersByTime(500)
  const again = await server.session()
  await again.begin()
  await stored(again, 'three')
  await third
  expect([await first, await second]).toEqual(['nor that', 'not that'])
  await answered(chat, again)
})

test('C6 when the send that is on its way is aborted, or too large, the next one of its conversation goes out', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const abort = new AbortController()
  const first = chat.createMessage(cat, 'one', {}, null, { signal: abort.signal }).catch((reason) => reason)
  const large = chat.createMessage(cat, 'x'.repeat(70_000)).catch((error) => error)
  const third = chat.createMessage(cat, 'three')
  const { id } = await sent(session, 'one')
  abort.abort('enough')
  const { id: thirdId } = await sent(session, 'three')
  // A reply to what nobody waits for any more is passed over.
  session.reply(id, { message: { body: 'one' } })
  session.reply(thirdId, { message: { body: 'three' } })
  expect(await first).toBe('enough')
  expect(await large).toMatchObject({ code: 'too_large' })
  expect(bodyOf(await third)).toBe('three')
})

test('C6 close rejects what waits and what is on its way, and lets no timer stand', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = ['one', 'two'].map((body) => chat.createMessage(cat, body))
  session.fail((await sent(session, 'one')).id, 'rate_limited', { retry_after_ms: 60_000 })
  await caughtUp(session)
  session.cut()
  await reached(chat, 'waiting')
  chat.close()
  for (const result of await Promise.allSettled(calls)) {
    expect(result).toMatchObject({ status: 'rejected', reason: { code: 'unavailable' } })
  }
  expect(vi.getTimerCount()).toBe(0)
})

test('T4 what begins and ends the watching of one conversation is done in its order, each until the server has', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const stop = chat.subscribeTypingIndicator(cat, () => {})
  session.fail((await session.command('subscribe_typing')).id, 'rate_limited', { retry_after_ms: 100 })
  await caughtUp(session)
  stop()
  const typing = recorder<object>()
  chat.subscribeTypingIndicator(cat, typing.callback)
  await caughtUp(session)
  expect(session.unread).toEqual([])
  vi.advanceTimersByTime(100)
  session.reply((await session.command('subscribe_typing')).id, { typing: {} })
  const end = await session.command('unsubscribe_typing')
  expect(end.args).toEqual({ conversation: cat })
  await caughtUp(session)
  expect(session.unread).toEqual([])
  session.fail(end.id, 'rate_limited', { retry_after_ms: 100 })
  await caughtUp(session)
  vi.advanceTimersByTime(100)
  const again = await session.command('unsubscribe_typing')
  expect(again).toEqual(end)
  session.reply(again.id, {})
  session.reply((await session.command('subscribe_typing')).id, { typing: {} })
  expect(await typing.next()).toEqual({})
})

test('T4 the end of watching waits for no other call of its conversation, and goes with its session', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const stop = chat.subscribeTypingIndicator(cat, () => {})
  session.reply((await session.command('subscribe_typing')).id, { typing: {} })
  const call = chat.createMessage(cat, 'one')
  const { id } = await sent(session, 'one')
  stop()
  await session.command('unsubscribe_typing')
  session.reply(id, { message: {} })
  await call
  const again = await cutAndReturn(server, chat, session)
  await again.begin()
  await answered(chat, again)
  expect(again.unread).toEqual([])
})

test('C6, T4 who watches many conversations waits no longer for his calls, also where they come too fast', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const watched = Array.from({ length: 20 }, (_, n) => `conversation/${n}` as const)
  for (const conversation of watched) chat.subscribeTypingIndicator(conversation, () => {})
  const first = chat.getUnreadCount()
  for (const _ of Array(8)) {
    session.fail((await session.command('subscribe_typing')).id, 'rate_limited', { retry_after_ms: 100 })
  }
  session.reply((await session.command('get_unread_count')).id, {})
  await first
  const second = chat.getUnreadCount()
  await caughtUp(session)
  vi.advanceTimersByTime(100)
  // What was put off goes before it, and nothing that is asked for since.
  const order: string[] = []
  for (let n = 0; n < 9; n++) {
    const { id, command } = await session.next()
    order.push(command)
    session.reply(id, { typing: {} })
  }
  expect(order).toEqual([...Array(8).fill('subscribe_typing'), 'get_unread_count'])
  await second
})
