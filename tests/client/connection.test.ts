import { getEventListeners } from 'node:events'
import { afterEach, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import type { ConnectionState } from '../../src/client/connection.ts'
import { createChat, FanfareError, type UserId } from '../../src/client/index.ts'
import { answered, caughtUp, holdTime, openChat, openSession, quiet, reached, recorder } from './open-chat.ts'
import { ScriptedServer } from './scripted-server.ts'

const cat = 'conversation/cat'

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

test('S1 the first command is connect, with the token in its frame and nowhere else', async () => {
  await using server = await ScriptedServer.start()
  const urls: string[] = []
  class Watched extends WebSocket {
    constructor(url: string) {
      super(url)
      urls.push(url)
    }
  }
  using opened = openChat(server, { WebSocket: Watched })
  const session = await server.session()
  expect(await session.begin()).toEqual({ token: 'token-1' })
  await reached(opened.chat, 'connected')
  expect(opened.chat.user).toBe('user/alice')
  expect(urls).toEqual([`${server.url.replace('http', 'ws')}/v2/socket`])
})

test.each([
  ['http://h:1', 'ws://h:1/v2/socket'],
  ['https://h/', 'wss://h/v2/socket'],
  ['ws://h:1', 'ws://h:1/v2/socket'],
  ['wss://h/chat', 'wss://h/chat/v2/socket'],
])('C1 the url may be %s', async (url, expected) => {
  const asked = Promise.withResolvers<string>()
  class Watched extends WebSocket {
    constructor(url: string) {
      asked.resolve(url)
      super('ws://127.0.0.1:1')
    }
  }
  using _opened = openChat({ url }, { WebSocket: Watched })
  expect(await asked.promise).toBe(expected)
})

test("C8 the platform's own WebSocket serves where none is given", async () => {
  await using server = await ScriptedServer.start()
  using opened = openChat(server, { WebSocket: undefined })
  const { chat } = opened
  const session = await server.session()
  await session.begin()
  await reached(chat, 'connected')
  session.close(4400, 'enough')
  expect((await reached(chat, 'closed')).error?.message).toContain('4400 enough')

  const { url } = server
  await server[Symbol.asyncDispose]()
  using unreachable = openChat({ url }, { WebSocket: undefined })
  expect((await reached(unreachable.chat, 'waiting')).error).toMatchObject({ code: 'unavailable' })
})

test('C1 createChat says at once what is wrong with its options', () => {
  expect(() => createChat({ url: 'h:1', token: 't' })).toThrow(/url must begin with http/)
  vi.stubGlobal('WebSocket', undefined)
  expect(() => createChat({ url: 'http://h', token: 't' })).toThrow(/There is no WebSocket here/)
})

test('C1 an address that no socket can be opened to closes the chat with the reason', async () => {
  using opened = openChat({ url: 'http://not a host' })
  const { error } = await reached(opened.chat, 'closed')
  expect(error).toMatchObject({ code: 'invalid_argument', message: expect.stringContaining('not a host') })
})

test('W3 replies find their calls by id, in whatever order they come', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const calls = [chat.getUnreadCount(), chat.getUsers(['user/bob'])]
  const [first, second] = [await session.command('get_unread_count'), await session.command('get_users')]
  session.reply(second.id, { users: [] })
  session.reply(first.id, { conversation: 1, message: 2 })
  expect(await Promise.all(calls)).toEqual([{ conversation: 1, message: 2 }, []])
})

test('W3 an error reply rejects with a FanfareError that has its code, whether to retry, and its details', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const call = chat.getConversation(cat)
  session.fail((await session.command('get_conversation')).id, 'too_large', { max: 3 })
  const error = await call.catch((error) => error)
  expect(error).toBeInstanceOf(FanfareError)
  expect(error).toMatchObject({ code: 'too_large', message: 'no: too_large', retryable: false, details: { max: 3 } })
})

test('W3 an error code of a newer server is internal', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const call = opened.chat.getUnreadCount()
  opened.session.fail((await opened.session.command('get_unread_count')).id, 'out_of_tea')
  await expect(call).rejects.toMatchObject({ code: 'internal', message: 'no: out_of_tea' })
})

test('W4 frames of a kind that this SDK does not know are passed over', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const events = recorder()
  chat.subscribe(events.callback)
  session.send({ weather: 'fine' })
  session.send({ id: 4711, result: {} })
  const call = chat.getUnreadCount()
  session.reply((await session.command('get_unread_count')).id, { conversation: 0, message: 0 })
  await call
  expect(events.got).toEqual([])
})

