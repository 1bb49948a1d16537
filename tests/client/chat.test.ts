/** The real SDK and the real server, over real sockets and a real SQLite file. */
import { afterEach, expect, test, vi } from 'vitest'
import { WebSocket } from 'ws'
import { type Chat, type ChatOptions, createChat, type RecordEvent, type TypingSet } from '../../src/client/index.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { reached, recorder } from './open-chat.ts'

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

/** A user's chat, with the record events that it gets. */
async function join(server: TestServer, name: string, options: Partial<ChatOptions> = {}) {
  const chat = createChat({ url: server.url, token: () => server.token(name), WebSocket, ...options })
  const events = recorder<RecordEvent>()
  chat.subscribe(events.callback)
  await reached(chat, 'connected')
  return { chat, events, [Symbol.dispose]: () => chat.close() }
}

/** The sets of who types in `conversation`; the first is there. */
async function watch(chat: Chat, conversation: `conversation/${string}`) {
  const sets = recorder<TypingSet>()
  chat.subscribeTypingIndicator(conversation, sets.callback)
  expect(await sets.next()).toEqual({})
  return sets
}

class Input extends EventTarget {
  value = ''
  readonly textContent = null

  write(text: string): void {
    this.value = text
    this.dispatchEvent(new Event('input'))
  }
}

test('C1 two users chat: each gets every event of the conversation, with the record as it was before', async () => {
  await using server = await startServer()
  using alice = await join(server, 'alice')
  using bob = await join(server, 'bob')
  expect([alice.chat.user, bob.chat.user]).toEqual(['user/alice', 'user/bob'])

  const { conversation, created } = await alice.chat.createDirectConversation('user/bob', 'Tea')
  expect(created).toBe(true)
  const sent = await alice.chat.createMessage(conversation, 'Hello', { mood: 'fine' })
  const edited = await alice.chat.editMessage(sent, 'Hello, Bob')
  const answer = await bob.chat.createMessage(conversation.id, 'Hello, Alice')
  const deleted = await alice.chat.deleteMessage(edited)
  expect(deleted).toMatchObject({ id: sent.id, deleted: true, body: '', metadata: {} })

  const expected = [
    { record_type: 'conversation', event_type: 'create', record: conversation, original_record: null },
    { record_type: 'message', event_type: 'create', record: sent, original_record: null },
    { record_type: 'message', event_type: 'update', record: edited, original_record: sent },
    { record_type: 'message', event_type: 'create', record: answer, original_record: null },
    { record_type: 'message', event_type: 'delete', record: deleted },
  ]
  for (const { events } of [alice, bob]) {
    const got: RecordEvent[] = []
    while (got.length < expected.length) got.push(await events.next())
    expect(got).toMatchObject(expected)
    for (const event of got) {
      expect(Object.keys(event).sort()).toEqual(['event_type', 'original_record', 'record', 'record_type'])
    }
  }
})

test('C2 a bound input shows as typing to the others, until the message is sent', async () => {
  await using server = await startServer()
  using alice = await join(server, 'alice')
  using bob = await join(server, 'bob')
  const { conversation } = await alice.chat.createDirectConversation('user/bob')
  const sets = await watch(bob.chat, conversation.id)
  const input = new Input()
  alice.chat.bindTypingIndicator(conversation, input, { pauseAfterMs: 20 })
  input.write('Hello')
  expect(await sets.next()).toMatchObject({ 'user/alice': { event: 'begin' } })
  expect(await sets.next()).toMatchObject({ 'user/alice': { event: 'pause' } })
  await alice.chat.createMessage(conversation, input.value)
  expect(await sets.next()).toMatchObject({ 'user/alice': { event: 'finished' } })
  expect(await bob.events.next()).toMatchObject({ record_type: 'conversation' })
  expect(await bob.events.next()).toMatchObject({ record_type: 'message', record: { body: 'Hello' } })
})

