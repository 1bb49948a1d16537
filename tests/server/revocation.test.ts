/** Logging out everywhere: a rotation that revokes (U7, U8), on sessions, over HTTP, and for tokens of before and after. */
import { describe, expect, it } from 'vitest'
import type { Result } from '../../src/protocol/commands.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { connect, open, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { refusal } from '../chat/stage.ts'
import { listen, refusedConnect } from './listening.ts'
import { sendBytes } from './raw-tcp.ts'

const alice = 'user/alice'
const bob = 'user/bob'
const revoked = { code: 4403, reason: 'session_revoked' }

function revoke(session: RawSession): Promise<Result<'rotate_user_channel'>> {
  return session.command('rotate_user_channel', { revoke: true })
}

/** What becomes of the token on each of its ways: a new session, a session that goes on, and HTTP. */
async function expectRefused(server: TestServer, token: string, retryAfterMs: number): Promise<void> {
  const error = { code: 'token_revoked', retryable: false, details: { retry_after_ms: retryAfterMs } }
  expect(await refusedConnect(server, { token })).toMatchObject({ error, ending: revoked })
  const http = await server.call('get_unread_count', {}, undefined, { authorization: `Bearer ${token}` })
  expect([http.status, http.error]).toEqual([401, expect.objectContaining(error)])
}

async function expectTaken(server: TestServer, token: string): Promise<void> {
  await using session = await open(server)
  expect(await session.command('connect', { token })).toMatchObject({ user: bob })
  expect(await session.command('refresh_token', { token })).toMatchObject({ expires_at: expect.any(String) })
  const http = await server.call('get_unread_count', {}, undefined, { authorization: `Bearer ${token}` })
  expect(http.status).toBe(200)
}

describe('sessions', () => {
  it('U7 every other session of the user is closed, and the one that asked goes on', async () => {
    await using server = await startServer({ listeners: true })
    await using session = await connect(server, bob)
    await using host = await connect(server, alice)
    const others = [await connect(server, bob), await connect(server, bob)]
    const { user_channel: before } = await session.command('get_user_channel')
    await using listener = await listen(server, before.name as string)
    const { user_channel: after } = await revoke(session)
    expect(after).toMatchObject({ id: before.id, user: bob })
    expect(after.name).not.toBe(before.name)
    for (const other of others) {
      expect(await other.closed).toEqual(revoked)
      expect(other.pushes).toEqual([])
    }
    expect(await listener.closed).toEqual({ code: 4410, reason: 'channel_rotated' })
    expect((await session.next()).data).toMatchObject({ record_type: 'user_channel', event_type: 'update' })
    await host.command('create_conversation', { participants: [bob] })
    expect((await session.next()).data.record_type).toBe('conversation')
    expect(await session.command('get_user_channel')).toEqual({ user_channel: after })
    await host.rest()
  })

  it('U7 none that comes by an old token in the same moment stays', async () => {
    await using server = await startServer({ limits: { sessionsPerUser: 0 } })
    for (let round = 0; round < 15; round++) {
      // Each round has a user of its own: a token of now is revoked for 5 s.
      const name = `bob-${round}`
      const token = await server.token(name)
      await using session = await connect(server, `user/${name}`)
      const sockets = await Promise.all(Array.from({ length: 8 }, () => open(server)))
      const coming = sockets.slice(0, 4).map((socket) => socket.command('connect', { token }).catch(() => null))
      // A few turns more each round, so that storage is asked in the one order and in the other.
      for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve))
      const asked = revoke(session)
      coming.push(...sockets.slice(4).map((socket) => socket.command('connect', { token }).catch(() => null)))
      await Promise.all([asked, ...coming])
      for (const socket of sockets) expect(await socket.closed).toEqual(revoked)
      expect(await session.command('ping')).toMatchObject({ cursor: expect.any(String) })
    }
  })

  it('U7 asked for over HTTP, which is no session, it closes them all; so does the API key, for anyone (U8)', async () => {
    const clock = new FakeClock()
    await using server = await startServer({ clock, listeners: true })
    const token = await server.token('bob')
    const ways = [
      () => server.call('rotate_user_channel', { revoke: true }, undefined, { authorization: `Bearer ${token}` }),
      () => server.call('rotate_user_channel', { user: bob, revoke: true }),
      () => server.call('rotate_user_channel', { revoke: true }, bob),
    ]
    for (const way of ways) {
      const sessions = [await connect(server, bob), await connect(server, bob)]
      const { name } = (await sessions[0]!.command('get_user_channel')).user_channel
      await using listener = await listen(server, name as string)
      await using host = await connect(server, alice)
      const { status, result } = await way()
      expect([status, result.user_channel.user]).toEqual([200, bob])
      for (const session of sessions) expect(await session.closed).toEqual(revoked)
      expect(await listener.closed).toMatchObject({ code: 4410 })
      expect(await host.rest()).toEqual([])
      clock.advance(10_000)
    }
  })

  it('U7, R2 who comes back with a new token goes on from where he was cut off', async () => {
    const clock = new FakeClock()
    await using server = await startServer({ clock })
    await using session = await connect(server, bob)
    await using phone = await connect(server, bob)
    await using host = await connect(server, alice)
    const { cursor } = phone.greeting
    await revoke(session)
    const { conversation } = await host.command('create_conversation', { participants: [bob] })
    clock.advance(6_000)
    await using back = await open(server)
    const greeting = await back.command('connect', { token: await server.token('bob'), cursor })
    expect(greeting.resumed).toBe(true)
    await back.rest()
    expect(back.events.map(({ data }) => data.record_type)).toEqual(['user_channel', 'conversation'])
    expect(back.events[1]?.conversation).toBe(conversation.id)
  })
})