test('L1 a command larger than the server takes is refused here, and the session lives on', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  // Half as many characters as bytes: it is bytes that count.
  await expect(chat.createMessage(cat, 'ä'.repeat(33_000))).rejects.toMatchObject({
    code: 'too_large',
    retryable: false,
  })
  chat.createMessage(cat, 'a'.repeat(33_000)).catch(() => {})
  await session.command('create_message')
  expect(server.count).toBe(1)
})

test('C6 a command that has no form in JSON is refused here with a typed error, and the session lives on', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const circle: { [key: string]: object } = {}
  circle.itself = circle
  for (const metadata of [circle, { big: 1n }]) {
    const refused = await chat.createMessage(cat, 'Hello', metadata as never).catch((error) => error)
    expect(refused).toBeInstanceOf(FanfareError)
    expect(refused).toMatchObject({ code: 'invalid_argument', cause: expect.any(TypeError) })
  }
  await answered(chat, session)
})

test('C3 calls made before there is a connection are sent in order once there is', async () => {
  await using server = await ScriptedServer.start()
  using opened = openChat(server)
  const { chat } = opened
  const calls = ['one', 'two', 'three'].map((body) => chat.createMessage(cat, body))
  const session = await server.session()
  chat.sendTypingIndicator(cat, 'begin')
  await session.begin()
  for (const body of ['one', 'two', 'three']) {
    const { id, args } = await session.command('create_message')
    expect(args.body).toBe(body)
    session.reply(id, { message: { body } })
  }
  expect(await Promise.all(calls)).toEqual([{ body: 'one' }, { body: 'two' }, { body: 'three' }])
  expect(session.unread, 'typing does not wait').toEqual([])
})

test('C3 an aborted call rejects with the reason of its signal, and one that waits is never sent', async () => {
  await using server = await ScriptedServer.start()
  using opened = openChat(server)
  const { chat } = opened
  const [waiting, flying] = [new AbortController(), new AbortController()]
  await expect(chat.getUnreadCount({ signal: AbortSignal.abort('too late') })).rejects.toBe('too late')
  const unsent = chat.getConversations({}, { signal: waiting.signal })
  waiting.abort('changed my mind')
  await expect(unsent).rejects.toBe('changed my mind')
  const sent = chat.getUnreadCount({ signal: flying.signal })
  const session = await server.session()
  await session.begin()
  const { id } = await session.command('get_unread_count')
  flying.abort('no more')
  await expect(sent).rejects.toBe('no more')
  session.reply(id, { conversation: 0, message: 0 })
})

test('C3 a signal that outlives its calls keeps nothing of them', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { signal } = new AbortController()
  const calls = [opened.chat.getUnreadCount({ signal }), opened.chat.getUsers([], { signal })]
  expect(getEventListeners(signal, 'abort')).toHaveLength(2)
  opened.session.reply((await opened.session.command('get_unread_count')).id, {})
  opened.session.fail((await opened.session.command('get_users')).id, 'internal')
  await Promise.allSettled(calls)
  expect(getEventListeners(signal, 'abort')).toEqual([])
})

test('C5 a token function is asked once for the first session and not for the next after a break', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const token = vi.fn(async () => 'token-a')
  using opened = await openSession(server, { token })
  opened.session.cut()
  await reached(opened.chat, 'waiting')
  vi.advanceTimersByTime(500)
  const again = await server.session()
  expect(await again.begin()).toMatchObject({ token: 'token-a' })
  await reached(opened.chat, 'connected')
  expect(token).toHaveBeenCalledTimes(1)
})

test.each([
  ['unauthorized', 4401],
  ['token_revoked', 4403],
])('C5 when connect says %s, a new token is asked for and tried at once', async (code, closeCode) => {
  await using server = await ScriptedServer.start()
  holdTime()
  const tokens = ['token-a', 'token-b']
  const token = vi.fn(() => tokens.shift() ?? null)
  using opened = await openSession(server, { token })
  opened.session.cut()
  await reached(opened.chat, 'waiting')
  vi.advanceTimersByTime(500)
  expect(await (await server.session()).refuse(code, closeCode)).toMatchObject({ token: 'token-a' })
  const { error } = await reached(opened.chat, 'waiting')
  expect(error).toMatchObject({ code })
  vi.advanceTimersByTime(0)
  expect(await (await server.session()).begin()).toMatchObject({ token: 'token-b' })
  expect(await reached(opened.chat, 'connected')).toEqual({ status: 'connected', retryAt: null, error: null })
  expect(token).toHaveBeenCalledTimes(2)
})

