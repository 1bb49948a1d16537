/** Rates (L3): each at its edge and one beyond, by a clock that stands still, and what becomes of who goes on. */
import { describe, expect, it, vi } from 'vitest'
import { defaultLimits, noLimits } from '../../src/engine/config.ts'
import { Rates } from '../../src/engine/rates.ts'
import type { CommandName } from '../../src/protocol/commands.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { open, type RawSession } from '../../src/testing/raw-session.ts'
import type { SocketPair } from '../../src/testing/socket-pair.ts'
import { startEngine, type TestEngine } from '../../src/testing/start-engine.ts'
import { alice, bob, codeOf, openRoom, openStage, refusal, say, typingOf } from '../chat/stage.ts'
import { sendBytes } from './raw-tcp.ts'

/** The limits of a server as it is shipped: those of tests have no rates. */
const limits = defaultLimits

/** What came of so many of the same command at once: how many were done, and the errors of the others. */
async function attempt(session: RawSession, count: number, command: CommandName, args: object = {}) {
  const outcomes = await Promise.allSettled(Array.from({ length: count }, () => session.commandOf({ command, args })))
  const errors = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
  return { done: count - errors.length, errors }
}

/** A session of alice in memory. */
async function connected(started: TestEngine): Promise<SocketPair> {
  const pair = started.open()
  pair.say(JSON.stringify({ id: 0, command: 'connect', args: { token: await started.token(alice) } }))
  pair.pumpToServer()
  await vi.waitFor(() => {
    pair.pumpToPeer()
    expect(pair.texts).toHaveLength(1)
  })
  return pair
}

/** The peer says it, and the server has answered what needs no storage. */
async function sayAndSettle(pair: SocketPair, text: string): Promise<void> {
  pair.say(text)
  pair.pumpToServer()
  await new Promise(setImmediate)
  pair.pumpToPeer()
}

const tooFast = (retry_after_ms: number) => ({ code: 'rate_limited', details: { retry_after_ms } })

