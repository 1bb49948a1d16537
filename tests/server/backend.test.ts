/** What only the application's backend may do, with the API key (M8). */
import { decodeJwt, jwtVerify } from 'jose'
import { describe, expect, it } from 'vitest'
import type { CommandName } from '../../src/protocol/commands.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { connect, open } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { alice, bob, carol, codeOf, openRoom, openStage } from '../chat/stage.ts'
import { backendOnly, sampleArgs } from './sample-args.ts'

const sessionRevoked = { code: 4403, reason: 'session_revoked' }

describe('what only the backend may do', () => {
  it('M8 is forbidden to a session, also for the user himself, and is not done', async () => {
    await using server = await startServer()
    await using session = await connect(server, bob)
    for (const command of backendOnly) {
      for (const args of [sampleArgs[command], { user: bob, name: 'Bob' }, {}]) {
        expect([command, await codeOf(session.commandOf({ command, args }))]).toEqual([command, 'forbidden'])
      }
    }
    expect(await session.rest()).toEqual([])
    expect((await session.command('get_users', { users: [bob] })).users).toMatchObject([{ name: null }])
  })

  it('M8 needs no Fanfare-As, and one that is there changes nothing of it', async () => {
    await using server = await startServer()
    for (const as of [undefined, bob, carol]) {
      const made = await server.call('create_token', { user: alice }, as)
      expect(decodeJwt(made.result.token).sub).toBe('alice')
      const put = await server.call('put_user', { user: alice, name: `by ${as}` }, as)
      expect(put.result.user).toMatchObject({ id: alice, name: `by ${as}` })
      expect((await server.call('disconnect_user', { user: alice }, as)).result).toEqual({ sessions: 0 })
    }
    expect((await server.call('get_users', { users: [bob] }, bob)).result.users).toMatchObject([{ name: null }])
  })
})

describe('create_token', () => {
  it('M8 gives a token that connects, for an hour unless ttl_seconds says otherwise', async () => {
    await using stage = await openStage()
    const { server, clock } = stage
    for (const [args, seconds] of [
      [{}, 3_600],
      [{ ttl_seconds: 1 }, 1],
      [{ ttl_seconds: 86_400 }, 86_400],
      [{ ttl_seconds: 365 * 86_400 }, 365 * 86_400],
    ] as const) {
      const { result } = await server.call('create_token', { user: alice, ...args })
      const expires_at = new Date(clock.now() + seconds * 1_000).toISOString()
      expect(result).toEqual({ token: expect.any(String), expires_at })
      await using session = await open(server)
      expect(await session.command('connect', { token: result.token })).toMatchObject({ user: alice, expires_at })
      const headers = { authorization: `Bearer ${result.token}` }
      expect((await server.call('get_unread_count', {}, undefined, headers)).status).toBe(200)
    }
  })

  it('M8 a token lives for ttl_seconds at least, and expires_at is when it ends, also when made within a second', async () => {
    await using stage = await openStage()
    const { server, clock } = stage
    clock.advance(999)
    const { token, expires_at } = (await server.call('create_token', { user: alice, ttl_seconds: 10 })).result
    expect(Date.parse(expires_at) - clock.now()).toBe(10_001)
    await using session = await open(server)
    expect((await session.command('connect', { token })).expires_at).toBe(expires_at)
    clock.advance(Date.parse(expires_at) - clock.now() - 1)
    expect(await session.rest()).toEqual([])
    clock.advance(1)
    expect(await session.closed).toEqual({ code: 4401, reason: 'unauthorized' })
    await using late = await open(server)
    expect(await codeOf(late.command('connect', { token }))).toBe('unauthorized')
  })

  it('M8 the token holds what S2 asks for and no more, for a user of whatever name', async () => {
    await using stage = await openStage()
    const { server, clock } = stage
    const now = clock.now() / 1000
    for (const user of [alice, 'user/a@b.c:1_2-3~4', `user/${'x'.repeat(128)}`] as const) {
      const { token } = (await server.call('create_token', { user })).result
      const secret = new TextEncoder().encode(server.tokenSecret)
      const { payload, protectedHeader } = await jwtVerify(token, secret, { currentDate: new Date(clock.now()) })
      expect(payload).toEqual({ sub: user.slice(5), iat: now, exp: now + 3_600 })
      expect(protectedHeader).toMatchObject({ alg: 'HS256' })
      await using session = await open(server)
      expect((await session.command('connect', { token })).user).toBe(user)
    }
  })
})