test.each([4401, 4403])('C5 when a session is closed with %i, a new token is asked for after a delay', async (code) => {
  await using server = await ScriptedServer.start()
  holdTime()
  const tokens = ['token-a', 'token-b']
  const token = vi.fn(() => tokens.shift() ?? null)
  using opened = await openSession(server, { token })
  opened.session.close(code)
  await reached(opened.chat, 'waiting')
  vi.advanceTimersByTime(499)
  expect(token).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(1)
  expect(await (await server.session()).begin()).toMatchObject({ token: 'token-b' })
})

test('C5 a function whose new token is refused is not asked again: the chat closes', async () => {
  await using server = await ScriptedServer.start()
  const token = vi.fn(() => 'never good')
  using opened = openChat(server, { token })
  const call = opened.chat.getUnreadCount().catch((error) => error)
  await (await server.session()).refuse('unauthorized', 4401)
  const { error, retryAt } = await reached(opened.chat, 'closed')
  expect(error).toMatchObject({ code: 'unauthorized' })
  expect(retryAt).toBeNull()
  expect(await call).toBe(error)
  expect([token.mock.calls.length, server.count]).toEqual([1, 1])
})

test('C5 a token that expired before the server could be reached at all is replaced by a new one', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const tokens = ['token-a', 'token-b', 'token-c']
  const token = vi.fn(() => tokens.shift() ?? null)
  using opened = openChat(server, { token })
  const { chat } = opened
  const first = await server.session()
  first.cut()
  await reached(chat, 'waiting')
  vi.advanceTimersByTime(500)
  expect(await (await server.session()).refuse('unauthorized', 4401)).toEqual({ token: 'token-a' })
  await reached(chat, 'waiting')
  vi.advanceTimersByTime(0)
  expect(await (await server.session()).refuse('unauthorized', 4401)).toEqual({ token: 'token-b' })
  await reached(chat, 'closed')
  expect(token, 'the new one was refused at once').toHaveBeenCalledTimes(2)
})

test('C5 a token text that is refused closes the chat, be it with a reply or only with 4401', async () => {
  for (const reply of [true, false]) {
    await using server = await ScriptedServer.start()
    using opened = openChat(server)
    const session = await server.session()
    if (reply) await session.refuse('unauthorized', 4401)
    else session.close(4401)
    expect((await reached(opened.chat, 'closed')).error).toMatchObject({ code: 'unauthorized' })
    expect(server.count).toBe(1)
  }
})

test('C5 a token text whose session is closed with 4401 closes the chat', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  opened.session.close(4401, 'unauthorized')
  const { error } = await reached(opened.chat, 'closed')
  expect(error).toMatchObject({ code: 'unauthorized', message: expect.stringContaining('4401 unauthorized') })
})

test.each([
  ['null', () => null],
  ['a promise of null', async () => null],
  ['nothing', () => ''],
])('C5 a token function that answers %s closes the chat and is not asked again', async (_, answer) => {
  await using server = await ScriptedServer.start()
  const token = vi.fn(answer)
  using opened = openChat(server, { token })
  const { error } = await reached(opened.chat, 'closed')
  expect(error).toMatchObject({ code: 'unauthorized' })
  await expect(opened.chat.getUnreadCount()).rejects.toBe(error)
  expect([token.mock.calls.length, server.count]).toEqual([1, 0])
})

const away = new Error('the backend is away')

test.each([
  [
    'throws',
    () => {
      throw away
    },
  ],
  ['rejects', () => Promise.reject(away)],
])(
  'C5, C6 a token function that %s is asked again after a delay that grows, and what waits is sent',
  async (_, fail) => {
    await using server = await ScriptedServer.start()
    holdTime(1)
    const token = vi.fn<() => string | Promise<string>>(() => 'token-a').mockImplementationOnce(fail)
    token.mockImplementationOnce(fail)
    using opened = openChat(server, { token })
    const { chat } = opened
    const call = chat.getUnreadCount()
    for (const delay of [2_000, 4_000]) {
      const { error, retryAt } = await reached(chat, 'waiting')
      expect(error).toMatchObject({ code: 'unavailable', retryable: true, cause: away })
      expect(error?.message).toContain('the backend is away')
      expect((retryAt ?? 0) - Date.now()).toBe(delay)
      vi.advanceTimersByTime(delay)
    }
    const session = await server.session()
    expect(await session.begin()).toEqual({ token: 'token-a' })
    session.reply((await session.command('get_unread_count')).id, { conversation: 0, message: 0 })
    await call
    expect([token.mock.calls.length, server.count]).toEqual([3, 1])
  },
)

