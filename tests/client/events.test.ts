import { afterEach, expect, test, vi } from 'vitest'
import type { Chat, Gap, RecordEvent } from '../../src/client/index.ts'
import { answered, caughtUp, cutAndReturn, holdTime, openChat, openSession, reached, recorder } from './open-chat.ts'
import { ScriptedServer, type ScriptedSession } from './scripted-server.ts'

const cat = 'conversation/cat'
const dog = 'conversation/dog'

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

/** A push of a message of a conversation, with a cursor that says the same. */
function message(conversation: string, seq: number) {
  const name = `${conversation.slice('conversation/'.length)} ${seq}`
  const data = { record_type: 'message', event_type: 'create', record: { id: name }, original_record: null }
  return { event: 'create', data, conversation, seq, cursor: name }
}

/** A push of a conversation itself. */
function told(event_type: string, conversation: string, seq: number) {
  const push = message(conversation, seq)
  const data = { record_type: 'conversation', event_type, record: { id: `${push.cursor} ${event_type}` } }
  return { ...push, event: event_type, data }
}

/** A push that concerns the user alone. */
function read(cursor: string) {
  const data = { record_type: 'user_conversation', event_type: 'update', record: { id: cursor }, original_record: null }
  return { event: 'update', data, cursor }
}

function gap(conversation: string, after_seq: number, before_seq: number) {
  return { gap: { conversation, after_seq, before_seq } }
}

/** What the callbacks of a chat are given, in order: events by name, gaps and resets. */
function watch(chat: Chat) {
  const log = recorder<string>()
  chat.subscribe(({ record }: RecordEvent) => log.callback(record.id))
  chat.onGap(({ conversation, after_seq, before_seq }: Gap) => {
    log.callback(`gap ${conversation.slice('conversation/'.length)} ${after_seq}-${before_seq}`)
  })
  chat.onReset(() => log.callback('reset'))
  return log
}

/** Takes the next get_events, which must ask for what is behind `after_seq`. It gives what answers it: with events of these numbers. */
async function asked(session: ScriptedSession, conversation: string, after_seq: number) {
  const { id, args } = await session.command('get_events')
  expect(args).toEqual({ conversation, after_seq })
  return Object.assign(
    (...seqs: number[]) => session.reply(id, { events: seqs.map((seq) => message(conversation, seq)) }),
    {
      events: (events: object[]) => session.reply(id, { events }),
      fail: (code: string, details?: object) => session.fail(id, code, details),
    },
  )
}

test('C4 an event that comes twice is given out once', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const seq of [7, 7, 8, 7, 8, 9]) session.send(message(cat, seq))
  await answered(chat, session)
  expect(log.got).toEqual(['cat 7', 'cat 8', 'cat 9'])
})

test('C4 what a resuming server sends again is not given out again', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), message(dog, 1), message(cat, 2)]) session.send(push)
  await answered(chat, session)
  const again = await cutAndReturn(server, chat, session)
  expect(await again.resume()).toBe('cat 2')
  await reached(chat, 'connected')
  for (const push of [message(dog, 1), message(cat, 2), message(cat, 3), message(dog, 2)]) again.send(push)
  await answered(chat, again)
  expect(log.got).toEqual(['cat 1', 'dog 1', 'cat 2', 'cat 3', 'dog 2'])
})

test('C4 the first event of a conversation begins its counting, whatever its number', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 40), message(dog, 3), message(cat, 41)]) session.send(push)
  await answered(chat, session)
  expect(log.got).toEqual(['cat 40', 'dog 3', 'cat 41'])
  expect(session.unread).toEqual([])
})

test('C4 a missing event is fetched before later ones of its conversation are given out, while others go on', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), message(cat, 3), message(dog, 1), message(cat, 4)]) session.send(push)
  const answer = await asked(session, cat, 1)
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'dog 1'])
  answer(2, 3)
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'dog 1', 'cat 2', 'cat 3', 'cat 4'])
  session.send(message(cat, 5))
  await answered(chat, session)
  expect(log.got.at(-1)).toBe('cat 5')
})

