/** User channels: one for each user, named by the server (U1, U5); who receives on them (U2, U3); listeners (U4). */
import { describe, expect, it, vi } from 'vitest'
import type { UserId } from '../../src/protocol/ids.ts'
import type { UserChannel } from '../../src/protocol/records.ts'
import { connect, open, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { alice, bob, carol, codeOf, openStage, refusal, say } from '../chat/stage.ts'
import { backendOnly, commandNames, sampleArgs } from './sample-args.ts'

const channelRotated = { code: 4410, reason: 'channel_rotated' }

async function nameOf(server: TestServer, user: UserId): Promise<string> {
  return (await server.call('get_user_channel', {}, user)).result.user_channel.name as string
}

/** A listener on the channel of that name, connected. */
async function listen(server: TestServer, name: string): Promise<RawSession> {
  const listener = await open(server)
  await listener.command('connect', { channel: name })
  return listener
}

/** What a connect by that name is answered with and closed with. */
async function listening(server: TestServer, name: string) {
  await using session = await open(server)
  session.send(JSON.stringify({ id: 1_000, command: 'connect', args: { channel: name } }))
  const reply = await session.reply(1_000)
  return { reply, ending: await session.closed, frames: session.frames.length }
}

describe('a user’s channel', () => {
  it('U1 has an id, its user, a name of 32 random bytes and a time, and no other key', async () => {
    await using stage = await openStage()
    const session = await stage.connect(alice)
    const { user_channel } = await session.command('get_user_channel')
    expect(Object.keys(user_channel)).toEqual(['id', 'user', 'name', 'rotated_at'])
    expect(user_channel).toEqual({
      id: expect.stringMatching(/^user_channel\/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/),
      user: alice,
      name: expect.stringMatching(/^[A-Za-z0-9_-]{43}$/),
      rotated_at: new Date(stage.clock.now()).toISOString(),
    })
    expect(Buffer.from(user_channel.name as string, 'base64url')).toHaveLength(32)
  })

  it('U1 there is one for each user, also when asked for by many at once, and it outlives a restart', async () => {
    await using server = await startServer()
    const token = await server.token('alice')
    const asking = async (): Promise<UserChannel> => {
      await using session = await open(server)
      session.send(JSON.stringify({ command: 'connect', args: { token } }))
      return (await session.command('get_user_channel')).user_channel
    }
    const overHttp = async () => (await server.call('get_user_channel', {}, alice)).result.user_channel
    const channels = await Promise.all([asking(), overHttp(), asking(), overHttp(), asking(), asking()])
    expect(new Set(channels.map((channel) => JSON.stringify(channel))).size).toBe(1)
    await server.stop()
    await server.start()
    expect(await overHttp()).toEqual(channels[0])
    const others = await Promise.all([bob, carol, 'user/Alice' as const].map((user) => nameOf(server, user)))
    expect(new Set([channels[0]?.name, ...others]).size).toBe(4)
  })

  it('U1 its name never comes from a client', async () => {
    await using server = await startServer({ listeners: true })
    const chosen = 'x'.repeat(43)
    await using session = await connect(server, alice)
    for (const args of [{ name: chosen }, { channel: chosen }, { user_channel: chosen }]) {
      expect(await codeOf(session.commandOf({ command: 'get_user_channel', args }))).toBe('invalid_argument')
    }
    await session.command('update_user', { name: chosen })
    expect((await listening(server, chosen)).ending).toEqual(channelRotated)
    expect(await nameOf(server, alice)).not.toBe(chosen)
  })

  it('U1 its name is told by get_user_channel alone: in no other frame, no header, and nothing that is printed', async () => {
    const printed: unknown[] = []
    const keep = (...what: unknown[]) => printed.push(...what) > 0
    const spies = [
      ...(['debug', 'error', 'info', 'log', 'trace', 'warn'] as const).map((name) => vi.spyOn(console, name)),
      vi.spyOn(process.stdout, 'write'),
      vi.spyOn(process.stderr, 'write'),
    ]
    try {
      for (const spy of spies) spy.mockImplementation(keep as never)
      await using server = await startServer({ listeners: true })
      await using session = await connect(server, alice)
      await using other = await connect(server, bob)
      const name = await nameOf(server, alice)
      await using listener = await listen(server, name)
      await session.command('get_user_channel')
      const { conversation } = await session.command('create_conversation', { participants: [bob] })
      await say(session, conversation.id, 'hello')
      await session.command('update_user', { name: 'Alice' })
      await other.command('get_users', { users: [alice] })
      await listening(server, `${name}x`)
      await codeOf(listener.command('get_user_channel'))
      expect((await server.call('ping', { channel: name }, alice)).error.message).not.toContain(name)
      await Promise.all([session.rest(), other.rest(), listener.rest()])
      const telling = session.texts.filter((text) => text.includes(name))
      expect(telling.map((text) => Object.keys(JSON.parse(text).result))).toEqual([['user_channel']])
      expect(session.texts.length).toBeGreaterThan(5)
      for (const text of [...other.texts, ...listener.texts]) expect(text).not.toContain(name)
      const { headers } = await server.call('get_user_channel', {}, alice)
      expect([...headers].join()).not.toContain(name)
      await server.stop()
      expect(printed.map(String).join('\n')).not.toContain(name)
    } finally {
      for (const spy of spies) spy.mockRestore()
    }
  })

  it('U5 is told to its owner only, on a session and over HTTP', async () => {
    await using server = await startServer()
    await using session = await connect(server, alice)
    const { user_channel } = await session.command('get_user_channel', {})
    const authorization = `Bearer ${await server.token('alice')}`
    expect((await server.call('get_user_channel', {}, undefined, { authorization })).result).toEqual({ user_channel })
    expect((await server.call('get_user_channel', {}, alice)).result).toEqual({ user_channel })
    await using other = await connect(server, bob)
    for (const args of [{ user: alice }, { user_channel: user_channel.id }, { id: user_channel.id }]) {
      expect(await codeOf(other.commandOf({ command: 'get_user_channel', args }))).toBe('invalid_argument')
      expect((await server.call('get_user_channel', args)).error.code).toBe('invalid_argument')
    }
    expect((await server.call('get_user_channel', {}, undefined, { authorization: 'Bearer x' })).status).toBe(401)
    expect((await other.command('get_user_channel')).user_channel.user).toBe(bob)
  })
})

describe('what a channel carries', () => {
  it('U2 no command names a channel to publish to', async () => {
    await using server = await startServer()
    await using session = await connect(server, alice)
    const name = await nameOf(server, bob)
    for (const command of commandNames.filter((command) => command !== 'connect')) {
      for (const key of ['channel', 'user_channel', '_user_channel', 'to', 'recipients']) {
        const args = { ...sampleArgs[command], [key]: name }
        const error = backendOnly.includes(command as (typeof backendOnly)[number])
          ? (await server.call(command, args)).error
          : await refusal(session.commandOf({ command, args }))
        expect([command, error]).toEqual([command, expect.objectContaining({ code: 'invalid_argument' })])
        expect(error.message).toContain(`"${key}"`)
      }
    }
    for (const command of ['publish', 'push', 'subscribe', 'event', 'create', name, `channel/${name}`]) {
      expect(await codeOf(session.commandOf({ command, args: { channel: name } }))).toBe('unknown_command')
    }
  })

  it('U2, U3 every session of a participant gets each event of his, however it was caused, and nobody else any', async () => {
    await using stage = await openStage({ listeners: true })
    const { server } = stage
    const ones = [await stage.connect(alice), await stage.connect(alice)]
    const others = [await stage.connect(bob), await stage.connect(bob)]
    const outsider = await stage.connect(carol)
    const [one, other] = [ones[0]!, others[0]!]
    const listener = await listen(server, await nameOf(server, bob))
    stage.sessions.push(Object.assign(listener, { greeting: one.greeting }))

    const { conversation } = (await server.call('create_conversation', { participants: [bob] }, alice)).result
    const message = await say(one, conversation.id, 'hello')
    await other.command('mark_as_last_message_read', { conversation: conversation.id, message: message.id })
    await one.command('update_user', { name: 'Alice' })
    await server.call('put_user', { user: bob, name: 'Bob' })
    await stage.settle()
    const told = (session: RawSession) =>
      session.events.map(({ data }) => [data.event_type, data.record_type, 'user' in data.record && data.record.user])
    const everybodys = [
      ['create', 'conversation', false],
      ['create', 'message', false],
    ]
    for (const session of ones) expect(told(session)).toEqual([...everybodys, ['update', 'user', false]])
    for (const session of [...others, listener]) {
      expect(told(session)).toEqual([...everybodys, ['update', 'user_conversation', bob], ['update', 'user', false]])
    }
    expect(outsider.pushes).toEqual([])
    const pushTexts = ({ texts }: RawSession) => texts.filter((text) => text.startsWith('{"event"'))
    expect(pushTexts(ones[1]!)).toEqual(pushTexts(one))
    for (const session of [others[1]!, listener]) expect(pushTexts(session)).toEqual(pushTexts(other))
  })

  it('U3 a session that has ended gets nothing, and takes nothing from the user’s others', async () => {
    await using stage = await openStage()
    const [first, second] = [await stage.connect(alice), await stage.connect(alice)]
    await first.end()
    const { conversation } = await second.command('create_conversation', { participants: [] })
    expect((await second.next()).conversation).toBe(conversation.id)
    expect(first.pushes).toEqual([])
    const third = await stage.connect(alice)
    await say(second, conversation.id, 'hello')
    expect([(await third.next()).seq, (await second.next()).seq]).toEqual([2, 2])
  })
})

describe('listeners', () => {
  it('U4 a listener is greeted as a session of the channel’s user, without an end of its own', async () => {
    await using stage = await openStage({ listeners: true })
    await using session = await open(stage.server)
    const greeting = await session.command('connect', { channel: await nameOf(stage.server, alice) })
    expect(greeting).toMatchObject({ user: alice, resumed: false, expires_at: null })
    expect(Object.keys(greeting)).toEqual(['user', 'session', 'cursor', 'resumed', 'expires_at', 'settings'])
    // Longer than a token of this test would last; the second round trip makes sure that the server has read the pong.
    for (let round = 0; round < 150; round++) {
      stage.clock.advance(25_000)
      await session.rest()
      await session.rest()
    }
  })

  it('U4 every command but ping is forbidden to a listener, whatever its arguments', async () => {
    await using server = await startServer({ listeners: true })
    await using listener = await listen(server, await nameOf(server, alice))
    for (const command of commandNames.filter((command) => command !== 'ping')) {
      for (const args of [sampleArgs[command], {}]) {
        expect([command, await codeOf(listener.commandOf({ command, args }))]).toEqual([command, 'forbidden'])
      }
    }
    expect(await listener.command('ping')).toEqual({ cursor: expect.any(String) })
    expect(await listener.rest()).toEqual([])
  })

  it('U4 a listener receives and nothing else: what it asked for was not done', async () => {
    await using stage = await openStage({ listeners: true })
    const host = await stage.connect(alice)
    const { conversation } = await host.command('create_conversation', { participants: [bob] })
    await host.command('subscribe_typing', { conversation: conversation.id })
    await host.rest()
    await using listener = await listen(stage.server, await nameOf(stage.server, bob))
    const at = { conversation: conversation.id }
    await codeOf(listener.command('create_message', { ...at, body: 'no' }))
    await codeOf(listener.command('typing', { ...at, event: 'begin' }))
    await codeOf(listener.command('subscribe_typing', at))
    await codeOf(listener.command('leave_conversation', at))
    expect(await host.rest()).toEqual([])
    await using guest = await connect(stage.server, bob)
    await guest.command('typing', { ...at, event: 'begin' })
    await host.nextTyping()
    expect(await listener.rest()).toEqual([])
    const { id } = await say(guest, conversation.id, 'yes')
    expect((await listener.next()).data.record).toMatchObject({ id })
  })

  it('U4 a name that is nobody’s and listeners that are off are refused alike: unauthorized, then 4410', async () => {
    await using on = await startServer({ listeners: true })
    await using off = await startServer()
    const real = await nameOf(off, alice)
    const unknown = await nameOf(on, alice)
    const refused = await listening(off, real)
    expect(refused).toEqual({
      reply: { id: 1_000, error: { code: 'unauthorized', message: expect.any(String), retryable: false } },
      ending: channelRotated,
      frames: 1,
    })
    const others = [real, '', 'x', alice, unknown.slice(1), `${unknown} `, unknown.toLowerCase(), 'x'.repeat(60_000)]
    for (const name of others) expect(await listening(on, name)).toEqual(refused)
    for (const name of [unknown, '', 'x'.repeat(43)]) expect(await listening(off, name)).toEqual(refused)
    await using listener = await listen(on, unknown)
    expect(await listener.rest()).toEqual([])
  })

  it('U4 a listener is no token: its name proves nothing over HTTP, nor the other way round', async () => {
    await using server = await startServer({ listeners: true })
    const name = await nameOf(server, alice)
    const headers = { authorization: `Bearer ${name}` }
    expect((await server.call('get_unread_count', {}, undefined, headers)).status).toBe(401)
    const token = await server.token('alice')
    expect((await listening(server, token)).ending).toEqual(channelRotated)
    await using session = await open(server)
    expect(await codeOf(session.command('connect', { token: name }))).toBe('unauthorized')
    expect(await session.closed).toEqual({ code: 4401, reason: 'unauthorized' })
  })

  it('U4 listeners count apart from sessions: 5 a user, and the next is refused with 4429', async () => {
    await using server = await startServer({ listeners: true, limits: { sessionsPerUser: 1 } })
    await using opened = new AsyncDisposableStack()
    const name = await nameOf(server, alice)
    const five = []
    for (let count = 0; count < 5; count++) five.push(opened.use(await listen(server, name)))
    const { reply, ending } = await listening(server, name)
    expect(reply).toMatchObject({ error: { code: 'rate_limited', details: { retry_after_ms: 10_000 } } })
    expect(ending).toEqual({ code: 4429, reason: 'rate_limited' })

    const session = opened.use(await connect(server, alice))
    const second = opened.use(await open(server))
    expect(await codeOf(second.command('connect', { token: await server.token('alice') }))).toBe('rate_limited')
    opened.use(await listen(server, await nameOf(server, bob)))
    for (const other of [session, ...five]) expect(await other.rest()).toEqual([])
    await five[0]!.end()
    opened.use(await listen(server, name))
    expect((await listening(server, name)).ending.code).toBe(4429)
  })
})