test('C5 a session whose new token cannot be got goes on, and it is asked for again until 4401', async () => {
  await using server = await ScriptedServer.start()
  holdTime(1)
  const answers = [Promise.resolve('token-a'), ...[1, 2, 3].map(() => Promise.reject(away)), Promise.resolve('token-b')]
  for (const answer of answers) answer.catch(() => {})
  const asked = recorder<number>()
  const token = () => {
    asked.callback(asked.got.length)
    return answers[asked.got.length - 1] as Promise<string>
  }
  using opened = openChat(server, { token })
  const { chat } = opened
  const session = await server.session()
  await session.begin({ expires_at: new Date(Date.now() + 120_000).toISOString(), settings: quiet })
  await reached(chat, 'connected')
  for (const delay of [90_000, 2_000]) {
    vi.advanceTimersByTime(delay - 1)
    const before = asked.got.length
    await answered(chat, session)
    vi.advanceTimersByTime(1)
    expect(asked.got).toHaveLength(before + 1)
    await answered(chat, session)
  }
  expect(chat.state).toEqual({ status: 'connected', retryAt: null, error: null })
  session.close(4401)
  await reached(chat, 'waiting')
  vi.advanceTimersByTime(2_000)
  expect((await reached(chat, 'waiting')).error, 'what is asked for is a new one').toMatchObject({
    code: 'unavailable',
  })
  vi.advanceTimersByTime(4_000)
  expect(await (await server.session()).begin()).toMatchObject({ token: 'token-b' })
  expect(asked.got).toHaveLength(5)
})

test('C5, C7 a token function that does not answer in 30 s is asked anew, and what it answers late is nothing', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const late = Promise.withResolvers<string | null>()
  const token = vi.fn<() => string | Promise<string | null>>(() => 'token-a').mockReturnValueOnce(late.promise)
  using opened = openChat(server, { token })
  const { chat } = opened
  vi.advanceTimersByTime(29_999)
  expect(chat.state.status).toBe('connecting')
  vi.advanceTimersByTime(1)
  const { error, retryAt } = await reached(chat, 'waiting')
  expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('no answer in 30000 ms') })
  expect((retryAt ?? 0) - Date.now()).toBe(500)
  late.resolve(null)
  vi.advanceTimersByTime(500)
  const session = await server.session()
  expect(await session.begin({ expires_at: new Date(Date.now() + 240_000).toISOString(), settings: quiet })).toEqual({
    token: 'token-a',
  })
  await reached(chat, 'connected')

  // So it is where a session needs a new one.
  token.mockReturnValueOnce(new Promise(() => {}))
  vi.advanceTimersByTime(180_000 + 30_000)
  await answered(chat, session)
  vi.advanceTimersByTime(500)
  expect((await session.command('refresh_token')).args).toEqual({ token: 'token-a' })
  expect(token).toHaveBeenCalledTimes(4)
})

test('C5 before the token expires a new one is asked for, once, and sent with refresh_token', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const expires = (ms: number) => ({ expires_at: new Date(Date.now() + ms).toISOString() })
  const tokens = ['token-a', 'token-b', 'token-c']
  const token = vi.fn(() => tokens.shift() ?? null)
  using opened = openChat(server, { token })
  const session = await server.session()
  await session.begin({ ...expires(3_600_000), settings: quiet })
  await reached(opened.chat, 'connected')
  vi.advanceTimersByTime(3_600_000 - 60_001)
  expect(token).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(1)
  const refresh = await session.command('refresh_token')
  expect(refresh.args).toEqual({ token: 'token-b' })
  session.reply(refresh.id, expires(60_000))
  await answered(opened.chat, session)
  // Of a short token the last quarter is left.
  vi.advanceTimersByTime(44_999)
  expect(token).toHaveBeenCalledTimes(2)
  vi.advanceTimersByTime(1)
  const next = await session.command('refresh_token')
  expect(next.args).toEqual({ token: 'token-c' })
  session.reply(next.id, expires(3_600_000))
  await answered(opened.chat, session)
  session.cut()
  await reached(opened.chat, 'waiting')
  vi.advanceTimersByTime(500)
  expect(await (await server.session()).begin(), 'the refreshed token is the one to come back with').toMatchObject({
    token: 'token-c',
  })
  expect(token).toHaveBeenCalledTimes(3)
})