describe('commands of a session', () => {
  it('L3 200 at once are done, the next is rate_limited, and from then on one is done each 20 ms', async () => {
    await using stage = await openStage({ limits })
    const { clock } = stage
    const session = await stage.connect(alice)
    clock.advance(20)
    const { done, errors } = await attempt(session, 203, 'ping')
    expect([done, errors]).toEqual([200, Array(3).fill(expect.objectContaining(tooFast(20)))])
    expect(errors[0].toJSON()).toMatchObject({ retryable: true })
    clock.advance(19)
    expect(await refusal(session.command('ping'))).toMatchObject(tooFast(1))
    clock.advance(1)
    expect((await attempt(session, 2, 'ping')).done).toBe(1)
    clock.advance(1_000)
    expect((await attempt(session, 60, 'ping')).done).toBe(50)
    // However long it was quiet, it is 200 at once.
    clock.advance(20_000)
    expect((await attempt(session, 210, 'get_unread_count')).done).toBe(200)
  })

  it('L3 what is refused is not done, and not answered where it has no id', async () => {
    await using stage = await openStage({ limits: { ...limits, commandsBurst: 3 } })
    const session = await stage.connect(alice)
    await attempt(session, 2, 'ping')
    const before = session.frames.length
    session.send('{"command":"update_user","args":{"name":"refused"}}')
    expect(await codeOf(session.command('update_user', { name: 'refused too' }))).toBe('rate_limited')
    expect(session.frames).toHaveLength(before + 1)
    stage.clock.advance(20)
    const { users } = await session.command('get_users', { users: [alice] })
    expect(users).toMatchObject([{ name: null }])
  })

  it('L3 each session counts for itself, so that nobody pays for another', async () => {
    await using stage = await openStage({ limits })
    const [one, other, bobs] = [await stage.connect(alice), await stage.connect(alice), await stage.connect(bob)]
    expect((await attempt(one, 250, 'ping')).done).toBe(199)
    for (const session of [other, bobs]) expect((await attempt(session, 199, 'ping')).done).toBe(199)
  })

  it('L3 commands before connect count too', async () => {
    await using started = await startEngine({ limits })
    const pair = started.open()
    const bad = '{"id":1,"command":"connect","args":{"cursor":7}}'
    for (let count = 0; count < 200; count++) await sayAndSettle(pair, bad)
    const codes = () => new Set(pair.texts.splice(0).map((text) => JSON.parse(text).error.code))
    expect(codes()).toEqual(new Set(['invalid_argument']))
    await sayAndSettle(pair, bad)
    expect(codes()).toEqual(new Set(['rate_limited']))
  })

  it('L3 who goes on until ten times the burst has been refused is closed with 4429', async () => {
    await using started = await startEngine({ limits })
    const pair = await connected(started)
    const ping = (count: number) => {
      for (let sent = 0; sent < count; sent++) pair.say('{"id":1,"command":"ping"}')
      pair.pumpToServer()
      pair.pumpToPeer()
    }
    ping(199 + 2_000)
    expect(pair.ending).toBeNull()
    ping(1)
    expect(pair.ending).toEqual({ code: 4429, reason: 'rate_limited' })
    expect(started.engine.sessions.size).toBe(0)
    expect(started.engine.hub.sessions(alice)).toEqual([])
  })

  it('L3 who sends far too much without ids, or typing, or before connect, is closed with 4429', async () => {
    await using started = await startEngine({ limits })
    const conversation = 'conversation/018f0000-0000-7000-8000-000000000000'
    for (const frame of [
      '{"command":"ping"}',
      '{"command":"typing","args":{"nonsense":1}}',
      `{"command":"typing","args":{"conversation":"${conversation}","event":"begin"}}`,
    ]) {
      const pair = await connected(started)
      for (let sent = 0; sent < 3_000; sent++) pair.say(frame)
      pair.pumpToServer()
      pair.pumpToPeer()
      expect(pair.ending, frame).toEqual({ code: 4429, reason: 'rate_limited' })
    }
    const early = started.open()
    for (let sent = 0; sent < 3_000 && !early.ending; sent++) {
      await sayAndSettle(early, '{"command":"connect","args":{"token":7}}')
    }
    expect(early.ending).toEqual({ code: 4429, reason: 'rate_limited' })
  })

  it('L3 who is only a little too fast, for however long, is refused what is too much and stays', async () => {
    await using started = await startEngine({ limits })
    const pair = await connected(started)
    const seconds = 300
    for (let step = 0; step < seconds * 50; step++) {
      for (let sent = 0; sent < 2; sent++) pair.say('{"id":1,"command":"ping"}')
      pair.pumpToServer()
      pair.pumpToPeer()
      started.clock.advance(20)
    }
    expect(pair.ending).toBeNull()
    const done = pair.texts.filter((text) => text.includes('result')).length
    expect(done).toBeGreaterThanOrEqual(seconds * 50)
    expect(done).toBeLessThanOrEqual(seconds * 50 + 202)
  })

  it('L3 a clock that is set back, or far ahead, makes nobody wait for it', async () => {
    await using started = await startEngine({ limits })
    const { engine, clock } = started
    const pace = engine.rates.newPace()!
    for (const now of [clock.now(), clock.now() + 1e12, clock.now(), 0]) {
      for (let count = 0; count < 200; count++) pace.command(now)
      expect(pace.command(now)).toBeGreaterThan(0)
      expect(pace.command(now)).toBeLessThanOrEqual(20)
      expect(pace.command(now + 20)).toBe(0)
    }
  })
})

describe('messages of a user', () => {
  it('L3 100 at once on all his sessions and over HTTP, sent or edited, then one each 50 ms', async () => {
    await using room = await openRoom({ limits })
    const { stage, clock, conversation } = room
    clock.advance(10_000)
    const second = await stage.connect(alice)
    const first = await say(room.alice, conversation, 'first')
    const headers = { authorization: `Bearer ${await stage.server.token('alice')}` }
    const send = () => stage.server.call('create_message', { conversation, body: 'http' }, undefined, headers)
    expect((await attempt(room.alice, 40, 'create_message', { conversation, body: 'one' })).done).toBe(40)
    expect((await attempt(second, 40, 'edit_message', { message: first.id, body: 'two' })).done).toBe(40)
    for (let count = 0; count < 19; count++) expect((await send()).status).toBe(200)

    for (const session of [room.alice, second]) {
      expect(await refusal(say(session, conversation, 'too much'))).toMatchObject(tooFast(50))
      const edit = session.command('edit_message', { message: first.id, body: 'too much' })
      expect(await refusal(edit)).toMatchObject(tooFast(50))
    }
    const refused = await send()
    expect([refused.status, refused.error.code, refused.headers.get('retry-after')]).toEqual([429, 'rate_limited', '1'])

    // Everything else goes on, and so does everybody else.
    await second.command('mark_as_last_message_read', { conversation, message: first.id })
    await say(room.bob, conversation, 'hello')
    clock.advance(50)
    await say(second, conversation, 'in time')
    expect(await codeOf(say(room.alice, conversation, 'not in time'))).toBe('rate_limited')
    const bodies = (await room.bob.rest()).map((push) => JSON.stringify(push))
    expect(bodies.some((text) => text.includes('too much') || text.includes('not in time'))).toBe(false)
  })

  it('L3 the API key has no rate, on whoever’s behalf', async () => {
    await using room = await openRoom({ limits: { ...limits, messagesBurst: 3, commandsBurst: 10 } })
    const { server } = room.stage
    for (let count = 0; count < 20; count++) {
      const args = { conversation: room.conversation, body: `${count}` }
      expect((await server.call('create_message', args, alice)).status).toBe(200)
    }
    // Nor does the backend use up what the user has.
    await say(room.alice, room.conversation, 'mine')
  })
})

