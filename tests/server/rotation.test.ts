/** Rotating a user channel (U3, U5, U6, U8): who stays, who goes, and what they are told. */
import { describe, expect, it } from 'vitest'
import type { EventFrame } from '../../src/protocol/frames.ts'
import type { UserChannel } from '../../src/protocol/records.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { connect, open, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { codeOf, say } from '../chat/stage.ts'
import { listen, refusedConnect } from './listening.ts'

const alice = 'user/alice'
const bob = 'user/bob'

async function nameOf(session: RawSession): Promise<string> {
  return (await session.command('get_user_channel')).user_channel.name as string
}

async function rotate(session: RawSession): Promise<Required<UserChannel>> {
  return (await session.command('rotate_user_channel', {})).user_channel as Required<UserChannel>
}

/** A conversation of alice and bob, whose sessions have nothing left to take. */
async function roomOf(host: RawSession, ...guests: RawSession[]): Promise<`conversation/${string}`> {
  const { conversation } = await host.command('create_conversation', { participants: [bob] })
  for (const session of [host, ...guests]) await session.rest()
  return conversation.id
}

function bodies(events: readonly EventFrame[]): string[] {
  return events.flatMap(({ data }) => (data.record_type === 'message' ? [data.record.body] : []))
}

describe('a rotation', () => {
  it('U5, U6 makes a new name, which its owner alone gets; the id stays', async () => {
    const clock = new FakeClock()
    await using server = await startServer({ clock })
    await using session = await connect(server, bob)
    await using other = await connect(server, alice)
    const { user_channel: before } = await session.command('get_user_channel')
    clock.advance(5_000)
    const after = await rotate(session)
    expect(after).toEqual({ ...before, name: after.name, rotated_at: new Date(clock.now()).toISOString() })
    expect(after.name).not.toBe(before.name)
    expect(after.name).toMatch(/^[\w-]{43}$/)
    expect(await session.command('get_user_channel')).toEqual({ user_channel: after })
    expect(await nameOf(other)).not.toBe(after.name)
    const names = [before.name, after.name]
    await other.rest()
    expect(names.filter((name) => other.texts.join().includes(name as string))).toEqual([])
  })

  it('U6 from its reply on the old name is refused, in the same words as one that never was', async () => {
    await using server = await startServer({ listeners: true })
    await using session = await connect(server, bob)
    const old = await nameOf(session)
    await using listener = await listen(server, old)
    expect(listener.greeting).toMatchObject({ user: bob, expires_at: null })
    const { name } = await rotate(session)
    const never = await refusedConnect(server, { channel: 'a'.repeat(name.length) })
    expect(never).toMatchObject({ error: { code: 'unauthorized' }, ending: { code: 4410, reason: 'channel_rotated' } })
    expect(await refusedConnect(server, { channel: old })).toEqual(never)
    const { cursor } = listener.greeting
    expect(await refusedConnect(server, { channel: old, cursor })).toEqual(never)
    await using renewed = await listen(server, name, cursor)
    expect(renewed.greeting).toMatchObject({ user: bob, resumed: true })
  })

  it('U6 closes the listeners of the old name with 4410, and no one else', async () => {
    await using server = await startServer({ listeners: true })
    await using session = await connect(server, bob)
    await using phone = await connect(server, bob)
    await using host = await connect(server, alice)
    const old = await nameOf(session)
    const listeners = [await listen(server, old), await listen(server, old)]
    const another = await listen(server, await nameOf(host))
    const { name } = await rotate(session)
    for (const listener of listeners) {
      expect(await listener.closed).toEqual({ code: 4410, reason: 'channel_rotated' })
    }
    await using renewed = await listen(server, name)
    const conversation = await roomOf(host, session, phone, renewed, another)
    await say(host, conversation, 'hello')
    for (const open of [session, phone, renewed, another]) expect(bodies([await open.next()])).toEqual(['hello'])
    expect(listeners.flatMap(({ events }) => events)).toEqual([])
    await another.end()
  })

  it('U6, W4 is told to the user’s sessions as an update without a name, after the reply, and to no listener', async () => {
    const clock = new FakeClock()
    await using server = await startServer({ listeners: true, clock })
    await using session = await connect(server, bob)
    await using phone = await connect(server, bob)
    await using host = await connect(server, alice)
    const { user_channel: before } = await session.command('get_user_channel')
    clock.advance(1_000)
    const after = await rotate(session)
    await using renewed = await listen(server, after.name, session.greeting.cursor)
    const [{ id, rotated_at }, told] = [after, await phone.next()]
    expect(told).toEqual({
      event: 'update',
      data: {
        record_type: 'user_channel',
        event_type: 'update',
        record: { id, user: bob, rotated_at },
        original_record: { id, user: bob, rotated_at: before.rotated_at },
      },
      cursor: expect.any(String),
    })
    expect(await session.next()).toEqual(told)
    const reply = session.texts.findIndex((text) => text.includes(after.name))
    expect(session.texts.findIndex((text) => text.startsWith('{"event":"update"'))).toBe(reply + 1)
    expect(phone.texts.join()).not.toContain(after.name)
    await rotate(phone)
    expect(await renewed.closed).toMatchObject({ code: 4410 })
    expect(renewed.pushes).toEqual([])
    expect(await host.rest()).toEqual([])
  })

  it('U6 leaves tokens as good as they were, and needs none of them again', async () => {
    await using server = await startServer()
    await using session = await connect(server, bob)
    const token = await server.token('bob')
    await rotate(session)
    await using again = await open(server)
    expect(await again.command('connect', { token })).toMatchObject({ user: bob })
    expect(await session.command('refresh_token', { token })).toMatchObject({ expires_at: expect.any(String) })
    const headers = { authorization: `Bearer ${token}` }
    expect((await server.call('get_unread_count', {}, undefined, headers)).status).toBe(200)
  })

  it('U6, R3 survives a restart of the server, as does a cursor of before', async () => {
    await using server = await startServer({ listeners: true })
    let [old, name, cursor] = ['', '', '']
    {
      await using session = await connect(server, bob)
      await using host = await connect(server, alice)
      cursor = session.greeting.cursor
      old = await nameOf(session)
      const conversation = await roomOf(host, session)
      await say(host, conversation, 'before')
      name = (await rotate(session)).name
      await say(host, conversation, 'after')
    }
    await server.stop()
    await server.start()
    expect(await refusedConnect(server, { channel: old })).toMatchObject({ ending: { code: 4410 } })
    await using listener = await listen(server, name, cursor)
    expect(listener.greeting).toMatchObject({ user: bob, resumed: true })
    await listener.rest()
    expect(listener.events.map(({ data }) => data.record_type)).toEqual(['conversation', 'message', 'message'])
    await using back = await open(server)
    await back.command('connect', { token: await server.token('bob'), cursor })
    await back.rest()
    expect(back.events.map(({ data }) => data.record_type)).toEqual([
      'conversation',
      'message',
      'user_channel',
      'message',
    ])
  })
})