test('C5 a token that is good for longer than a timer can wait is not refreshed at once', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const token = vi.fn(() => 'token-a')
  using opened = openChat(server, { token })
  const session = await server.session()
  await session.begin({ expires_at: '2999-01-01T00:00:00.000Z', settings: quiet })
  await reached(opened.chat, 'connected')
  vi.advanceTimersByTime(24 * 3_600_000)
  expect(token).toHaveBeenCalledTimes(1)
})

test.each([-3_600_000, 500, 3_000, 39_999])(
  'C5 a token that by our clock has %i ms left is not refreshed: no loop',
  async (leftMs) => {
    await using server = await ScriptedServer.start()
    holdTime()
    const token = vi.fn(() => 'token-a')
    using opened = openChat(server, { token })
    const session = await server.session()
    await session.begin({ expires_at: new Date(Date.now() + leftMs).toISOString(), settings: quiet })
    await reached(opened.chat, 'connected')
    vi.advanceTimersByTime(3_600_000)
    expect(token).toHaveBeenCalledTimes(1)
  },
)

test('C5 a token text is never refreshed', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = openChat(server)
  const session = await server.session()
  await session.begin({ expires_at: new Date(Date.now() + 10_000).toISOString(), settings: quiet })
  await reached(opened.chat, 'connected')
  vi.advanceTimersByTime(3_600_000)
  await answered(opened.chat, session)
})

test('C5, M3 a token of another user closes the chat, and nothing is sent in his name', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const tokens = ["token of alice's", "token of bob's"]
  using opened = openChat(server, { token: () => tokens.shift() ?? null })
  const { chat } = opened
  const session = await server.session()
  await session.begin()
  await reached(chat, 'connected')
  const call = chat.createMessage(cat, 'of Alice').catch((error) => error)
  await session.command('create_message')
  session.close(4401)
  await reached(chat, 'waiting')
  vi.advanceTimersByTime(500)
  const others = await server.session()
  await others.begin({ user: 'user/bob' })
  await others.closed
  expect(others.unread).toEqual([])
  expect(chat.state).toMatchObject({ status: 'closed', error: { code: 'unauthorized' } })
  expect(await call).toBe(chat.state.error)
  expect(chat.user).toBe('user/alice')
})

test('C5 a refresh that the server refuses leaves the session alone until 4401 asks for a token', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const tokens = ['token-a', 'token-b', 'token-c']
  const token = vi.fn(() => tokens.shift() ?? null)
  using opened = openChat(server, { token })
  const session = await server.session()
  await session.begin({ expires_at: new Date(Date.now() + 40_000).toISOString(), settings: quiet })
  await reached(opened.chat, 'connected')
  vi.advanceTimersByTime(30_000)
  session.fail((await session.command('refresh_token')).id, 'unauthorized')
  await answered(opened.chat, session)
  session.close(4401)
  await reached(opened.chat, 'waiting')
  vi.advanceTimersByTime(500)
  expect(await (await server.session()).begin()).toMatchObject({ token: 'token-c' })
})

test('C5 a refresh that the server puts off is given up with its session, and close leaves nothing of it', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const expires_at = new Date(Date.now() + 120_000).toISOString()
  const tokens = ['token-a', 'token-b', 'token-c']
  const token = vi.fn(() => tokens.shift() ?? null)
  using opened = openChat(server, { token })
  const { chat } = opened
  const session = await server.session()
  await session.begin({ expires_at, settings: quiet })
  await reached(chat, 'connected')
  vi.advanceTimersByTime(90_000)
  session.fail((await session.command('refresh_token')).id, 'unavailable')
  await caughtUp(session)
  session.close(4401)
  await reached(chat, 'waiting')
  vi.advanceTimersByTime(500)
  const again = await server.session()
  expect(await again.begin({ settings: quiet })).toMatchObject({ token: 'token-c' })
  await reached(chat, 'connected')
  vi.advanceTimersByTime(20_000)
  await answered(chat, again)
  expect(again.unread).toEqual([])
  again.cut()
  await reached(chat, 'waiting')
  chat.close()
  expect(vi.getTimerCount()).toBe(0)
})