describe('calls over HTTP', () => {
  it('L3 a user’s calls are 200 at once and 50 a second, apart from his sessions; then 429 with Retry-After', async () => {
    await using stage = await openStage({ limits: { ...limits, commandsBurst: 20 } })
    const { server, clock } = stage
    const session = await stage.connect(alice)
    const call = async (user: string) => {
      const headers = { authorization: `Bearer ${await server.token(user)}` }
      return server.call('get_unread_count', {}, undefined, headers)
    }
    const statuses = []
    for (let count = 0; count < 22; count++) statuses.push((await call('alice')).status)
    expect(statuses).toEqual([...Array(20).fill(200), 429, 429])
    const { error, headers } = await call('alice')
    expect(error).toMatchObject({ ...tooFast(20), retryable: true })
    expect(headers.get('retry-after')).toBe('1')
    expect((await call('bob')).status).toBe(200)
    expect((await attempt(session, 19, 'ping')).done).toBe(19)
    clock.advance(20)
    expect([(await call('alice')).status, (await call('alice')).status]).toEqual([200, 429])
  })
})

describe('typing', () => {
  it('T5, L3 what comes faster is merged: it is never an error, uses up no commands, and finished is always done', async () => {
    await using room = await openRoom({ limits })
    const { conversation, clock } = room
    clock.advance(20_000)
    await room.bob.command('subscribe_typing', { conversation })
    const typing = (count: number, event: string) => attempt(room.alice, count, 'typing', { conversation, event })
    expect(await typing(50, 'begin')).toEqual({ done: 50, errors: [] })
    expect(typingOf(await room.bob.nextTyping(), conversation)).toMatchObject({ [alice]: { event: 'begin' } })
    // The state that was told last holds on.
    expect(await typing(5, 'pause')).toEqual({ done: 5, errors: [] })
    clock.advance(99)
    expect(await typing(5, 'pause')).toEqual({ done: 5, errors: [] })
    expect(await room.bob.rest()).toEqual([])
    clock.advance(1)
    await typing(1, 'pause')
    clock.advance(250)
    expect(typingOf(await room.bob.nextTyping(), conversation)).toMatchObject({ [alice]: { event: 'pause' } })
    await typing(10, 'pause')
    clock.advance(250)
    await typing(10, 'pause')
    await typing(1, 'finished')
    clock.advance(250)
    expect(typingOf(await room.bob.nextTyping(), conversation)).toMatchObject({ [alice]: { event: 'finished' } })
    expect((await attempt(room.alice, 201, 'ping')).done).toBe(200)
  })

  it('T5, L3 what comes faster over HTTP is merged, and never an error', async () => {
    await using room = await openRoom({ limits: { ...limits, typingBurst: 2 } })
    const { conversation, clock, stage } = room
    await room.bob.command('subscribe_typing', { conversation })
    const headers = { authorization: `Bearer ${await stage.server.token('alice')}` }
    const tell = async (event: 'begin' | 'pause' | 'finished') =>
      (await stage.server.call('typing', { conversation, event }, undefined, headers)).status
    expect([await tell('begin'), await tell('begin'), await tell('pause'), await tell('pause')]).toEqual(
      Array(4).fill(200),
    )
    clock.advance(250)
    expect(typingOf(await room.bob.nextTyping(), conversation)).toMatchObject({ [alice]: { event: 'begin' } })
    expect(await tell('finished')).toBe(200)
    clock.advance(5_000)
    expect(typingOf(await room.bob.nextTyping(), conversation)).toMatchObject({ [alice]: { event: 'finished' } })
  })

  it('T1, L3 storage is not asked for what comes too fast, be it of conversations that nobody has', async () => {
    await using started = await startEngine({ limits })
    const pair = await connected(started)
    const { conversations } = started.engine.storage
    const { membership } = conversations
    let asked = 0
    conversations.membership = (conversation) => {
      asked++
      return membership.call(conversations, conversation)
    }
    for (let sent = 0; sent < 1_000; sent++) {
      const conversation = `conversation/018f0000-0000-7000-8000-${String(sent).padStart(12, '0')}`
      const event = ['begin', 'finished'][sent % 2]
      pair.say(JSON.stringify({ command: 'typing', args: { conversation, event } }))
    }
    pair.pumpToServer()
    // Not all are under way at once (L2).
    await vi.waitFor(() => expect(asked).toBe(50))
  })
})

