/** A session from its first command to its end: connect (S1), the greeting (S3), the token's end (S4), pings (S5). */
import { once } from 'node:events'
import { describe, expect, it, vi } from 'vitest'
import { noLimits } from '../../src/engine/config.ts'
import { connect, open, RawSession } from '../../src/testing/raw-session.ts'
import { startEngine } from '../../src/testing/start-engine.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { codeOf, openRoom, openStage, say } from '../chat/stage.ts'
import { makeKey, signed, startKeyServer } from './key-server.ts'
import { commandNames, sampleArgs } from './sample-args.ts'

const unauthorized = { code: 4401, reason: 'unauthorized' }
const pingTimeout = { code: 4408, reason: 'ping_timeout' }

/** Resolves when the server has read all that the session sent, WebSocket's own frames too. */
async function reached(session: RawSession): Promise<void> {
  const answered = once(session.webSocket, 'pong')
  session.webSocket.ping()
  await answered
}

describe('connect', () => {
  it('S1 who has not connected within 10 s is closed with 4401, and who has stays', async () => {
    await using stage = await openStage()
    await using late = await open(stage.server)
    await using alice = await open(stage.server)
    stage.clock.advance(9_999)
    await Promise.all([reached(late), reached(alice)])
    await alice.command('connect', { token: await stage.server.token('alice') })
    stage.clock.advance(1)
    expect(await late.closed).toEqual(unauthorized)
    expect(late.frames).toEqual([])
    expect(await alice.rest()).toEqual([])
  })

  it('S1 who has said connect, and waits for more than 10 s for what the server does not know, is to come back with the same token', async () => {
    const held = Promise.withResolvers<never>()
    const admit = vi.fn(() => held.promise)
    await using started = await startEngine({
      observe: (storage) => ({ ...storage, userChannels: { ...storage.userChannels, admit } }),
    })
    const pair = started.open()
    pair.say(JSON.stringify({ id: 1, command: 'connect', args: { token: await started.token('user/alice') } }))
    pair.pumpToServer()
    await vi.waitFor(() => expect(admit).toHaveBeenCalled())
    started.clock.advance(10_000)
    held.reject(new Error('too late'))
    pair.pumpToPeer()
    expect(pair.ending).toEqual({ code: 4503, reason: 'draining 1000' })
  })

  it('S1 a connect that is answered invalid_argument may be mended, within the same 10 s', async () => {
    await using stage = await openStage()
    const token = await stage.server.token('alice')
    await using alice = await open(stage.server)
    await using late = await open(stage.server)
    for (const args of [
      {},
      { cursor: 'x' },
      { token, channel: 'x' },
      { token: 7 },
      { token: null },
      { tokens: token },
    ]) {
      expect(await codeOf(alice.commandOf({ command: 'connect', args }))).toBe('invalid_argument')
      expect(await codeOf(late.commandOf({ command: 'connect', args }))).toBe('invalid_argument')
    }
    expect(await alice.command('connect', { token })).toMatchObject({ user: 'user/alice' })
    stage.clock.advance(10_000)
    expect(await late.closed).toEqual(unauthorized)
    expect(await alice.rest()).toEqual([])
  })

  it('S1 a connect that fails for its token is answered unauthorized, then closes, whatever was sent behind it', async () => {
    await using server = await startServer()
    const token = await server.token('alice')
    for (const bad of ['none', `${token}x`, await server.token('alice', { exp: 1 })]) {
      await using session = await open(server)
      session.send(JSON.stringify({ id: 1_000, command: 'connect', args: { token: bad } }))
      session.send(JSON.stringify({ id: 1_001, command: 'connect', args: { token } }))
      session.send('{"id":1002,"command":"get_unread_count"}')
      expect(await session.closed).toEqual(unauthorized)
      expect(session.frames).toEqual([{ id: 1_000, error: expect.objectContaining({ code: 'unauthorized' }) }])

      await using silent = await open(server)
      silent.send(JSON.stringify({ command: 'connect', args: { token: bad } }))
      expect(await silent.closed).toEqual(unauthorized)
      expect(silent.frames).toEqual([])
    }
  })

  it('S1 a second connect is conflict, answered or not yet, and the session stays whose it is', async () => {
    await using server = await startServer()
    await using session = await open(server)
    const [alice, bob] = [await server.token('alice'), await server.token('bob')]
    for (const [id, token] of [
      [1_000, alice],
      [1_001, alice],
      [1_002, bob],
    ] as const) {
      session.send(JSON.stringify({ id, command: 'connect', args: { token } }))
    }
    expect(await session.reply(1_000)).toMatchObject({ result: { user: 'user/alice' } })
    expect(await session.reply(1_001)).toMatchObject({ error: { code: 'conflict' } })
    expect(await session.reply(1_002)).toMatchObject({ error: { code: 'conflict' } })
    expect(await codeOf(session.command('connect', { token: bob }))).toBe('conflict')
    expect(await codeOf(session.command('connect', { token: 'none' }))).toBe('conflict')
    expect(await session.command('get_user_channel')).toMatchObject({ user_channel: { user: 'user/alice' } })
  })

  it('S1 any other command before connect is unauthorized and closes with 4401', async () => {
    await using server = await startServer()
    for (const command of [...commandNames.filter((name) => name !== 'connect'), 'no_such_command'] as const) {
      await using session = await open(server)
      const args = command === 'no_such_command' ? {} : sampleArgs[command]
      session.send(JSON.stringify({ id: 1_000, command, args }))
      session.send(JSON.stringify({ id: 1_001, command: 'connect', args: { token: await server.token('alice') } }))
      expect([command, await session.closed]).toEqual([command, unauthorized])
      expect(session.frames).toEqual([{ id: 1_000, error: expect.objectContaining({ code: 'unauthorized' }) }])
    }
  })

  it('S1 commands sent behind connect are answered after it, in their order', async () => {
    await using server = await startServer()
    await using session = await open(server)
    session.send(JSON.stringify({ id: 1_000, command: 'connect', args: { token: await server.token('alice') } }))
    const ids = Array.from({ length: 100 }, (_, index) => 1_001 + index)
    for (const id of ids) session.send(`{"id":${id},"command":"ping"}`)
    await session.reply(1_100)
    expect(session.frames.map((frame) => 'id' in frame && frame.id)).toEqual([1_000, ...ids])
  })

  it('S1 a token in the URL, or in a header, connects nobody', async () => {
    await using server = await startServer()
    const token = await server.token('alice')
    for (const name of ['token', 'access_token', 'authorization']) {
      const headers = { [name]: token, authorization: `Bearer ${token}` }
      await using session = new RawSession(`${server.socketUrl}?${name}=${token}`, { headers })
      await once(session.webSocket, 'open')
      expect(await codeOf(session.command('get_unread_count'))).toBe('unauthorized')
      expect(await session.closed).toEqual(unauthorized)
    }
  })
})