test('C5 a token is asked for once at a time, also when the session ends while it is being refreshed', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const asked: ((token: string) => void)[] = []
  const token = vi.fn(() => new Promise<string>((resolve) => asked.push(resolve)))
  using opened = openChat(server, { token })
  asked[0]?.('token-a')
  const session = await server.session()
  await session.begin({ expires_at: new Date(Date.now() + 40_000).toISOString(), settings: quiet })
  await reached(opened.chat, 'connected')
  vi.advanceTimersByTime(30_000)
  expect(token).toHaveBeenCalledTimes(2)
  session.close(4401)
  await reached(opened.chat, 'waiting')
  vi.advanceTimersByTime(500)
  await reached(opened.chat, 'connecting')
  expect(token).toHaveBeenCalledTimes(2)
  asked[1]?.('token-b')
  const again = await server.session()
  expect(await again.begin()).toMatchObject({ token: 'token-b' })
  await reached(opened.chat, 'connected')
  // The next command that comes is not the refresh_token of the session before.
  await answered(opened.chat, again)
  expect(token).toHaveBeenCalledTimes(2)
})

test('C5 a refresh that is told there is no token closes the chat', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const tokens = ['token-a']
  using opened = openChat(server, { token: () => tokens.shift() ?? null })
  const session = await server.session()
  await session.begin({ expires_at: new Date(Date.now() + 40_000).toISOString(), settings: quiet })
  await reached(opened.chat, 'connected')
  vi.advanceTimersByTime(30_000)
  expect((await reached(opened.chat, 'closed')).error).toMatchObject({ code: 'unauthorized' })
  await session.closed
})

test('C1, C7 after a break the delay is drawn between 0.5 s and a bound that doubles up to 20 s', async () => {
  await using server = await ScriptedServer.start()
  for (const [random, delays] of [
    [0, [500, 500, 500, 500, 500, 500]],
    [1, [2_000, 4_000, 8_000, 16_000, 20_000, 20_000]],
  ] as const) {
    holdTime(random)
    using opened = openChat(server)
    for (const delay of delays) {
      ;(await server.session()).cut()
      const { retryAt, error } = await reached(opened.chat, 'waiting')
      expect(error).toMatchObject({ code: 'unavailable', retryable: true })
      expect((retryAt ?? 0) - Date.now()).toBe(delay)
      vi.advanceTimersByTime(delay - 1)
      expect(opened.chat.state.status).toBe('waiting')
      vi.advanceTimersByTime(1)
      expect(opened.chat.state.status).toBe('connecting')
    }
    // A session that lasted sets the bound back, and no other does.
    for (const [lastedMs, delay] of [
      [0, delays[5]],
      [9_999, delays[5]],
      [10_000, delays[0]],
      [0, delays[1]],
    ] as const) {
      const session = await server.session()
      await session.begin()
      await reached(opened.chat, 'connected')
      vi.advanceTimersByTime(lastedMs)
      session.cut()
      const { retryAt } = await reached(opened.chat, 'waiting')
      expect((retryAt ?? 0) - Date.now()).toBe(delay)
      vi.advanceTimersByTime(delay)
    }
    vi.useRealTimers()
  }
})

test('C1 a server that cannot be reached is tried again, and its error says why', async () => {
  holdTime()
  await using server = await ScriptedServer.start()
  const { url } = server
  await server[Symbol.asyncDispose]()
  using opened = openChat({ url })
  const { error } = await reached(opened.chat, 'waiting')
  expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('ECONNREFUSED') })
})

test('C1 a server that takes the socket and does not answer connect is given up after 10 s', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = openChat(server)
  const session = await server.session()
  await session.command('connect')
  vi.advanceTimersByTime(10_000)
  const { error } = await reached(opened.chat, 'waiting')
  expect(error).toMatchObject({ code: 'unavailable', message: expect.stringContaining('did not answer') })
  await session.closed
})

test.each([4400, 4410, 1009])('W1 after close code %i the chat stops', async (code) => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  opened.session.close(code, 'why')
  const { error } = await reached(opened.chat, 'closed')
  expect(error?.message).toContain(`${code} why`)
  expect(error?.retryable).toBe(false)
  await expect(opened.chat.getUnreadCount()).rejects.toBe(error)
})