describe('messages that flow while names change', () => {
  it('U3, U6 messages of the same turn as a rotation come once to each session, in their order', async () => {
    await using server = await startServer()
    await using session = await connect(server, bob)
    await using phone = await connect(server, bob)
    await using host = await connect(server, alice)
    const conversation = await roomOf(host, session, phone)
    let count = 0
    for (let round = 0; round < 20; round++) {
      const turn: Promise<unknown>[] = []
      for (let step = 0; step < 10; step++) {
        turn.push(step === 5 ? rotate(round % 2 ? phone : session) : say(host, conversation, `${count++}`))
      }
      await Promise.all(turn)
    }
    for (const open of [session, phone]) {
      await open.rest()
      expect(bodies(open.events)).toEqual(Array.from({ length: count }, (_, number) => `${number}`))
      expect(open.events.filter(({ data }) => data.record_type === 'user_channel')).toHaveLength(20)
    }
  })

  it('U6 1,000 rotations while messages flow: nothing is lost or repeated, and nothing comes to an old name', async () => {
    const random = new Random(seedOfTest())
    await using server = await startServer({ listeners: true })
    await using session = await connect(server, bob)
    await using phone = await connect(server, bob)
    await using host = await connect(server, alice)
    const conversation = await roomOf(host, session, phone)
    let said = 0
    let name = await nameOf(session)
    /** Each listener with the last message that was asked for before the reply to the rotation that ended it. */
    const ended: { listener: RawSession; last: number }[] = []
    let current: RawSession[] = []
    const sayOne = () => say(host, conversation, `${++said}`)
    for (let rotations = 0; rotations < 1_000; rotations++) {
      if (random.below(4) === 0) current.push(await listen(server, name))
      const flowing = Array.from({ length: random.below(3) }, sayOne)
      const rotated = rotate(random.pick([session, phone]))
      const more = Array.from({ length: random.below(2) }, sayOne)
      name = (await rotated).name
      for (const listener of current) ended.push({ listener, last: said })
      current = []
      await Promise.all([...flowing, ...more, sayOne()])
    }
    expect(ended.length).toBeGreaterThan(100)
    for (const { listener, last } of ended) {
      expect(await listener.closed).toEqual({ code: 4410, reason: 'channel_rotated' })
      expect(bodies(listener.events).filter((body) => Number(body) > last)).toEqual([])
      const got = bodies(listener.events).map(Number)
      expect(got).toEqual(got.map((_, index) => (got[0] as number) + index))
    }
    for (const open of [session, phone]) {
      await open.rest()
      expect(bodies(open.events)).toEqual(Array.from({ length: said }, (_, index) => `${index + 1}`))
      expect(open.events.filter(({ data }) => data.record_type === 'user_channel')).toHaveLength(1_000)
    }
  }, 60_000)

  it('U6 a listener that comes while its name is rotated is refused or closed, and stays by the new name alone', async () => {
    await using server = await startServer({ listeners: true, limits: { listenersPerUser: 0 } })
    await using session = await connect(server, bob)
    for (let round = 0; round < 20; round++) {
      const old = await nameOf(session)
      const sockets = await Promise.all(Array.from({ length: 6 }, () => open(server)))
      const coming = sockets.map((socket) => socket.command('connect', { channel: old }).catch(() => null))
      for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve))
      const { name } = await rotate(session)
      await Promise.all(coming)
      for (const socket of sockets) expect(await socket.closed).toMatchObject({ code: 4410 })
      await using renewed = await listen(server, name)
      expect(renewed.greeting.user).toBe(bob)
    }
  })
})

