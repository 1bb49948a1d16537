import { afterEach, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { answered, cutAndReturn, holdTime, openChat, openSession, reached } from './open-chat.ts'
import { ScriptedServer } from './scripted-server.ts'

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
  vi.unstubAllGlobals()
})

/** A page as far as the SDK knows one. */
class Page extends EventTarget {
  readonly listening: string[] = []
  visibilityState = 'visible'

  static show(): Page {
    const page = new Page()
    vi.stubGlobal('document', page)
    vi.stubGlobal('addEventListener', page.addEventListener.bind(page))
    vi.stubGlobal('removeEventListener', page.removeEventListener.bind(page))
    return page
  }

  override addEventListener(type: string, listener: () => void): void {
    this.listening.push(type)
    super.addEventListener(type, listener)
  }

  override removeEventListener(type: string, listener: () => void): void {
    this.listening.splice(this.listening.indexOf(type), 1)
    super.removeEventListener(type, listener)
  }

  tell(type: string): void {
    this.dispatchEvent(new Event(type))
  }
}

test.each(['online', 'pageshow', 'visibilitychange'])('C7 a chat that waits connects at once on %s', async (type) => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  holdTime(1)
  using opened = await openSession(server)
  const { chat, session } = opened
  session.cut()
  const { error } = await reached(chat, 'waiting')
  page.tell(type)
  expect(chat.state).toEqual({ status: 'connecting', retryAt: null, error })
  await (await server.session()).begin()
  await reached(chat, 'connected')
  vi.advanceTimersByTime(20_000)
  expect(chat.state.status, 'the attempt that was planned is none any more').toBe('connected')
  expect(server.count).toBe(2)
})

test('C7 a page that becomes hidden is no reason to connect', async () => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  holdTime()
  using opened = await openSession(server)
  opened.session.cut()
  const waiting = await reached(opened.chat, 'waiting')
  page.visibilityState = 'hidden'
  page.tell('visibilitychange')
  expect(opened.chat.state).toBe(waiting)
})

test('C7 after a wake that was in vain the delays begin anew', async () => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  holdTime(1)
  using opened = openChat(server)
  const { chat } = opened
  for (const delay of [2_000, 4_000, 8_000]) {
    ;(await server.session()).cut()
    const { retryAt } = await reached(chat, 'waiting')
    expect((retryAt ?? 0) - Date.now()).toBe(delay)
    if (delay < 8_000) vi.advanceTimersByTime(delay)
  }
  page.tell('online')
  ;(await server.session()).cut()
  const { retryAt } = await reached(chat, 'waiting')
  expect((retryAt ?? 0) - Date.now()).toBe(2_000)
})

test('C7 after a wake during an attempt that fails the next one comes at once, and the delays begin anew', async () => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  holdTime(1)
  using opened = openChat(server)
  const { chat } = opened
  for (const [delay, isWoken] of [
    [2_000, false],
    [4_000, false],
    [0, true],
    [2_000, false],
  ] as const) {
    const session = await server.session()
    if (isWoken) for (const type of ['online', 'visibilitychange']) page.tell(type)
    expect(chat.state.status, 'what may yet succeed is not broken off').toBe('connecting')
    session.cut()
    const { retryAt } = await reached(chat, 'waiting')
    expect((retryAt ?? 0) - Date.now()).toBe(delay)
    vi.advanceTimersByTime(delay)
  }
  // Nor does it count for a later session, or against a time that the server names.
  const session = await server.session()
  page.tell('online')
  await session.begin()
  await reached(chat, 'connected')
  session.cut()
  await reached(chat, 'waiting')
  vi.advanceTimersByTime(1_999)
  expect(chat.state.status).toBe('waiting')
  vi.advanceTimersByTime(1)
  const refused = await server.session()
  page.tell('online')
  await refused.refuse('unavailable', 1013, { retry_after_ms: 777 })
  expect(((await reached(chat, 'waiting')).retryAt ?? 0) - Date.now()).toBe(777)
})

