import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Typing } from '../../src/client/typing.ts'
import { type ErrorCode, FanfareError } from '../../src/protocol/codes.ts'
import type { ConnectResult } from '../../src/protocol/commands.ts'
import type { EventFrame } from '../../src/protocol/frames.ts'
import type { TypingSet } from '../../src/protocol/typing.ts'

const room = 'conversation/1'
const at = '2026-01-01T00:00:00.000Z'
const begin = { event: 'begin', at } as const
const pause = { event: 'pause', at } as const
const finished = { event: 'finished', at } as const

/** A connection by hand: what was sent, and a reply to each subscribe_typing when the test gives it. */
class FakeConnection {
  session: ConnectResult | null = {} as ConnectResult
  settings = { typing_interval_ms: 1_000, typing_expiry_ms: 5_000 }
  sent: string[] = []
  asked: { what: string; reply(typing?: TypingSet): Promise<void>; fail(code?: ErrorCode): Promise<void> }[] = []

  call = (command: string, args: object) => {
    this.sent.push(command)
    return new Promise<never>((resolve, reject) => {
      this.asked.push({
        what: `${command} ${Object.values(args)}`.replace('_typing conversation/', ' '),
        reply: (typing = {}) => settled(() => resolve({ typing } as never)),
        fail: (code = 'not_found') => settled(() => reject(new FanfareError(code, 'no'))),
      })
    })
  }
}

function conversationEvent(event: EventFrame['event']): EventFrame {
  const data = { record_type: 'conversation', event_type: event, record: { id: room }, original_record: null } as const
  return { event, data: data as never, conversation: room, seq: 1, cursor: 'c' }
}

async function settled(settle: () => void): Promise<void> {
  settle()
  for (let turn = 0; turn < 5; turn++) await Promise.resolve()
}