describe('who may rotate', () => {
  it('U6 one’s own channel is what `user` may name, and nobody else’s', async () => {
    await using server = await startServer()
    await using session = await connect(server, bob)
    await using host = await connect(server, alice)
    const hers = await nameOf(host)
    const asked = session.command('rotate_user_channel', { user: alice })
    expect(await codeOf(asked)).toBe('forbidden')
    const unknown = session.command('rotate_user_channel', { user: 'user/nobody' })
    expect(await codeOf(unknown)).toBe('forbidden')
    const headers = { authorization: `Bearer ${await server.token('bob')}` }
    expect((await server.call('rotate_user_channel', { user: alice }, undefined, headers)).status).toBe(403)
    expect(await nameOf(host)).toBe(hers)
    expect(await host.rest()).toEqual([])
    const own = await session.command('rotate_user_channel', { user: bob })
    expect(own.user_channel.user).toBe(bob)
    for (const args of [{ revoke: 'yes' }, { user: 'bob' }, { name: 'mine' }, { channel: hers }]) {
      expect(await codeOf(session.commandOf({ command: 'rotate_user_channel', args }))).toBe('invalid_argument')
    }
  })

  it('U8 the API key rotates anyone’s: sessions stay and are told, listeners go', async () => {
    await using server = await startServer({ listeners: true })
    await using session = await connect(server, bob)
    const old = await nameOf(session)
    await using listener = await listen(server, old)
    const { result } = await server.call('rotate_user_channel', { user: bob })
    expect(result.user_channel).toMatchObject({ user: bob, name: await nameOf(session) })
    expect(result.user_channel.name).not.toBe(old)
    expect(await listener.closed).toMatchObject({ code: 4410 })
    expect((await session.next()).data.record_type).toBe('user_channel')
    await expectRotates(server, { user: 'user/never-seen' }, undefined, 'user/never-seen')
    await expectRotates(server, {}, bob, bob)
    await expectRotates(server, { user: bob }, alice, bob)
    const nobody = await server.call('rotate_user_channel', {})
    expect([nobody.status, nobody.error.code]).toEqual([400, 'invalid_argument'])
  })
})

async function expectRotates(
  server: TestServer,
  args: object,
  as: 'user/alice' | 'user/bob' | undefined,
  user: string,
) {
  const { status, result } = await server.call('rotate_user_channel', args, as)
  expect([status, result.user_channel.user]).toEqual([200, user])
}