test('C1 nobody is told his own typing, and who unsubscribes is told nothing', async () => {
  await using server = await startServer()
  using alice = await join(server, 'alice')
  using bob = await join(server, 'bob')
  const { conversation } = await alice.chat.createDirectConversation('user/bob')
  const own = await watch(alice.chat, conversation.id)
  const others = await watch(bob.chat, conversation.id)
  const gone = vi.fn()
  bob.chat.subscribeTypingIndicator(conversation, gone)()
  alice.chat.sendTypingIndicator(conversation, 'begin')
  await others.next()
  bob.chat.unsubscribeTypingIndicator(conversation)
  await bob.chat.getUnreadCount()
  alice.chat.sendTypingIndicator(conversation, 'finished')
  bob.chat.sendTypingIndicator(conversation, 'begin')
  expect(await own.next()).toMatchObject({ 'user/bob': { event: 'begin' } })
  expect(own.got.some((typing) => 'user/alice' in typing)).toBe(false)
  expect(others.got).toHaveLength(2)
  expect(gone).not.toHaveBeenCalled()
})

test('C3 every call does on a real server what it says', async () => {
  await using server = await startServer()
  using alice = await join(server, 'alice')
  using bob = await join(server, 'bob')
  const { chat } = alice
  const { conversation } = await chat.createConversation(
    ['user/bob', 'user/cy'],
    'Tea',
    { room: 1 },
    { admins: ['user/cy'] },
  )
  expect(conversation).toMatchObject({ title: 'Tea', metadata: { room: 1 }, admins: ['user/alice', 'user/cy'] })

  const direct = await chat.createDirectConversation('user/bob')
  expect(await bob.chat.createDirectConversation('user/alice')).toEqual({ ...direct, created: false })

  expect(await chat.updateConversation(conversation, { title: 'Coffee' })).toMatchObject({ title: 'Coffee' })
  expect(await chat.addParticipants(conversation, ['user/dee'])).toMatchObject({ participant_count: 4 })
  expect(await chat.addAdmins(conversation, ['user/dee'])).toMatchObject({
    admins: ['user/alice', 'user/cy', 'user/dee'],
  })
  expect(await chat.removeAdmins(conversation, ['user/dee'])).toMatchObject({ admins: ['user/alice', 'user/cy'] })
  expect(await chat.removeParticipants(conversation, ['user/dee'])).toMatchObject({ participant_count: 3 })
  expect(await chat.getParticipants(conversation, { after: 'user/alice', limit: 1 })).toEqual({
    participants: ['user/bob'],
    admins: [],
  })

  const first = await chat.createMessage(conversation, 'one', {}, { url: 'cup.png' }, { client_id: 'once' })
  const again = await chat.createMessage(conversation, 'one', {}, { url: 'cup.png' }, { client_id: 'once' })
  expect(again).toEqual(first)
  const second = await chat.createMessage(conversation, 'two')
  expect(await bob.chat.getUnreadCount()).toEqual({ conversation: 1, message: 2 })
  expect(await bob.chat.markAsLastMessageRead(conversation, first)).toMatchObject({ unread_count: 1 })
  expect(await bob.chat.getMessages(conversation)).toEqual([second, first])
  expect(await bob.chat.getMessages(conversation, { before_seq: second.seq, limit: 1 })).toEqual([first])
  expect((await bob.chat.getEvents(conversation, { after_seq: first.seq })).map(({ seq }) => seq)).toEqual([second.seq])
  const view = await bob.chat.getConversation(conversation)
  expect(view).toMatchObject({ conversation: { id: conversation.id }, last_message: second })
  expect(view.user_conversation).toMatchObject({ user: 'user/bob', unread_count: 1 })
  const views = await chat.getConversations({ limit: 1 })
  expect(views.map((view) => view.conversation.id)).toEqual([conversation.id])
  const rest = await chat.getConversations({ before: views[0]!.conversation })
  expect(rest.map((view) => view.conversation.id)).toEqual([direct.conversation.id])

  expect(await chat.updateUser({ name: 'Alice' })).toMatchObject({ id: 'user/alice', name: 'Alice' })
  expect(await bob.chat.getUsers(['user/alice'])).toMatchObject([{ name: 'Alice' }])
  expect(await chat.getUserChannel()).toMatchObject({ user: 'user/alice', name: expect.any(String) })

  expect(await bob.chat.leaveConversation(conversation)).toEqual({ id: conversation.id })
  expect(await chat.deleteConversation(conversation)).toEqual({ id: conversation.id, deleted: true })
})