function watch(connection = new FakeConnection()) {
  const typing = new Typing(connection)
  const got: TypingSet[] = []
  const callback = (set: TypingSet) => got.push(set)
  typing.subscribe(room, callback)
  return { connection, typing, got, callback }
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('C1 the callback gets the current set with the reply, and the whole set of each push', async () => {
  const { connection, typing, got } = watch()
  expect(got).toEqual([])
  await connection.asked[0]?.reply({ 'user/a': begin })
  typing.receive({ [room]: { 'user/a': pause, 'user/b': begin } })
  expect(got).toEqual([{ 'user/a': begin }, { 'user/a': pause, 'user/b': begin }])
})

test('C1 an empty current set is told too', async () => {
  const { connection, got } = watch()
  await connection.asked[0]?.reply({})
  expect(got).toEqual([{}])
})

test('T4 callbacks of one conversation share one subscription, and a later one gets the set at once', async () => {
  const { connection, typing, got } = watch()
  await connection.asked[0]?.reply({ 'user/a': begin })
  const later: TypingSet[] = []
  typing.subscribe(room, (set) => later.push(set))
  expect(later, 'not before subscribe has returned').toEqual([])
  await Promise.resolve()
  expect(later).toEqual([{ 'user/a': begin }])
  expect(connection.sent).toEqual(['subscribe_typing'])
  typing.receive({ [room]: {} })
  expect([got.at(-1), later.at(-1)]).toEqual([{}, {}])
})

test('T4 with its last callback a conversation is unsubscribed, and pushes of it are nothing any more', async () => {
  const { connection, typing, got, callback } = watch()
  const other = vi.fn()
  typing.subscribe(room, other)
  await connection.asked[0]?.reply({ 'user/a': begin })
  typing.unsubscribe(room, other)
  expect(connection.sent).toEqual(['subscribe_typing'])
  typing.unsubscribe(room, callback)
  typing.unsubscribe(room, callback)
  expect(connection.sent).toEqual(['subscribe_typing', 'unsubscribe_typing'])
  typing.receive({ [room]: { 'user/b': begin } })
  expect(got).toEqual([{ 'user/a': begin }])
  expect(vi.getTimerCount()).toBe(0)
})

test('C1 unsubscribeTypingIndicator without a callback takes all of them', () => {
  const { connection, typing } = watch()
  typing.subscribe(room, vi.fn())
  typing.unsubscribe(room)
  expect(connection.sent).toEqual(['subscribe_typing', 'unsubscribe_typing'])
})

test('T3 an entry goes by the own clock, typing_expiry_ms + 2 s after it came', async () => {
  const { connection, got } = watch()
  await connection.asked[0]?.reply({ 'user/a': begin })
  vi.advanceTimersByTime(6_999)
  expect(got).toHaveLength(1)
  vi.advanceTimersByTime(1)
  expect(got).toEqual([{ 'user/a': begin }, {}])
  vi.advanceTimersByTime(60_000)
  expect(got).toHaveLength(2)
  expect(vi.getTimerCount()).toBe(0)
})

test("T3 what is said again stays, by the server's expiry", async () => {
  const connection = new FakeConnection()
  connection.settings.typing_expiry_ms = 10_000
  const { typing, got } = watch(connection)
  await connection.asked[0]?.reply({ 'user/a': begin })
  for (let push = 0; push < 5; push++) {
    vi.advanceTimersByTime(11_999)
    typing.receive({ [room]: { 'user/a': begin } })
  }
  expect(got.every((set) => 'user/a' in set)).toBe(true)
  vi.advanceTimersByTime(12_000)
  expect(got.at(-1)).toEqual({})
})

test('T3 who has finished is told once and is not in the set of a later callback', async () => {
  const { connection, typing, got } = watch()
  await connection.asked[0]?.reply({ 'user/a': begin, 'user/b': begin })
  typing.receive({ [room]: { 'user/a': finished, 'user/b': begin } })
  expect(got.at(-1)).toEqual({ 'user/a': finished, 'user/b': begin })
  const later: TypingSet[] = []
  typing.subscribe(room, (set) => later.push(set))
  await Promise.resolve()
  expect(later).toEqual([{ 'user/b': begin }])
  typing.receive({ [room]: { 'user/b': finished } })
  expect(vi.getTimerCount(), 'a set of which all have finished needs no clock').toBe(0)
})

test('T3 all are cleared when the connection is lost, once, and each session subscribes again', async () => {
  const { connection, typing, got } = watch()
  await connection.asked[0]?.reply({ 'user/a': begin })
  connection.session = null
  typing.disconnected()
  typing.disconnected()
  expect(got).toEqual([{ 'user/a': begin }, {}])
  expect(vi.getTimerCount()).toBe(0)
  connection.session = {} as ConnectResult
  typing.connected()
  expect(connection.sent).toEqual(['subscribe_typing', 'subscribe_typing'])
  await connection.asked[1]?.reply({ 'user/b': begin })
  expect(got.at(-1)).toEqual({ 'user/b': begin })
})

test('T4 what is subscribed without a session is asked for when one begins', async () => {
  const connection = new FakeConnection()
  connection.session = null
  const { typing, got } = watch(connection)
  expect(connection.sent).toEqual([])
  typing.connected()
  await connection.asked[0]?.reply({})
  expect(got).toEqual([{}])
})

test('T3 a push that overtakes the reading of the reply is not undone by it', async () => {
  const { connection, typing, got } = watch()
  const reply = connection.asked[0]?.reply({ 'user/a': begin })
  typing.receive({ [room]: { 'user/a': finished } })
  await reply
  expect(got).toEqual([{ 'user/a': finished }])
})

test('T4 the reply to a subscription that was ended meanwhile is not told to the next one', async () => {
  const { connection, typing, got, callback } = watch()
  typing.unsubscribe(room, callback)
  typing.subscribe(room, callback)
  expect(connection.sent).toEqual(['subscribe_typing', 'unsubscribe_typing', 'subscribe_typing'])
  await connection.asked[0]?.reply({ 'user/a': begin })
  expect(got).toEqual([])
  await connection.asked[2]?.reply({})
  expect(got).toEqual([{}])
})

test('T4 the server is not told that nobody watches any more where it does not tell', async () => {
  const { connection, typing } = watch()
  await connection.asked[0]?.fail()
  typing.unsubscribe(room)
  connection.session = null
  typing.subscribe(room, vi.fn())
  typing.unsubscribe(room)
  expect(connection.sent).toEqual(['subscribe_typing'])
})

test('T4 where the server refuses, nobody is seen typing, and the next session asks again', async () => {
  const { connection, typing, got } = watch()
  await connection.asked[0]?.fail()
  expect(got).toEqual([])
  typing.connected()
  await connection.asked[1]?.reply({})
  expect(got).toEqual([{}])
})

test('T4, E5 who is removed sees nobody typing there, and when he is added again the server is asked again', async () => {
  const { connection, typing, got } = watch()
  await connection.asked[0]?.reply({ 'user/a': begin })
  typing.event(conversationEvent('update'))
  typing.event(conversationEvent('delete'))
  expect(got).toEqual([{ 'user/a': begin }, {}])
  expect(vi.getTimerCount()).toBe(0)
  typing.event(conversationEvent('create'))
  await connection.asked[1]?.reply({ 'user/b': begin })
  expect(got.slice(2)).toEqual([{ 'user/b': begin }])
  typing.unsubscribe(room)
})

test('T4, E5 who watches a conversation before he is added to it sees who types from then on', async () => {
  const { connection, typing, got } = watch()
  await connection.asked[0]?.fail()
  typing.event(conversationEvent('create'))
  await connection.asked[1]?.reply({ 'user/b': begin })
  expect(got).toEqual([{ 'user/b': begin }])
  typing.unsubscribe(room)
})

test('T4 the server is not asked again by the event of a conversation that one has just made', () => {
  const { connection, typing } = watch()
  typing.event(conversationEvent('create'))
  typing.event({ ...conversationEvent('create'), conversation: 'conversation/2' })
  expect(connection.sent).toEqual(['subscribe_typing'])
})

test('C1 a callback that is gone before the set could be told is not called', async () => {
  const { connection, typing } = watch()
  await connection.asked[0]?.reply({ 'user/a': begin })
  const later = vi.fn()
  typing.subscribe(room, later)
  typing.unsubscribe(room, later)
  await Promise.resolve()
  expect(later).not.toHaveBeenCalled()
})

test('C1 a callback that unsubscribes itself leaves no clock behind', async () => {
  const connection = new FakeConnection()
  const typing = new Typing(connection)
  typing.subscribe(room, () => typing.unsubscribe(room))
  await connection.asked[0]?.reply({ 'user/a': begin })
  expect(vi.getTimerCount()).toBe(0)
})

test('T3 when a callback loses the connection, nobody is left typing for the others', () => {
  const { typing } = watch()
  const later = vi.fn()
  const losing = vi.fn(() => typing.disconnected())
  typing.subscribe(room, losing)
  typing.subscribe(room, later)
  typing.receive({ [room]: { 'user/a': begin } })
  expect(later.mock.calls).toEqual([[{}]])
})

test('T3 when a callback loses the connection as somebody finishes, the others are told that he has', () => {
  const { typing } = watch()
  const later = vi.fn()
  const losing = vi.fn()
  typing.subscribe(room, losing)
  typing.subscribe(room, later)
  typing.receive({ [room]: { 'user/a': begin } })
  losing.mockImplementation(() => typing.disconnected())
  typing.receive({ [room]: { 'user/a': finished } })
  expect(later).toHaveBeenLastCalledWith({ 'user/a': finished })
  typing.unsubscribe(room)
})

/** Watches conversations 1 to `count`. */
function watchMany(count: number) {
  const connection = new FakeConnection()
  const typing = new Typing(connection)
  for (let n = 1; n <= count; n++) typing.subscribe(`conversation/${n}`, () => {})
  return { connection, typing, asked: () => connection.asked.splice(0).map(({ what }) => what) }
}

test('T4 of many conversations eight are asked for at once, and the next with each reply', async () => {
  const { connection, asked } = watchMany(11)
  const first = [...connection.asked]
  expect(asked()).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((n) => `subscribe ${n}`))
  await first[3]?.reply()
  await first[0]?.fail()
  expect(asked()).toEqual(['subscribe 9', 'subscribe 10'])
})