test('C4 what is missing is fetched page by page, and what comes meanwhile waits', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const seq of [1, 6]) session.send(message(cat, seq))
  const first = await asked(session, cat, 1)
  first(2, 3)
  const second = await asked(session, cat, 3)
  session.send(message(cat, 7))
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'cat 2', 'cat 3'])
  // A page may hold what was pushed already, and what was not yet.
  second(4, 5, 6, 7, 8)
  session.send(message(cat, 8))
  await answered(chat, session)
  expect(log.got).toEqual([1, 2, 3, 4, 5, 6, 7, 8].map((seq) => `cat ${seq}`))
})

test('C4 several conversations with something missing are fetched one page at a time, in turns', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), message(dog, 1), message(cat, 9), message(dog, 3)]) session.send(push)
  const first = await asked(session, cat, 1)
  await answered(chat, session)
  first(2, 3)
  const second = await asked(session, dog, 1)
  await answered(chat, session)
  second(2)
  const third = await asked(session, cat, 3)
  third(4, 5, 6, 7, 8)
  await answered(chat, session)
  expect(log.got.filter((name) => name.startsWith('cat'))).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9].map((n) => `cat ${n}`))
  expect(log.got.filter((name) => name.startsWith('dog'))).toEqual(['dog 1', 'dog 2', 'dog 3'])
})

test('C4 one that was late needs no fetching any more when it comes', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const seq of [1, 4, 3]) session.send(message(cat, seq))
  const answer = await asked(session, cat, 1)
  session.send(message(cat, 2))
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'cat 2', 'cat 3', 'cat 4'])
  answer(2, 3, 4)
  session.send(message(cat, 5))
  await answered(chat, session)
  expect(log.got.slice(4)).toEqual(['cat 5'])
})

test('C4 what a gap push leaves out is fetched from what was given out, before the events behind it', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), gap(cat, 0, 4), message(cat, 4)]) session.send(push)
  const answer = await asked(session, cat, 1)
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1'])
  answer(2, 3)
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'cat 2', 'cat 3', 'cat 4'])
})

test('C4 a gap push with no event before or behind it is filled as well, and one of what is known is nothing', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  session.send(gap(cat, 40, 43))
  const answer = await asked(session, cat, 40)
  answer(41, 42)
  await answered(chat, session)
  expect(log.got).toEqual(['cat 41', 'cat 42'])
  for (const push of [gap(cat, 40, 43), message(cat, 43)]) session.send(push)
  await answered(chat, session)
  expect(log.got.at(-1)).toBe('cat 43')
  expect(chat.cursor).toBe('cat 43')
})

test.each(['conflict', 'not_found', 'internal'])(
  'C4 a hole for which get_events says %s is told by onGap, and the counting goes on behind it',
  async (code) => {
    await using server = await ScriptedServer.start()
    using opened = await openSession(server)
    const { chat, session } = opened
    const log = watch(chat)
    for (const seq of [1, 5, 6, 8]) session.send(message(cat, seq))
    const answer = await asked(session, cat, 1)
    answer.fail(code)
    await answered(chat, session)
    session.send(message(cat, 9))
    await answered(chat, session)
    expect(log.got).toEqual(['cat 1', 'gap cat 1-5', 'cat 5', 'cat 6', 'gap cat 6-8', 'cat 8', 'cat 9'])
    expect(session.unread).toEqual([])
  },
)

test('C4 a gap push that cannot be filled is told by onGap, also when nothing comes behind it', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), gap(cat, 1, 900)]) session.send(push)
  const answer = await asked(session, cat, 1)
  answer.fail('conflict')
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'gap cat 1-900'])
  session.send(message(cat, 900))
  await answered(chat, session)
  expect(log.got.at(-1)).toBe('cat 900')
})

test('C4 what pages do not cover is told by onGap: before them, within, and behind', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), message(cat, 3), message(cat, 9)]) session.send(push)
  const first = await asked(session, cat, 1)
  first(5, 7)
  const second = await asked(session, cat, 7)
  second()
  await answered(chat, session)
  expect(log.got).toEqual([
    ...['cat 1', 'gap cat 1-3', 'cat 3', 'gap cat 3-5', 'cat 5'],
    ...['gap cat 5-7', 'cat 7', 'gap cat 7-9', 'cat 9'],
  ])
})