test("C3 the server's errors come as FanfareErrors, and the session lives on", async () => {
  await using server = await startServer()
  using alice = await join(server, 'alice')
  using bob = await join(server, 'bob')
  using eve = await join(server, 'eve')
  const { conversation } = await alice.chat.createConversation(['user/bob'])
  const message = await alice.chat.createMessage(conversation, 'hello')
  const failures = [
    [() => eve.chat.getMessages(conversation), 'not_found'],
    [() => eve.chat.createMessage(conversation, 'me too'), 'not_found'],
    [() => bob.chat.editMessage(message, 'not mine'), 'forbidden'],
    [() => bob.chat.updateConversation(conversation, { title: 'mine' }), 'forbidden'],
    [() => alice.chat.editMessage(message, { body: 'late', revision: 7 }), 'conflict'],
    [() => alice.chat.createMessage(conversation, 'x'.repeat(20_000)), 'too_large'],
    [() => alice.chat.createMessage(conversation, 'x'.repeat(70_000)), 'too_large'],
    [() => alice.chat.createMessage(conversation, 7 as never), 'invalid_argument'],
    [() => alice.chat.createMessage('nowhere' as never, 'hello'), 'invalid_argument'],
  ] as const
  for (const [call, code] of failures) await expect(call()).rejects.toMatchObject({ name: 'FanfareError', code })
  expect(await bob.chat.getMessages(conversation)).toEqual([message])
})

/** Tokens of which the first is good for so many seconds. */
function shortThenLong(server: TestServer, clock: FakeClock, seconds: number) {
  const exp = Math.floor(clock.now() / 1_000) + seconds
  return vi
    .fn()
    .mockImplementationOnce(() => server.token('alice', { exp }))
    .mockImplementation(() => server.token('alice'))
}

test('S4 when its token expires a session ends, and the SDK comes back with a new one', async () => {
  const clock = new FakeClock(Date.now())
  await using server = await startServer({ clock })
  vi.spyOn(Math, 'random').mockReturnValue(0)
  const token = shortThenLong(server, clock, 20)
  using alice = await join(server, 'alice', { token })
  clock.advance(21_000)
  const { error } = await reached(alice.chat, 'waiting')
  expect(error).toMatchObject({ code: 'unauthorized' })
  const { conversation } = await alice.chat.createConversation(['user/bob'])
  expect(conversation.created_by).toBe('user/alice')
  expect(token).toHaveBeenCalledTimes(2)
})

test('S4 a token that is refreshed in time ends no session', async () => {
  const clock = new FakeClock(Date.now())
  await using server = await startServer({ clock })
  // The clock of the SDK; the server goes by its own.
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'], now: clock.now() })
  const token = shortThenLong(server, clock, 45)
  const frames = recorder<string>()
  class Watched extends WebSocket {
    constructor(url: string) {
      super(url)
      this.on('message', (data) => frames.callback(String(data)))
    }
  }
  using alice = await join(server, 'alice', { token, WebSocket: Watched })
  expect(await frames.next()).toContain('"session"')
  const states = vi.fn()
  alice.chat.onState(states)
  for (const ms of [25_000, 9_000]) {
    clock.advance(ms)
    vi.advanceTimersByTime(ms)
    // The server's ping, which comes before the first reply, is answered before the second call.
    for (const _ of [1, 2]) await alice.chat.getUnreadCount()
  }
  expect(token).toHaveBeenCalledTimes(2)
  let frame = ''
  while (!frame.includes('"expires_at"')) frame = await frames.next()
  clock.advance(12_000)
  await alice.chat.getUnreadCount()
  expect(states).not.toHaveBeenCalled()
})

test('C5 a token that the server refuses closes the chat, with no second attempt', async () => {
  await using server = await startServer()
  const token = vi.fn(() => server.token('alice', { exp: 1 }))
  const chat = createChat({ url: server.url, token, WebSocket })
  const call = chat.getUnreadCount().catch((error) => error)
  const { error } = await reached(chat, 'closed')
  expect(error).toMatchObject({ code: 'unauthorized' })
  expect(await call).toBe(error)
  expect(token).toHaveBeenCalledTimes(1)
})