test('T4 after conflict no more are asked for until one is given up, then the next that waits', async () => {
  const { connection, typing, asked } = watchMany(12)
  const first = [...connection.asked]
  asked()
  for (const one of first.slice(0, 6)) await one.fail('conflict')
  await first[6]?.reply()
  expect(asked()).toEqual([])
  // One that waits makes no room, nor does who comes last go first.
  typing.unsubscribe('conversation/9')
  typing.subscribe('conversation/13', () => {})
  expect(asked()).toEqual([])
  typing.unsubscribe('conversation/7')
  const [end] = connection.asked
  expect(asked()).toEqual(['unsubscribe 7'])
  await end?.reply()
  expect(asked().slice(0, 2)).toEqual(['subscribe 10', 'subscribe 11'])
})

test('T4, E5 after conflict the end of a part in a watched conversation makes room as well', async () => {
  const { connection, typing, asked } = watchMany(2)
  const [first, second] = connection.asked
  await first?.reply()
  await second?.fail('conflict')
  asked()
  typing.event(conversationEvent('delete'))
  expect(asked()).toEqual(['subscribe 2'])
})

test('T4 a session asks anew for all, also after one in which it was conflict', async () => {
  const { connection, typing, asked } = watchMany(2)
  const first = [...connection.asked]
  asked()
  connection.session = null
  typing.disconnected()
  for (const one of first) await one.fail('conflict')
  connection.session = {} as ConnectResult
  typing.connected()
  expect(asked()).toEqual(['subscribe 1', 'subscribe 2'])
})