test.each([4408, 4409, 1001, 1011])('W1 after close code %i the chat comes back with its cursor', async (code) => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  opened.session.close(code)
  await reached(opened.chat, 'waiting')
  vi.advanceTimersByTime(500)
  expect(await (await server.session()).begin()).toEqual({ token: 'token-1', cursor: 'c0' })
})

test.each(['<html>', '', '7', 'null', Buffer.from([1, 2])])(
  'C7 after %j, which is no frame, the chat comes back with its cursor',
  async (data) => {
    await using server = await ScriptedServer.start()
    holdTime()
    using opened = await openSession(server, { cursor: 'c7' })
    opened.session.sendData(data)
    const { error } = await reached(opened.chat, 'waiting')
    expect(error).toMatchObject({ code: 'unavailable', retryable: true })
    expect(error?.message).toContain('no frame of a Fanfare server')
    vi.advanceTimersByTime(500)
    expect(await (await server.session()).resume()).toBe('c0')
    await reached(opened.chat, 'connected')
  },
)

test('W1 after 4503 the chat comes back after the milliseconds of the reason', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  opened.session.close(4503, 'draining 1234')
  const { retryAt } = await reached(opened.chat, 'waiting')
  expect((retryAt ?? 0) - Date.now()).toBe(1_234)
})

test('W1 after 4429 the delay is at once drawn from up to 20 s', async () => {
  await using server = await ScriptedServer.start()
  holdTime(1)
  using opened = openChat(server)
  ;(await server.session()).close(4429)
  const { retryAt, error } = await reached(opened.chat, 'waiting')
  expect((retryAt ?? 0) - Date.now()).toBe(20_000)
  expect(error).toMatchObject({ code: 'rate_limited' })
})

test('W3 a connect that may be retried is, after the delay that its error names', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = openChat(server)
  await (await server.session()).refuse('unavailable', 1013, { retry_after_ms: 777 })
  const { retryAt } = await reached(opened.chat, 'waiting')
  expect((retryAt ?? 0) - Date.now()).toBe(777)
})

test('W3 a connect that cannot succeed closes the chat', async () => {
  await using server = await ScriptedServer.start()
  using opened = openChat(server)
  await (await server.session()).refuse('invalid_argument', 4400)
  expect((await reached(opened.chat, 'closed')).error).toMatchObject({ code: 'invalid_argument' })
})

test('S5 a quiet session asks for its cursor each interval', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server, { cursor: 'kept' })
  const { chat, session } = opened
  expect(chat.cursor).toBe('c0')
  for (const cursor of ['c1', 'c2']) {
    vi.advanceTimersByTime(25_000)
    session.reply((await session.command('ping')).id, { cursor })
    await answered(chat, session)
    expect(chat.cursor).toBe(cursor)
  }
})

test('C1 the cursor is the one given, then that of connect, then that of each event', async () => {
  await using server = await ScriptedServer.start()
  using opened = openChat(server, { cursor: 'kept' })
  const { chat } = opened
  expect(chat.cursor).toBe('kept')
  const session = await server.session()
  expect(await session.begin({ cursor: 'c0' })).toEqual({ token: 'token-1', cursor: 'kept' })
  await reached(chat, 'connected')
  expect(chat.cursor).toBe('c0')
  const cursors = recorder<string | null>()
  chat.subscribe(() => cursors.callback(chat.cursor))
  session.send({ event: 'create', data: {}, conversation: cat, seq: 1, cursor: 'c1' })
  expect(await cursors.next(), 'in a callback it is that of its event').toBe('c1')
})

test('C1 close ends the socket, the timers, and all that waits; twice is as good as once', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const states: ConnectionState[] = []
  chat.onState((state) => states.push(state))
  const call = chat.getUnreadCount().catch((error) => error)
  await session.command('get_unread_count')
  chat.close()
  chat.close()
  expect(states).toEqual([{ status: 'closed', retryAt: null, error: null }])
  expect(await call).toMatchObject({ code: 'unavailable' })
  await expect(chat.getUnreadCount()).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('closed by close()'),
  })
  chat.sendTypingIndicator(cat, 'begin')
  await session.closed
  expect(session.unread).toEqual([])
})