test('C5, C7 after a wake while a token is asked for in vain it is asked for again at once', async () => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  holdTime(1)
  const answers = [Promise.withResolvers<string>(), Promise.withResolvers<string>()]
  let asked = 0
  using opened = openChat(server, { token: () => answers[asked++]?.promise ?? null })
  page.tell('online')
  answers[0]?.reject(new Error('the network is another'))
  await reached(opened.chat, 'waiting')
  vi.advanceTimersByTime(0)
  expect([opened.chat.state.status, asked]).toEqual(['connecting', 2])
  answers[1]?.resolve('token-a')
  expect(await (await server.session()).begin()).toEqual({ token: 'token-a' })
})

test.each([
  [4503, 'draining 5000', 5_000],
  [4429, 'rate_limited', 500],
])('C7 a wake does not come before the time that the server asked for with %i', async (code, reason, delay) => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  holdTime()
  using opened = await openSession(server)
  opened.session.close(code, reason)
  const waiting = await reached(opened.chat, 'waiting')
  page.tell('online')
  expect(opened.chat.state).toBe(waiting)
  expect(waiting.retryAt).toBe(Date.now() + delay)
})

test('C7 a link on which nothing comes for 10 s after a ping is given up, 35 s after the last word at most', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  vi.advanceTimersByTime(25_000)
  await session.command('ping')
  vi.advanceTimersByTime(9_999)
  expect(chat.state.status).toBe('connected')
  vi.advanceTimersByTime(1)
  expect(chat.state).toMatchObject({
    status: 'waiting',
    error: { code: 'unavailable', message: expect.stringContaining('nothing came any more') },
  })
  vi.advanceTimersByTime(500)
  expect(await (await server.session()).resume()).toBe('c0')
  await reached(chat, 'connected')
})

test('C7 whatever comes after a ping shows that the link lives', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  for (let times = 0; times < 3; times++) {
    vi.advanceTimersByTime(25_000)
    await session.command('ping')
    await answered(chat, session)
    vi.advanceTimersByTime(0)
  }
  expect(chat.state.status).toBe('connected')
})

test('C7 pings that follow one another faster than an answer may take do not hide a dead link', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = openChat(server)
  const session = await server.session()
  const settings = { typing_interval_ms: 1_000, typing_expiry_ms: 5_000, ping_interval_ms: 3_000, max_frame_bytes: 0 }
  await session.begin({ settings })
  await reached(opened.chat, 'connected')
  vi.advanceTimersByTime(12_999)
  expect(opened.chat.state.status).toBe('connected')
  vi.advanceTimersByTime(1)
  expect(opened.chat.state.status).toBe('waiting')
})

test.each(['online', 'pageshow', 'visibilitychange'])(
  'C7 on %s a session must show within 5 s that it lives',
  async (type) => {
    await using server = await ScriptedServer.start()
    const page = Page.show()
    holdTime()
    using opened = await openSession(server)
    const { chat, session } = opened
    page.tell(type)
    session.reply((await session.command('ping')).id, { cursor: 'c1' })
    await answered(chat, session)
    expect(chat.cursor).toBe('c1')
    vi.advanceTimersByTime(24_999)
    expect(chat.state.status).toBe('connected')
    page.tell(type)
    vi.advanceTimersByTime(5_000)
    expect(chat.state.status).toBe('waiting')
  },
)

test('C7 a wake shortens the wait for an answer to the ping before, and does not lengthen it', async () => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  holdTime()
  using opened = await openSession(server)
  const { chat } = opened
  vi.advanceTimersByTime(25_000)
  page.tell('online')
  vi.advanceTimersByTime(3_000)
  page.tell('online')
  vi.advanceTimersByTime(1_999)
  expect(chat.state.status).toBe('connected')
  vi.advanceTimersByTime(1)
  expect(chat.state.status).toBe('waiting')
})

test('C7 a socket that a sleeping page lost without being told is left at once when the page wakes', async () => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  holdTime(1)
  let isLost = false
  class Forgotten extends WebSocket {
    constructor(url: string) {
      super(url)
      const get = () => (isLost ? WebSocket.CLOSED : Reflect.get(WebSocket.prototype, 'readyState', this))
      Object.defineProperty(this, 'readyState', { get })
    }
  }
  using opened = await openSession(server, { WebSocket: Forgotten })
  isLost = true
  page.tell('pageshow')
  expect(opened.chat.state.status).toBe('connecting')
  isLost = false
  await (await server.session()).begin()
  await reached(opened.chat, 'connected')
})