describe('the greeting', () => {
  it('S3 has these keys in this order and no others', async () => {
    await using stage = await openStage()
    const { greeting, texts } = await stage.connect('user/alice')
    const { session, cursor } = greeting
    expect(session).toMatch(/^session\/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(cursor).toMatch(/./)
    const settings = {
      typing_interval_ms: 1_000,
      typing_expiry_ms: 5_000,
      ping_interval_ms: 25_000,
      max_frame_bytes: 65_536,
    }
    const expires_at = new Date(stage.clock.now() + 3_600_000).toISOString()
    expect(texts).toEqual([
      JSON.stringify({ id: 1, result: { user: 'user/alice', session, cursor, resumed: false, expires_at, settings } }),
    ])
  })

  it('S3 each session has an id of its own, and expires_at is its own token’s', async () => {
    await using stage = await openStage()
    const now = stage.clock.now()
    const greetings = []
    for (const seconds of [1, 60, 60]) {
      await using session = await open(stage.server)
      const token = await stage.server.token('alice', { exp: now / 1000 + seconds })
      greetings.push(await session.command('connect', { token }))
    }
    expect(new Set(greetings.map(({ session }) => session)).size).toBe(3)
    const expected = [1, 60, 60].map((seconds) => new Date(now + seconds * 1_000).toISOString())
    expect(greetings.map(({ expires_at }) => expires_at)).toEqual(expected)
  })

  it('S3 max_frame_bytes is what the operator has set, and 0 where frames have no limit', async () => {
    for (const [limits, frameBytes] of [[{ frameBytes: 5_000 }, 5_000] as const, [noLimits, 0] as const]) {
      await using server = await startServer({ limits })
      await using alice = await connect(server, 'user/alice')
      expect(alice.greeting.settings.max_frame_bytes).toBe(frameBytes)
    }
  })
})

describe('the end of a token', () => {
  it('S4 a session is closed with 4401 when its token expires, and each at the end of its own', async () => {
    await using stage = await openStage()
    const { server, clock } = stage
    const connectFor = async (seconds: number) => {
      const session = await open(server)
      await session.command('connect', { token: await server.token('alice', { exp: clock.now() / 1000 + seconds }) })
      return session
    }
    await using short = await connectFor(20)
    await using long = await connectFor(30)
    clock.advance(19_999)
    expect(await short.rest()).toEqual([])
    clock.advance(1)
    expect(await short.closed).toEqual(unauthorized)
    expect(await long.rest()).toEqual([])
    clock.advance(9_999)
    expect(await long.rest()).toEqual([])
    clock.advance(1)
    expect(await long.closed).toEqual(unauthorized)
  })

  it('S4 refresh_token lets the session go on until the new token ends', async () => {
    await using stage = await openStage()
    const { server, clock } = stage
    await using alice = await open(server)
    const until = (seconds: number) => server.token('alice', { exp: clock.now() / 1000 + seconds })
    await alice.command('connect', { token: await until(20) })
    for (let round = 0; round < 3; round++) {
      clock.advance(15_000)
      const expires_at = new Date(clock.now() + 20_000).toISOString()
      expect(await alice.command('refresh_token', { token: await until(20) })).toEqual({ expires_at })
      await reached(alice)
    }
    clock.advance(19_999)
    expect(await alice.rest()).toEqual([])
    clock.advance(1)
    expect(await alice.closed).toEqual(unauthorized)
  })

  it('S4 of several tokens the one sent last counts, whichever is checked first', async () => {
    // The first one's check ends when the test says so, for its key must be fetched.
    const key = await makeKey('RS256', 'slow')
    await using keyServer = await startKeyServer(key)
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const { answer } = keyServer
    keyServer.answer = (request, response) => void released.then(() => answer(request, response))
    await using stage = await openStage({ tokenTrust: { jwksUrl: keyServer.url } })
    const { server, clock } = stage
    await using alice = await connect(server, 'user/alice')
    const now = clock.now() / 1000
    const claims = (seconds: number) => ({ sub: 'alice', iat: now, exp: now + seconds })
    const slow = alice.command('refresh_token', { token: await signed(key, claims(3_000)) })
    const quick = alice.command('refresh_token', { token: await server.token('alice', claims(20)) })
    const expires_at = new Date(clock.now() + 20_000).toISOString()
    expect(await quick).toEqual({ expires_at })
    release()
    expect(await slow).toEqual({ expires_at })
    // A later one that is no good changes nothing.
    expect(await codeOf(alice.command('refresh_token', { token: 'none' }))).toBe('unauthorized')
    clock.advance(19_999)
    expect(await alice.rest()).toEqual([])
    clock.advance(1)
    expect(await alice.closed).toEqual(unauthorized)
  })

  it('S4 a bad token, or another user’s, is unauthorized, and the session goes on until the end of the one it has', async () => {
    await using stage = await openStage()
    const { server, clock } = stage
    await using alice = await open(server)
    const now = clock.now() / 1000
    await alice.command('connect', { token: await server.token('alice', { exp: now + 20 }) })
    const later = { exp: now + 3_000 }
    const bad = [
      '',
      'none',
      '\0',
      '\ud800',
      `${await server.token('alice', later)}x`,
      `${await server.token('alice', later)}\0`,
      await server.token('alice', { exp: now - 1 }),
      await server.token('bob', later),
      await server.token('Alice', later),
      await server.token('user/alice', later),
    ]
    for (const token of bad) expect(await codeOf(alice.command('refresh_token', { token }))).toBe('unauthorized')
    expect(await codeOf(alice.commandOf({ command: 'refresh_token' }))).toBe('invalid_argument')
    expect(await alice.command('get_user_channel')).toMatchObject({ user_channel: { user: 'user/alice' } })
    clock.advance(19_999)
    expect(await alice.rest()).toEqual([])
    clock.advance(1)
    expect(await alice.closed).toEqual(unauthorized)
  })
})

describe('pings', () => {
  it('S5 the server pings after 25 s, again 25 s after each answer, and who answers stays', async () => {
    await using stage = await openStage()
    const alice = await stage.connect('user/alice')
    let pings = 0
    alice.webSocket.on('ping', () => pings++)
    for (let round = 1; round <= 4; round++) {
      stage.clock.advance(24_999)
      await alice.rest()
      expect(pings).toBe(round - 1)
      const pinged = once(alice.webSocket, 'ping')
      stage.clock.advance(1)
      await pinged
      await alice.rest()
      expect(pings).toBe(round)
    }
  })

  it('S5 who has not answered a ping after 10 s is dropped with 4408, whatever else it sends', async () => {
    await using stage = await openStage()
    await using alice = await connect(stage.server, 'user/alice', { autoPong: false })
    await using bob = await connect(stage.server, 'user/bob')
    const bobPinged = once(bob.webSocket, 'ping')
    stage.clock.advance(25_000)
    await bobPinged
    await bob.rest()
    stage.clock.advance(9_999)
    await alice.command('get_unread_count')
    expect(await alice.rest()).toEqual([])
    stage.clock.advance(1)
    expect(await alice.closed).toEqual(pingTimeout)
    expect(await bob.rest()).toEqual([])
  })

  it('S5 an answer in the last moment is one', async () => {
    await using stage = await openStage()
    await using alice = await connect(stage.server, 'user/alice', { autoPong: false })
    const pinged = once(alice.webSocket, 'ping')
    stage.clock.advance(25_000)
    await pinged
    stage.clock.advance(9_999)
    alice.webSocket.pong()
    await reached(alice)
    stage.clock.advance(24_999)
    expect(await alice.rest()).toEqual([])
  })

  it('S5 who has not answered a ping after 10 s is dropped while the server is pushing to it, too', async () => {
    await using room = await openRoom({}, [])
    await using bob = await connect(room.stage.server, 'user/bob', { autoPong: false })
    await room.alice.command('add_participants', { conversation: room.conversation, participants: ['user/bob'] })
    const pushed: string[] = []
    for (let second = 1; second <= 34; second++) {
      const pinged = second === 25 ? once(room.alice.webSocket, 'ping') : null
      room.clock.advance(1_000)
      await pinged
      const { id } = await say(room.alice, room.conversation, `second ${second}`)
      await bob.next(({ data }) => data.record.id === id)
      pushed.push(id)
    }
    room.clock.advance(1_000)
    expect(await bob.closed).toEqual(pingTimeout)
    expect(bob.events.slice(1).map(({ data }) => data.record.id)).toEqual(pushed)
  })

  it('S5 a peer that reads nothing any more is dropped as well, and its place is free at once', async () => {
    await using stage = await openStage({ limits: { sessionsPerUser: 1 } })
    await using first = await connect(stage.server, 'user/alice')
    await using second = await open(stage.server)
    first.webSocket.pause()
    stage.clock.advance(9_999)
    const token = await stage.server.token('alice')
    expect(await codeOf(second.command('connect', { token }))).toBe('rate_limited')
    stage.clock.advance(25_001)
    await using third = await connect(stage.server, 'user/alice')
    expect(await third.rest()).toEqual([])
    first.webSocket.resume()
    expect(await first.closed).toEqual(pingTimeout)
  })

  it('S5 ping is answered with the cursor alone, which moves with every event', async () => {
    await using room = await openRoom()
    const cursors = []
    for (let round = 0; round < 3; round++) {
      await say(room.alice, room.conversation, `${round}`)
      await room.bob.next()
      const pong = await room.bob.command('ping')
      expect(pong).toEqual({ cursor: expect.stringMatching(/./) })
      expect(await room.bob.command('ping', {})).toEqual(pong)
      cursors.push(pong.cursor)
    }
    expect(new Set(cursors).size).toBe(3)
    expect(cursors).not.toContain(room.bob.greeting.cursor)
  })
})