test('C1 a chat comes back to a server that was away, goes on sending and watching, and sees what is new', async () => {
  await using server = await startServer()
  vi.spyOn(Math, 'random').mockReturnValue(0)
  using alice = await join(server, 'alice')
  using bob = await join(server, 'bob')
  const { conversation } = await alice.chat.createDirectConversation('user/bob')
  const sets = await watch(bob.chat, conversation.id)
  alice.chat.sendTypingIndicator(conversation, 'begin')
  expect(await sets.next()).toMatchObject({ 'user/alice': { event: 'begin' } })

  await server.stop()
  expect(await sets.next(), 'nobody types on a lost connection').toEqual({})
  await Promise.all([reached(alice.chat, 'waiting'), reached(bob.chat, 'waiting')])
  const call = alice.chat.createMessage(conversation, 'are you there?')
  await server.start()

  const message = await call
  await reached(bob.chat, 'connected')
  expect(await sets.next()).toEqual({})
  alice.chat.sendTypingIndicator(conversation, 'begin')
  expect(await sets.next()).toMatchObject({ 'user/alice': { event: 'begin' } })
  expect(await bob.chat.getMessages(conversation)).toEqual([message])
})

test('C4 what a real server pushed and the way lost is fetched from it, and comes in its place', async () => {
  await using server = await startServer()
  class Lossy extends WebSocket {
    override emit(event: string | symbol, ...args: unknown[]): boolean {
      const seq = event === 'message' && JSON.parse(String(args[0])).seq
      return seq > 2 && seq % 3 > 0 ? false : super.emit(event, ...args)
    }
  }
  using alice = await join(server, 'alice')
  using bob = await join(server, 'bob', { WebSocket: Lossy })
  const gaps = vi.fn()
  bob.chat.onGap(gaps)
  const { conversation } = await alice.chat.createDirectConversation('user/bob')
  const sent = []
  for (let n = 2; n <= 15; n++) sent.push(await alice.chat.createMessage(conversation, `number ${n}`))
  expect(await bob.events.next()).toMatchObject({ record_type: 'conversation', record: { id: conversation.id } })
  for (const message of sent) expect((await bob.events.next()).record).toEqual(message)
  expect(gaps).not.toHaveBeenCalled()
})

test('C6 what is sent while a real server goes away and comes back is there once, in order', async () => {
  await using server = await startServer()
  vi.spyOn(Math, 'random').mockReturnValue(0)
  using alice = await join(server, 'alice')
  const { conversation } = await alice.chat.createDirectConversation('user/bob')
  const bodies = Array.from({ length: 40 }, (_, n) => `number ${n}`)
  const calls = bodies.map((body) => alice.chat.createMessage(conversation, body))
  await calls[7]
  await server.stop()
  await reached(alice.chat, 'waiting')
  await server.start()
  const messages = await Promise.all(calls)
  expect(messages.map(({ body }) => body)).toEqual(bodies)
  expect((await alice.chat.getMessages(conversation)).reverse()).toEqual(messages)
  expect(messages.map(({ seq }) => seq)).toEqual(bodies.map((_, n) => n + 2))
})

test("C6 an own message's event carries the client_id that its reply has, be it given or made by the SDK", async () => {
  await using server = await startServer()
  using alice = await join(server, 'alice')
  const { conversation } = await alice.chat.createDirectConversation('user/bob')
  await alice.events.next()
  for (const client_id of ['my own line', undefined]) {
    const message = await alice.chat.createMessage(conversation, 'hello', {}, null, { client_id })
    expect(message.client_id).toEqual(client_id ?? expect.stringMatching(/^[0-9a-z]{8}[0-9a-f]{24}$/))
    expect(await alice.events.next()).toMatchObject({ record: { id: message.id, client_id: message.client_id } })
  }
})

test('C6, L3 calls that are far too many at once are all done in their time, and the session stays', async () => {
  await using server = await startServer({ limits: { commandsPerSecond: 1_000, commandsBurst: 50 } })
  using alice = await join(server, 'alice')
  const states: string[] = []
  alice.chat.onState(({ status }) => states.push(status))
  const counts = await Promise.all(Array.from({ length: 900 }, () => alice.chat.getUnreadCount()))
  expect(counts).toEqual(Array(900).fill({ conversation: 0, message: 0 }))
  expect(states).not.toContain('waiting')
})

test.each(['user/bob', undefined, null, 7])(
  'C3 %j in place of a list of users is refused by the server',
  async (users) => {
    await using server = await startServer()
    using alice = await join(server, 'alice')
    const { conversation } = await alice.chat.createDirectConversation('user/bob')
    for (const call of [
      alice.chat.createConversation(users as never),
      alice.chat.addParticipants(conversation, users as never),
      alice.chat.addAdmins(conversation, users as never),
      alice.chat.getUsers(users as never),
    ]) {
      await expect(call).rejects.toMatchObject({ name: 'FanfareError', code: 'invalid_argument' })
    }
  },
)