describe('new sessions of an address', () => {
  it('L3 as many as the burst at once, then as many a second as the rate; the next is refused with 429 and Retry-After before it is a session', async () => {
    await using stage = await openStage({
      limits: { ...limits, unauthenticatedPerAddress: 0, sessionsPerSecondPerAddress: 100, sessionsBurstPerAddress: 5 },
    })
    const { server, clock } = stage
    await using opened = new AsyncDisposableStack()
    for (let count = 0; count < 5; count++) opened.use(await open(server))
    await expect(open(server)).rejects.toThrow('429')
    const head = [
      'GET /v2/socket HTTP/1.1',
      'Host: a',
      'Upgrade: websocket',
      'Connection: Upgrade',
      'Sec-WebSocket-Version: 13',
      'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
    ]
    await using tcp = await sendBytes(server, `${head.join('\r\n')}\r\n\r\n`)
    await tcp.closed
    expect(tcp.text).toMatch(/^HTTP\/1\.1 429 Too Many Requests\r\n/)
    expect(tcp.text).toContain('\r\nRetry-After: 1\r\n')
    const { error } = JSON.parse(tcp.text.slice(tcp.text.indexOf('\r\n\r\n')))
    expect(error).toMatchObject({ ...tooFast(10), retryable: true })
    clock.advance(10)
    opened.use(await open(server))
    await expect(open(server)).rejects.toThrow('429')
    // Calls over HTTP are no sessions.
    expect((await server.call('get_unread_count', {}, alice)).status).toBe(200)
  })
})

describe('rates that are turned off', () => {
  it('L4 with 0 for either of a pair, or with noLimits, there is no rate', async () => {
    const rates = ['commands', 'messages', 'typing'] as const
    const off = [
      noLimits,
      { ...limits, ...Object.fromEntries(rates.map((name) => [`${name}PerSecond`, 0])) },
      { ...limits, ...Object.fromEntries(rates.map((name) => [`${name}Burst`, 0])) },
    ]
    for (const some of off) {
      await using room = await openRoom({ limits: { ...some, unauthenticatedPerAddress: 0 } })
      expect(await attempt(room.alice, 500, 'ping')).toEqual({ done: 500, errors: [] })
      const { conversation } = room
      expect((await attempt(room.alice, 300, 'create_message', { conversation, body: 'x' })).done).toBe(300)
      expect((await attempt(room.alice, 300, 'typing', { conversation, event: 'begin' })).done).toBe(300)
    }
    const none = new Rates(noLimits)
    expect(none.newPace()).toBeNull()
    for (let count = 0; count < 1_000; count++) expect(none.session('192.0.2.1', 0)).toBe(0)
  })
})

describe('what rates cost', () => {
  it('L3 users and addresses are held no longer than they count', () => {
    const rates = new Rates(limits)
    const come = (from: number, now: number) => {
      for (let index = from; index < from + 20_000; index++) {
        const user: UserId = `user/${index}`
        rates.message(user, now)
        rates.session(`network-${index}`, now)
        rates.paceOf(user, now)?.command(now)
      }
    }
    come(0, 0)
    expect(rates.size).toBe(60_000)
    for (let round = 1; round < 20; round++) come(round * 20_000, round * 60_000)
    expect(rates.size).toBeLessThanOrEqual(2 * 60_000)
    // Who is not full is never let go, or he would have more than his share.
    const hasty: UserId = 'user/hasty'
    for (let count = 0; count < 100; count++) rates.message(hasty, 2_000_000)
    come(1_000_000, 2_000_001)
    expect(rates.message(hasty, 2_000_002)).toBeGreaterThan(0)
  })
})