test('C7 a timer that a sleeping machine held back condemns no link: it is asked once more', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  vi.advanceTimersByTime(25_000)
  await session.command('ping')
  vi.setSystemTime(Date.now() + 3_600_000)
  vi.advanceTimersByTime(10_000)
  expect(chat.state.status).toBe('connected')
  session.reply((await session.command('ping')).id, { cursor: 'c1' })
  await answered(chat, session)
  vi.advanceTimersByTime(10_000)
  expect(chat.state.status).toBe('connected')
})

test('C7 a link that is silent when it is asked once more is given up', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  vi.advanceTimersByTime(25_000)
  vi.setSystemTime(Date.now() + 3_600_000)
  vi.advanceTimersByTime(10_000)
  expect(opened.chat.state.status).toBe('connected')
  vi.advanceTimersByTime(10_000)
  expect(opened.chat.state.status).toBe('waiting')
})

test('C7 close leaves nothing that listens to the page', async () => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  using opened = await openSession(server)
  expect(page.listening.sort()).toEqual(['online', 'pageshow', 'visibilitychange'])
  opened.chat.close()
  expect(page.listening).toEqual([])
})

test('C7 a token that was made too early is replaced after the time that the server names, however new it is', async () => {
  await using server = await ScriptedServer.start()
  const page = Page.show()
  holdTime()
  const tokens = ['token-a', 'token-b', 'token-c']
  const token = vi.fn(() => tokens.shift() ?? null)
  using opened = openChat(server, { token })
  const { chat } = opened
  await (await server.session()).refuse('token_revoked', 4403, { retry_after_ms: 4_000 })
  const { error, retryAt } = await reached(chat, 'waiting')
  expect(error).toMatchObject({ code: 'token_revoked' })
  expect((retryAt ?? 0) - Date.now()).toBe(4_000)
  page.tell('online')
  vi.advanceTimersByTime(3_999)
  expect(token).toHaveBeenCalledTimes(1)
  vi.advanceTimersByTime(1)
  // The clock of the backend may be behind: another wait, a little longer than what is named.
  expect(await (await server.session()).refuse('token_revoked', 4403, { retry_after_ms: 0 })).toEqual({
    token: 'token-b',
  })
  const second = await reached(chat, 'waiting')
  expect((second.retryAt ?? 0) - Date.now()).toBe(500)
  vi.advanceTimersByTime(500)
  const session = await server.session()
  expect(await session.begin()).toEqual({ token: 'token-c' })
  await reached(chat, 'connected')
  // A session that began proves that the waits are over: the next is again as long as the server says.
  await (await cutAndReturn(server, chat, session)).refuse('token_revoked', 4403, { retry_after_ms: 4_000 })
  const third = await reached(chat, 'waiting')
  expect((third.retryAt ?? 0) - Date.now()).toBe(4_000)
})

test('C7 after six tokens in a row that were made too early the chat closes, and so it does with a token text', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const token = vi.fn(() => 'always the same')
  using opened = openChat(server, { token })
  for (let times = 1; times <= 6; times++) {
    await (await server.session()).refuse('token_revoked', 4403, { retry_after_ms: 100 })
    if (times === 6) break
    await reached(opened.chat, 'waiting')
    vi.advanceTimersByTime(600)
  }
  expect((await reached(opened.chat, 'closed')).error).toMatchObject({ code: 'token_revoked' })
  expect([token.mock.calls.length, server.count]).toEqual([6, 6])

  using fixed = openChat(server)
  await (await server.session()).refuse('token_revoked', 4403, { retry_after_ms: 100 })
  expect((await reached(fixed.chat, 'closed')).error).toMatchObject({ code: 'token_revoked' })
})

test('C5 a token function that says no after token_revoked is not asked again', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  const token = vi.fn().mockReturnValueOnce('token-a').mockReturnValue(null)
  using opened = openChat(server, { token })
  await (await server.session()).refuse('token_revoked', 4403, { retry_after_ms: 100 })
  await reached(opened.chat, 'waiting')
  vi.advanceTimersByTime(100)
  expect((await reached(opened.chat, 'closed')).error).toMatchObject({ code: 'unauthorized' })
  expect([token.mock.calls.length, server.count]).toEqual([2, 1])
})