describe('tokens', () => {
  it('U7 those of before are refused by connect, refresh_token and HTTP, with when a new one will be taken', async () => {
    const clock = new FakeClock()
    await using server = await startServer({ clock })
    await using session = await connect(server, bob)
    const token = await server.token('bob')
    await expectTaken(server, token)
    clock.advance(10_000)
    await revoke(session)
    await expectRefused(server, token, 5_000)
    clock.advance(1_750)
    await expectRefused(server, token, 3_250)
    expect(await refusal(session.command('refresh_token', { token }))).toMatchObject({
      code: 'token_revoked',
      details: { retry_after_ms: 3_250 },
    })
    // The session that asked goes on with the token that it has.
    await session.command('ping')
    clock.advance(3_600_000 - 60_000)
    await expectRefused(server, await server.token('bob', { iat: 1_767_225_600, exp: 1_767_225_600 + 86_400 }), 0)
  })

  it('U7 one is taken again whose iat is 5 s after the rotation, and none of a second before', async () => {
    const clock = new FakeClock()
    for (const offset of [0, 1, 250, 999]) {
      await using server = await startServer({ clock })
      await using session = await connect(server, bob)
      clock.advance(1_000 + offset)
      const rotatedAt = clock.now()
      await revoke(session)
      const first = Math.ceil((rotatedAt + 5_000) / 1_000)
      await expectRefused(server, await server.token('bob', { iat: first - 1 }), first * 1_000 - rotatedAt)
      // The time that the refusal has named is when a token made then is taken, and not a moment sooner.
      clock.advance(first * 1_000 - rotatedAt - 1)
      await expectRefused(server, await server.token('bob'), 1)
      clock.advance(1)
      await expectTaken(server, await server.token('bob'))
      clock.advance(1_000 - (clock.now() % 1_000))
    }
  })

  it('U7 it holds for as long as a token could live: across restarts and further rotations, for that user alone', async () => {
    const clock = new FakeClock()
    await using server = await startServer({ clock })
    const iat = clock.now() / 1_000
    const year = 365 * 86_400
    const token = await server.token('bob', { iat, exp: iat + year })
    const hers = await server.token('alice', { iat, exp: iat + year })
    await server.call('rotate_user_channel', { user: bob, revoke: true })
    await server.stop()
    clock.advance(300 * 86_400_000)
    await server.start()
    await expectRefused(server, token, 0)
    await server.call('rotate_user_channel', { user: bob })
    await expectRefused(server, token, 0)
    await expectTaken(server, await server.token('bob'))
    await using other = await open(server)
    expect(await other.command('connect', { token: hers })).toMatchObject({ user: alice })
  })

  it('U7 a call whose body is still to come when its user is logged out is refused, and does nothing', async () => {
    await using server = await startServer()
    const body = JSON.stringify({ participants: [alice] })
    const head = [
      'POST /v2/create_conversation HTTP/1.1',
      `Host: ${new URL(server.url).host}`,
      `Authorization: Bearer ${await server.token('bob')}`,
      `Content-Length: ${body.length}`,
      'Connection: close',
    ]
    await using tcp = await sendBytes(server, `${head.join('\r\n')}\r\n\r\n${body.slice(0, 5)}`)
    // The server has read the head by the time that it has answered a later one.
    await using session = await connect(server, bob)
    await revoke(session)
    tcp.socket.write(body.slice(5))
    await tcp.closed
    expect(tcp.text).toMatch(/^HTTP\/1\.1 401 /)
    expect(tcp.text).toContain('"code":"token_revoked"')
    expect((await session.command('get_conversations', {})).conversations).toEqual([])
  })

  it('U7 a rotation that does not revoke takes no token, and one that does says so by its argument alone', async () => {
    await using server = await startServer()
    await using session = await connect(server, bob)
    const token = await server.token('bob')
    for (const args of [{}, { revoke: false }]) {
      await session.command('rotate_user_channel', args)
      await expectTaken(server, token)
    }
    await revoke(session)
    expect((await refusedConnect(server, { token })).error.code).toBe('token_revoked')
  })
})