test('C4 a break while something is fetched takes nothing away: it is asked for again in the next session', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), message(cat, 3), message(dog, 1)]) session.send(push)
  await asked(session, cat, 1)
  await answered(chat, session)
  const again = await cutAndReturn(server, chat, session)
  expect(await again.resume()).toBe('cat 1')
  const answer = await asked(again, cat, 1)
  for (const push of [message(cat, 3), message(dog, 1), message(cat, 4)]) again.send(push)
  await answered(chat, again)
  expect(log.got).toEqual(['cat 1', 'dog 1'])
  answer(2, 3)
  await answered(chat, again)
  expect(log.got).toEqual(['cat 1', 'dog 1', 'cat 2', 'cat 3', 'cat 4'])
  expect(again.unread).toEqual([])
})

test('C4 get_events that the server puts off is asked again for as long as it takes', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const seq of [1, 3]) session.send(message(cat, seq))
  for (let times = 0; times < 8; times++) {
    const answer = await asked(session, cat, 1)
    answer.fail('unavailable')
    await caughtUp(session)
    vi.advanceTimersByTime(500)
  }
  const limited = await asked(session, cat, 1)
  limited.fail('rate_limited', { retry_after_ms: 70 })
  await caughtUp(session)
  vi.advanceTimersByTime(70)
  const answer = await asked(session, cat, 1)
  answer(2)
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'cat 2', 'cat 3'])
})

test('C4 the cursor stays before what is held back, and is behind the event at hand in each callback', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = recorder<string>()
  chat.subscribe(({ record }) => log.callback(`${record.id} at ${chat.cursor}`))
  chat.onGap(() => log.callback(`gap at ${chat.cursor}`))
  for (const push of [message(cat, 1), message(dog, 1), message(cat, 3), read('mine'), message(dog, 4)]) {
    session.send(push)
  }
  const first = await asked(session, cat, 1)
  session.send(message(dog, 5))
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1 at cat 1', 'dog 1 at dog 1', 'mine at dog 1'])
  expect(chat.cursor).toBe('dog 1')
  first(2)
  const second = await asked(session, dog, 1)
  expect(log.got.slice(3), 'the other conversation holds it before its own first').toEqual([
    'cat 2 at dog 1',
    'cat 3 at mine',
  ])
  second.fail('conflict')
  await answered(chat, session)
  expect(log.got.slice(5)).toEqual(['gap at mine', 'dog 4 at mine', 'dog 5 at dog 5'])
})

test('C4 events of the user alone come as they come, once or more, and wait for nothing', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), message(cat, 3), read('a'), read('b'), read('a')]) session.send(push)
  const answer = await asked(session, cat, 1)
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'a', 'b', 'a'])
  answer(2)
})

test('C4 when a cursor is answered resumed:false, onReset is told and the counting begins anew', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), message(cat, 2), message(dog, 1), message(dog, 3)]) session.send(push)
  await asked(session, dog, 1)
  const again = await cutAndReturn(server, chat, session)
  await again.begin({ cursor: 'other data' })
  await reached(chat, 'connected')
  expect(chat.cursor).toBe('other data')
  // What was asked for in the old count comes to nothing.
  const answer = await asked(again, dog, 1)
  answer(2)
  await answered(chat, again)
  for (const push of [message(cat, 1), message(dog, 8), message(dog, 9)]) again.send(push)
  await answered(chat, again)
  expect(log.got).toEqual(['cat 1', 'cat 2', 'dog 1', 'reset', 'cat 1', 'dog 8', 'dog 9'])
})

test('C4 a first session without a cursor is no reset; one whose kept cursor is too old is; one that goes on is not', async () => {
  await using server = await ScriptedServer.start()
  for (const [cursor, resumed, resets] of [
    [null, false, 0],
    ['kept', false, 1],
    ['kept', true, 0],
  ] as const) {
    using opened = openChat(server, { cursor })
    const reset = vi.fn()
    opened.chat.onReset(reset)
    const session = await server.session()
    await session.begin({ resumed })
    await reached(opened.chat, 'connected')
    expect(reset).toHaveBeenCalledTimes(resets)
  }
})