describe('put_user', () => {
  it('M8 sets a profile as the user would, what is left out stays, and tells the user’s own sessions', async () => {
    await using room = await openRoom()
    const { server } = room.stage
    const again = await room.stage.connect(bob)
    const first = { name: 'Bob', avatar_url: 'https://example.com/bob.png', metadata: { team: 'red' } }
    const { user } = (await server.call('put_user', { user: bob, ...first })).result
    expect(user).toEqual({ id: bob, ...first, updated_at: new Date(room.clock.now()).toISOString() })
    await room.bob.command('update_user', { metadata: { team: 'blue' } })
    const { result } = await server.call('put_user', { user: bob, avatar_url: null })
    expect(result.user).toMatchObject({ name: 'Bob', avatar_url: null, metadata: { team: 'blue' } })
    expect(Date.parse(result.user.updated_at as string)).toBeGreaterThan(Date.parse(user.updated_at as string))
    for (const session of [room.bob, again]) {
      const events = (await session.rest()).map(({ data }) => data)
      expect(events).toHaveLength(3)
      expect(events[0]).toMatchObject({ record_type: 'user', event_type: 'update', record: user })
      expect(events[2]).toMatchObject({ record_type: 'user', event_type: 'update', record: result.user })
    }
    expect(await room.alice.rest()).toEqual([])
    expect((await room.alice.command('get_users', { users: [bob] })).users).toEqual([result.user])
  })

  it('M8 one that changes nothing is invalid_argument, and one too large is refused like the user’s own', async () => {
    await using server = await startServer()
    const put = async (changes: object) => (await server.call('put_user', { user: bob, ...changes })).error.code
    expect(await put({})).toBe('invalid_argument')
    expect(await put({ name: 'x'.repeat(1_025) })).toBe('too_large')
    expect(await put({ avatar_url: 'x'.repeat(2_049) })).toBe('too_large')
    expect(await put({ metadata: { a: 'x'.repeat(8_192) } })).toBe('too_large')
    expect((await server.call('get_users', { users: [bob] }, bob)).result.users).toMatchObject([
      { name: null, avatar_url: null, metadata: {}, updated_at: null },
    ])
  })
})

describe('disconnect_user', () => {
  it('M8 closes all sessions of the user with 4403, says how many, and leaves others alone', async () => {
    await using stage = await openStage({ listeners: true })
    const { server } = stage
    const sessions = [await stage.connect(bob), await stage.connect(bob)]
    const channel = (await server.call('get_user_channel', {}, bob)).result.user_channel.name as string
    await using listener = await open(server)
    await listener.command('connect', { channel })
    const other = await stage.connect(alice)
    expect((await server.call('disconnect_user', { user: bob })).result).toEqual({ sessions: 3 })
    for (const session of [...sessions, listener]) expect(await session.closed).toEqual(sessionRevoked)
    expect(await other.rest()).toEqual([])
    expect((await server.call('disconnect_user', { user: bob })).result).toEqual({ sessions: 0 })
    expect((await server.call('disconnect_user', { user: 'user/nobody' })).result).toEqual({ sessions: 0 })
  })

  it('M8 who was disconnected may come back with a token that is good, and gets nothing of between', async () => {
    await using room = await openRoom()
    const { server } = room.stage
    await room.alice.command('subscribe_typing', { conversation: room.conversation })
    await room.bob.command('typing', { conversation: room.conversation, event: 'begin' })
    await room.alice.nextTyping()
    room.clock.advance(1_000)
    await server.call('disconnect_user', { user: bob })
    expect((await room.alice.nextTyping()).data[room.conversation]).toMatchObject({ [bob]: { event: 'finished' } })
    await room.alice.command('create_message', { conversation: room.conversation, body: 'while away' })
    const back = await room.stage.connect(bob)
    await room.alice.command('create_message', { conversation: room.conversation, body: 'hello again' })
    expect(await back.rest()).toMatchObject([{ data: { record: { body: 'hello again' } } }])
    expect(room.bob.events.filter(({ data }) => data.record_type === 'message')).toEqual([])
  })
})

describe('the backend on a user’s behalf', () => {
  it('W7 what it causes is pushed as the user’s own doing, with no session of his', async () => {
    await using room = await openRoom()
    const { server } = room.stage
    const asCarol = <N extends CommandName>(command: N, args: object, as: UserId = carol) =>
      server.call(command, args, as)
    await server.call('add_participants', { conversation: room.conversation, participants: [carol] }, alice)
    const { message } = (await asCarol('create_message', { conversation: room.conversation, body: 'hi' })).result
    await asCarol('edit_message', { message: message.id, body: 'hi!' })
    await asCarol('delete_message', { message: message.id })
    await asCarol('leave_conversation', { conversation: room.conversation })
    const told = (await room.bob.rest()).map(({ event, data }) => [event, data])
    expect(told).toMatchObject([
      ['update', { record: { participant_count: 3 } }],
      ['create', { record: { created_by: carol, body: 'hi' } }],
      ['update', { record: { edited_by: carol, body: 'hi!' } }],
      ['delete', { record: { created_by: carol, deleted: true } }],
      ['update', { record: { participant_count: 2 } }],
    ])
  })
})