test('C1 close ends a chat that waits for its next attempt, and one that waits for its token', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = openChat(server)
  ;(await server.session()).cut()
  await reached(opened.chat, 'waiting')
  const call = opened.chat.getUnreadCount().catch((error) => error)
  opened.chat.close()
  expect(await call).toMatchObject({ code: 'unavailable' })
  expect(vi.getTimerCount()).toBe(0)

  const asked = Promise.withResolvers<string>()
  const Never = vi.fn(WebSocket)
  using asking = openChat(server, { token: () => asked.promise, WebSocket: Never })
  asking.chat.close()
  asked.resolve('too late')
  await new Promise((resolve) => setImmediate(resolve))
  expect(Never).not.toHaveBeenCalled()
  expect(asking.chat.state).toEqual({ status: 'closed', retryAt: null, error: null })
  expect(vi.getTimerCount()).toBe(0)
  expect(server.count).toBe(1)
})

test('C1 after close no callback is called, not even for what was on its way', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const events = vi.fn(() => chat.close())
  chat.subscribe(events)
  for (const seq of [1, 2]) session.send({ event: 'create', data: {}, conversation: cat, seq, cursor: `c${seq}` })
  await session.closed
  expect(events).toHaveBeenCalledTimes(1)
  expect(chat.cursor).toBe('c1')
})

/** A push of a message. */
function message(seq: number): object {
  const data = { record_type: 'message', event_type: 'create', record: { id: `${seq}` }, original_record: null }
  return { event: 'create', data, conversation: cat, seq, cursor: `c${seq}` }
}

test('C1 a chat that is closed in the turn of a refresh asks for no token any more', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const expires = () => ({ expires_at: new Date(Date.now() + 120_000).toISOString() })
  const token = vi.fn(() => 'token-a')
  using opened = openChat(server, { token })
  const { chat } = opened
  const session = await server.session()
  await session.begin({ ...expires(), settings: quiet })
  await reached(chat, 'connected')
  chat.subscribe(() => chat.close())
  vi.advanceTimersByTime(90_000)
  const { id } = await session.command('refresh_token')
  session.sendTogether({ id, result: expires() }, message(1))
  await session.closed
  expect(chat.state.status).toBe('closed')
  vi.advanceTimersByTime(90_000)
  expect(token).toHaveBeenCalledTimes(2)
})

test('C1 after close nobody is told the typing that was asked for, though its reply came before', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const typing = vi.fn()
  chat.subscribeTypingIndicator(cat, typing)
  chat.subscribe(() => chat.close())
  const { id } = await session.command('subscribe_typing')
  session.sendTogether({ id, result: { typing: { 'user/bob': { event: 'begin', at: '' } } } }, message(1))
  await session.closed
  expect(chat.state.status).toBe('closed')
  expect(typing).not.toHaveBeenCalled()
})

test('C1 close from a callback that close brings about does nothing: the end is told once', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const states: string[] = []
  chat.onState(({ status }) => states.push(status))
  const typing = recorder<object>()
  chat.subscribeTypingIndicator(cat, typing.callback)
  session.reply((await session.command('subscribe_typing')).id, { typing: { 'user/bob': { event: 'begin', at: '' } } })
  await typing.next()
  const seen: string[] = []
  chat.subscribeTypingIndicator(cat, (set) => {
    if (Object.keys(set).length) return
    seen.push(chat.state.status)
    chat.close()
  })
  chat.close()
  expect([states, seen]).toEqual([['closed'], ['closed']])
})

test('C1 a chat that is closed when it is about to try again asks for nothing any more', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const token = vi.fn(() => 'token-a')
  using opened = await openSession(server, { token })
  const { chat, session } = opened
  chat.onState(({ status }) => {
    if (status === 'connecting') chat.close()
  })
  session.close(4401)
  await reached(chat, 'waiting')
  vi.advanceTimersByTime(500)
  expect(chat.state).toEqual({ status: 'closed', retryAt: null, error: null })
  expect(token).toHaveBeenCalledTimes(1)
})

test('C1 a chat that is closed by a callback of its own break stays closed', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const typing = recorder<object>()
  chat.subscribeTypingIndicator(cat, typing.callback)
  const alice: UserId = 'user/alice'
  session.reply((await session.command('subscribe_typing')).id, { typing: { [alice]: { event: 'begin', at: '' } } })
  await typing.next()
  chat.subscribeTypingIndicator(cat, (typing) => {
    if (!(alice in typing)) chat.close()
  })
  session.cut()
  await reached(chat, 'closed')
  await typing.next()
  expect(chat.state.status).toBe('closed')
  expect(vi.getTimerCount()).toBe(0)
})