test('C4 a chat that is closed when it is told of a reset stays closed', async () => {
  await using server = await ScriptedServer.start()
  using opened = openChat(server, { cursor: 'kept' })
  const { chat } = opened
  const states: string[] = []
  chat.onState(({ status }) => states.push(status))
  chat.onReset(() => chat.close())
  const session = await server.session()
  await session.begin()
  await session.closed
  expect(states).toEqual(['closed'])
})

test('C4 onGap and onReset tell nothing more once they are stopped', async () => {
  await using server = await ScriptedServer.start()
  holdTime()
  using opened = await openSession(server)
  const { chat, session } = opened
  const stopped = vi.fn()
  chat.onGap(stopped)()
  chat.onReset(stopped)()
  for (const seq of [1, 3]) session.send(message(cat, seq))
  const answer = await asked(session, cat, 1)
  answer()
  await answered(chat, session)
  const again = await cutAndReturn(server, chat, session)
  await again.begin()
  await reached(chat, 'connected')
  expect(stopped).not.toHaveBeenCalled()
})

test('C4, E5 for who is added again create begins the counting anew: what was before is not missing', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(cat, 1), told('delete', cat, 2), told('create', cat, 30), message(cat, 31)]) {
    session.send(push)
  }
  // Also where the going was not told.
  for (const push of [told('create', cat, 40), message(cat, 41)]) session.send(push)
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'cat 2 delete', 'cat 30 create', 'cat 31', 'cat 40 create', 'cat 41'])
  expect(session.unread).toEqual([])
})

test('C4, E5 delete of a conversation ends the waiting for what was missed of it, which is told by nothing', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  for (const push of [message(dog, 1), message(cat, 1), told('delete', dog, 5), message(cat, 3)]) session.send(push)
  const answer = await asked(session, cat, 1)
  session.send(told('delete', cat, 6))
  await answered(chat, session)
  expect(log.got).toEqual(['dog 1', 'cat 1', 'dog 5 delete', 'cat 3', 'cat 6 delete'])
  expect(chat.cursor).toBe('cat 6')
  answer.fail('not_found')
  await answered(chat, session)
  expect(log.got).toHaveLength(5)
})

test('C4, E5 what comes again from before a delete is not given out again, and a gap over the coming back is filled', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  const stay = [message(cat, 1), told('delete', cat, 2)]
  for (const push of [...stay, ...stay, gap(cat, 29, 32), message(cat, 32)]) session.send(push)
  const answer = await asked(session, cat, 2)
  answer.events([told('create', cat, 30), message(cat, 31)])
  await answered(chat, session)
  expect(log.got).toEqual(['cat 1', 'cat 2 delete', 'cat 30 create', 'cat 31', 'cat 32'])
})

test('C4 of more than 1,000 events that wait the first are let go, and fetched in their turn', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  session.send(message(cat, 1))
  for (let seq = 3; seq <= 1_005; seq++) session.send(message(cat, seq))
  const first = await asked(session, cat, 1)
  await answered(chat, session)
  first(2)
  const second = await asked(session, cat, 2)
  second(3, 4)
  const third = await asked(session, cat, 4)
  third(5)
  await answered(chat, session)
  expect(log.got).toEqual(Array.from({ length: 1_005 }, (_, index) => `cat ${index + 1}`))
})

test('C4 a chat that is closed by a callback gives out no more of what waited, and keeps the cursor before it', async () => {
  await using server = await ScriptedServer.start()
  using opened = await openSession(server)
  const { chat, session } = opened
  const log = watch(chat)
  chat.subscribe(({ record }) => {
    if (String(record.id) === 'cat 3') chat.close()
  })
  for (const seq of [1, 3, 4]) session.send(message(cat, seq))
  const answer = await asked(session, cat, 1)
  answer(2)
  await session.closed
  expect(log.got).toEqual(['cat 1', 'cat 2', 'cat 3'])
  expect(chat.cursor).toBe('cat 1')
})
