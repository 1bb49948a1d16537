/** Limits of size and number, each at its edge and one beyond (L1, L2), and what it means to turn one off (L4). */
import { describe, expect, it, vi } from 'vitest'
import { noLimits } from '../../src/engine/config.ts'
import { type ErrorBody, FanfareError } from '../../src/protocol/codes.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { connect, open, type RawSession } from '../../src/testing/raw-session.ts'
import { startEngine } from '../../src/testing/start-engine.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { alice, bob, codeOf, refusal, say } from '../chat/stage.ts'

const frameTooLarge = expect.objectContaining({ code: 1009 })
const rateLimited = { code: 4429, reason: 'rate_limited' }

/** JSON of an object that is exactly so many bytes long. */
const padded = (bytes: number) => ({ a: 'x'.repeat(bytes - '{"a":""}'.length) })
/** An object within objects, so many in all. */
const nested = (levels: number): { a?: object } => (levels === 1 ? {} : { a: nested(levels - 1) })
/** As `nested`, with lists within. */
const listed = (levels: number) => ({ a: JSON.parse(`${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}`) as unknown })
const people = (count: number) => Array.from({ length: count }, (_, index): UserId => `user/${index}`)

/** A command that is exactly so many bytes long. */
function frame(bytes: number): string {
  const [head, tail] = ['{"id":1000,"command":"get_unread_count"', '}']
  return head + ' '.repeat(bytes - head.length - tail.length) + tail
}

/** The status and error of a command over HTTP with a body of so many bytes, by token or API key. */
async function posted(
  server: TestServer,
  by: 'token' | 'key',
  bytes: number,
): Promise<[number, ErrorBody | undefined]> {
  const headers =
    by === 'token'
      ? { authorization: `Bearer ${await server.token('alice')}` }
      : { authorization: `Bearer ${server.apiKey}`, 'fanfare-as': alice }
  const body = `{${' '.repeat(bytes - 2)}}`
  const response = await fetch(`${server.url}/v2/get_unread_count`, { method: 'POST', headers, body })
  return [response.status, ((await response.json()) as { error?: ErrorBody }).error]
}

/** The error that a command is answered with, or null. */
type Attempt = (value: unknown) => Promise<ErrorBody | null>

/** Every way to set `field` of a record, by the command's name. */
async function setters(session: RawSession, server: TestServer, field: string): Promise<[string, Attempt][]> {
  const { conversation } = await session.command('create_conversation', { participants: [] })
  const { id } = await say(session, conversation.id, 'hello')
  const ways = {
    create_message: { fields: ['body', 'metadata', 'attachment'], args: { conversation: conversation.id, body: '' } },
    edit_message: { fields: ['body', 'metadata', 'attachment'], args: { message: id } },
    create_conversation: { fields: ['title', 'metadata'], args: { participants: [] } },
    update_conversation: { fields: ['title', 'metadata'], args: { conversation: conversation.id } },
    update_user: { fields: ['name', 'avatar_url', 'metadata'], args: {} },
    put_user: { fields: ['name', 'avatar_url', 'metadata'], args: { user: bob } },
  }
  return Object.entries(ways).flatMap(([command, { fields, args }]): [string, Attempt][] => {
    if (!fields.includes(field)) return []
    if (command === 'put_user') {
      return [[command, async (value) => (await server.call(command, { ...args, [field]: value })).error ?? null]]
    }
    const attempt: Attempt = (value) =>
      session.commandOf({ command, args: { ...args, [field]: value } }).then(
        () => null,
        (error: unknown) => (error instanceof FanfareError ? error.toJSON() : expect.fail(`${error}`)),
      )
    return [[command, attempt]]
  })
}

async function expectLimit(field: string, right: readonly unknown[], beyond: readonly unknown[], limit: number) {
  await using server = await startServer()
  await using session = await connect(server, alice)
  const ways = await setters(session, server, field)
  expect(ways.length).toBeGreaterThan(1)
  for (const [command, attempt] of ways) {
    for (const value of right) expect([command, await attempt(value)]).toEqual([command, null])
    await session.rest()
    for (const value of beyond) {
      const error = { code: 'too_large', message: expect.stringContaining(field), retryable: false, details: { limit } }
      expect([command, await attempt(value)]).toEqual([command, error])
    }
    // What was refused was not done.
    expect(await session.rest()).toEqual([])
  }
}

describe('sizes', () => {
  it('L1 a frame has 64 KiB at most, counted in bytes, and one more closes the session with 1009', async () => {
    await using server = await startServer()
    await using exact = await connect(server, alice)
    exact.send(frame(65_536))
    expect(await exact.reply(1_000)).toHaveProperty('result')
    exact.send(frame(65_537))
    expect(await exact.closed).toEqual(frameTooLarge)
    expect(exact.frames).toHaveLength(2)
    await using session = await connect(server, alice)
    session.send(JSON.stringify({ command: 'x', args: { a: 'é'.repeat(32_760) } }))
    expect(await session.closed).toEqual(frameTooLarge)
  })

  it('L1 the pieces of a frame count together, and a frame before connect counts too', async () => {
    await using server = await startServer({ limits: { frameBytes: 1_000 } })
    await using session = await connect(server, alice)
    const [right, long] = [Buffer.from(frame(1_000)), Buffer.from(frame(1_001))]
    session.webSocket.send(right.subarray(0, 600), { fin: false, binary: false })
    session.webSocket.send(right.subarray(600), { fin: true, binary: false })
    expect(await session.reply(1_000)).toHaveProperty('result')
    session.webSocket.send(long.subarray(0, 600), { fin: false, binary: false })
    session.webSocket.send(long.subarray(600), { fin: true, binary: false })
    expect(await session.closed).toEqual(frameTooLarge)
    await using early = await open(server)
    early.send(frame(1_001))
    expect(await early.closed).toEqual(frameTooLarge)
  })

  it('L1 a frame comes in 64 pieces at most, and more close with 1008', async () => {
    await using server = await startServer()
    await using session = await connect(server, alice)
    const bytes = Buffer.from(frame(200))
    const sendIn = (pieces: number) => {
      for (let at = 0; at < pieces - 1; at++)
        session.webSocket.send(bytes.subarray(at, at + 1), { fin: false, binary: false })
      session.webSocket.send(bytes.subarray(pieces - 1), { fin: true, binary: false })
    }
    sendIn(64)
    expect(await session.reply(1_000)).toHaveProperty('result')
    sendIn(65)
    expect(await session.closed).toMatchObject({ code: 1008 })
    expect(session.frames).toHaveLength(2)
  })

  it('L1 an HTTP body has 64 KiB at most with a token and 1 MiB with the API key, and one more is too_large', async () => {
    await using server = await startServer()
    for (const [by, limit] of [['token', 65_536] as const, ['key', 1_048_576] as const]) {
      expect([by, ...(await posted(server, by, limit))]).toEqual([by, 200, undefined])
      const error = { code: 'too_large', message: expect.any(String), retryable: false, details: { limit } }
      expect([by, ...(await posted(server, by, limit + 1))]).toEqual([by, 413, error])
    }
  })

  it('L1 a body has 16 KiB of UTF-8 at most', async () => {
    const right = ['x'.repeat(16_384), 'é'.repeat(8_192), '😀'.repeat(4_096)]
    await expectLimit('body', right, [...right.map((text) => `${text}x`), 'é'.repeat(16_384)], 16_384)
  })

  it('L1 metadata has 8 KiB as JSON at most', async () => {
    const right = [padded(8_192), { é: 'é'.repeat(4_091) }]
    await expectLimit('metadata', right, [padded(8_193), { é: 'é'.repeat(4_092) }], 8_192)
  })

  it('L1 an attachment has 8 KiB as JSON at most', async () => {
    await expectLimit('attachment', [padded(8_192), null], [padded(8_193)], 8_192)
  })

  it('L1 metadata and attachments are nested 32 deep at most', async () => {
    const wide = { a: Array.from({ length: 40 }, () => nested(30)) }
    for (const field of ['metadata', 'attachment']) {
      const beyond = [nested(33), listed(33), { ...nested(1), a: 1, z: nested(32) }, nested(1_000), listed(3_000)]
      await expectLimit(field, [nested(32), listed(32), wide], beyond, 32)
    }
  })

  it('L1 a title and a name have 1 KiB of UTF-8 at most, an avatar_url 2 KiB', async () => {
    for (const [field, limit] of [
      ['title', 1_024] as const,
      ['name', 1_024] as const,
      ['avatar_url', 2_048] as const,
    ]) {
      const right = ['x'.repeat(limit), 'é'.repeat(limit / 2), '', null]
      await expectLimit(field, right, ['x'.repeat(limit + 1), `${'é'.repeat(limit / 2)}x`], limit)
    }
  })

  it('L1 a client_id has 1–128 characters, else it is invalid_argument', async () => {
    await using server = await startServer()
    await using session = await connect(server, alice)
    const { conversation } = await session.command('create_conversation', { participants: [] })
    const message = await say(session, conversation.id, 'hello')
    const commands = [
      ['create_conversation', { participants: [] }],
      ['create_message', { conversation: conversation.id, body: 'b' }],
      ['edit_message', { message: message.id, body: 'c' }],
    ] as const
    for (const [command, args] of commands) {
      const attempt = (client_id: string) => session.commandOf({ command, args: { ...args, client_id } })
      for (const client_id of ['c', 'x'.repeat(128), 'é'.repeat(128), '😀'.repeat(128)]) await attempt(client_id)
      for (const client_id of ['', 'x'.repeat(129), '😀'.repeat(129), 'x'.repeat(60_000)]) {
        expect([command, await codeOf(attempt(client_id))]).toEqual([command, 'invalid_argument'])
      }
    }
  })
})

describe('numbers', () => {
  it('L2 a conversation has so many participants at most, the caller included, however they come', async () => {
    await using server = await startServer({ limits: { participants: 4 } })
    await using session = await connect(server, alice)
    const error = { code: 'too_large', details: { limit: 4 } }
    const creating = (count: number) => session.command('create_conversation', { participants: people(count) })
    expect(await refusal(creating(4))).toMatchObject(error)
    const { conversation } = await creating(2)
    const adding = (participants: UserId[]) =>
      session.command('add_participants', { conversation: conversation.id, participants })
    expect(await refusal(adding(['user/x', 'user/y']))).toMatchObject(error)
    // Those who are there already do not count twice.
    const added = await adding(['user/x', 'user/x', ...people(2), alice])
    expect(added.conversation.participant_count).toBe(4)
    expect(await refusal(adding(['user/y']))).toMatchObject(error)
    await session.command('remove_participants', { conversation: conversation.id, participants: ['user/x'] })
    expect((await adding(['user/y'])).conversation.participant_count).toBe(4)
  })

  it('L2 a conversation has 10,000 participants at most', async () => {
    await using server = await startServer()
    const create = (count: number) => server.call('create_conversation', { participants: people(count) }, alice)
    expect((await create(10_000)).error).toMatchObject({ code: 'too_large', details: { limit: 10_000 } })
    expect((await create(9_999)).result.conversation.participant_count).toBe(10_000)
  })

  it('L2 a user is in so many conversations at most, made by whomever, and again in one when he has left another', async () => {
    await using server = await startServer({ limits: { conversationsPerUser: 2 } })
    await using host = await connect(server, alice)
    await using guest = await connect(server, bob)
    const error = { code: 'too_large', details: { limit: 2 } }
    const { conversation } = await host.command('create_conversation', { participants: [bob] })
    await guest.command('create_conversation', { participants: [] })
    expect(await refusal(guest.command('create_conversation', { participants: [] }))).toMatchObject(error)
    expect(await refusal(host.command('create_conversation', { participants: [bob] }))).toMatchObject(error)
    const { conversation: own } = await host.command('create_conversation', { participants: [] })
    const adding = host.command('add_participants', { conversation: own.id, participants: [bob] })
    expect(await refusal(adding)).toMatchObject(error)
    await guest.command('leave_conversation', { conversation: conversation.id })
    await host.command('add_participants', { conversation: own.id, participants: [bob] })
  })

  it('L2 a user has 20 sessions at most: the next is answered rate_limited and closed with 4429, until one has ended', async () => {
    await using server = await startServer()
    await using opened = new AsyncDisposableStack()
    const sessions = []
    for (let count = 0; count < 20; count++) sessions.push(opened.use(await connect(server, alice)))
    const next = opened.use(await open(server))
    const error = await refusal(next.command('connect', { token: await server.token('alice') }))
    expect(error).toMatchObject({ code: 'rate_limited', retryable: true, details: { retry_after_ms: 10_000 } })
    expect(await next.closed).toEqual(rateLimited)
    opened.use(await connect(server, bob))
    await sessions[7]?.end()
    const again = opened.use(await connect(server, alice))
    expect(await again.rest()).toEqual([])
    expect(
      await codeOf(opened.use(await open(server)).command('connect', { token: await server.token('alice') })),
    ).toBe('rate_limited')
  })

  it('L2 of many that connect at once only so many come in', async () => {
    await using server = await startServer({ limits: { sessionsPerUser: 3 } })
    await using opened = new AsyncDisposableStack()
    const token = await server.token('alice')
    const sessions = await Promise.all(Array.from({ length: 10 }, () => open(server)))
    for (const session of sessions) opened.use(session)
    const codes = await Promise.all(
      sessions.map((session) =>
        session.command('connect', { token }).then(
          () => 'in',
          ({ code }) => code as string,
        ),
      ),
    )
    expect(codes.sort()).toEqual([...Array(3).fill('in'), ...Array(7).fill('rate_limited')])
  })

  it('L2 an address has 50 sessions at most that have not proved who they are, and the next closes with 4429', async () => {
    await using server = await startServer()
    await using opened = new AsyncDisposableStack()
    const sessions = []
    for (let count = 0; count < 50; count++) sessions.push(opened.use(await open(server)))
    const next = opened.use(await open(server))
    expect(await next.closed).toEqual(rateLimited)
    expect(next.frames).toEqual([])
    // One makes room by proving it, one by failing to, and one by going.
    await sessions[49]?.command('connect', { token: await server.token('alice') })
    await codeOf((sessions[1] as RawSession).command('connect', { token: 'none' }))
    await sessions[1]?.closed
    await sessions[2]?.end()
    for (let count = 0; count < 3; count++) opened.use(await connect(server, bob))
    for (let count = 0; count < 3; count++) opened.use(await open(server))
    expect(await opened.use(await open(server)).closed).toEqual(rateLimited)
  })

  it('L2 100 commands may stand behind connect before its reply, and the next one closes with 4429', async () => {
    // In memory, so that all of them come in one turn.
    await using started = await startEngine()
    const token = await started.token(alice)
    const sending = (count: number) => {
      const pair = started.open()
      pair.say(JSON.stringify({ id: 0, command: 'connect', args: { token } }))
      for (let id = 1; id <= count; id++) pair.say(`{"id":${id},"command":"ping"}`)
      pair.pumpToServer()
      pair.pumpToPeer()
      return pair
    }
    expect(sending(101).ending).toEqual(rateLimited)
    const pair = sending(100)
    await vi.waitFor(() => {
      pair.pumpToPeer()
      expect(pair.texts).toHaveLength(101)
    })
    expect(pair.ending).toBeNull()
  })

  it('L2 one get_users names 100 users at most', async () => {
    await using server = await startServer()
    await using session = await connect(server, alice)
    expect((await session.command('get_users', { users: people(100) })).users).toHaveLength(100)
    const error = await refusal(session.command('get_users', { users: people(101) }))
    expect(error).toMatchObject({ code: 'too_large', details: { limit: 100 } })
  })

  it('L2 a page has 50 unless limit says otherwise, 200 at most, and a longer one is invalid_argument', async () => {
    await using server = await startServer()
    await using session = await connect(server, alice)
    const { conversation } = (await server.call('create_conversation', { participants: people(201) }, alice)).result
    const at = { conversation: conversation.id }
    await Promise.all(Array.from({ length: 201 }, () => session.command('create_conversation', { participants: [] })))
    await Promise.all(Array.from({ length: 201 }, (_, index) => say(session, conversation.id, `${index}`)))
    const lists = {
      messages: (more: object) => session.command('get_messages', { ...at, ...more }),
      events: (more: object) => session.command('get_events', { ...at, after_seq: 0, ...more }),
      participants: (more: object) => session.command('get_participants', { ...at, ...more }),
      conversations: (more: object) => session.command('get_conversations', more),
    }
    for (const [name, list] of Object.entries(lists)) {
      const lengthOf = async (more: object) =>
        ((await list(more)) as unknown as { [name: string]: unknown[] })[name]?.length
      expect([name, await lengthOf({}), await lengthOf({ limit: 1 }), await lengthOf({ limit: 200 })]).toEqual([
        name,
        50,
        1,
        200,
      ])
      expect(await refusal(list({ limit: 201 }))).toMatchObject({ code: 'invalid_argument', details: { limit: 200 } })
    }
  })
})

describe('limits that are turned off', () => {
  it('L4 with 0 a frame, a body, metadata and an HTTP body may have any size', async () => {
    await using server = await startServer({ limits: { frameBytes: 0, bodyBytes: 0, metadataBytes: 0 } })
    await using session = await connect(server, alice)
    session.send(frame(300_000))
    expect(await session.reply(1_000)).toHaveProperty('result')
    const { conversation } = await session.command('create_conversation', { participants: [] })
    const long = { body: 'x'.repeat(100_000), metadata: padded(100_000), attachment: padded(100_000) }
    const { message } = await session.command('create_message', { conversation: conversation.id, ...long })
    expect((await session.command('edit_message', { message: message.id, ...long })).message).toMatchObject(long)
    expect((await posted(server, 'token', 2_000_000))[0]).toBe(200)
    expect((await posted(server, 'key', 2_000_000))[0]).toBe(200)
  })

  it('L4 with 0 numbers have no limit, and a page without limit still has 50', async () => {
    const limits = { participants: 0, conversationsPerUser: 0, pageLength: 0, sessionsPerUser: 0 }
    await using server = await startServer({ limits: { ...limits, unauthenticatedPerAddress: 0 } })
    await using opened = new AsyncDisposableStack()
    for (let count = 0; count < 60; count++) opened.use(await open(server))
    const session = opened.use(await connect(server, alice))
    for (let count = 0; count < 30; count++) opened.use(await connect(server, alice))
    const create = await server.call('create_conversation', { participants: people(10_100) }, alice)
    const at = { conversation: create.result.conversation.id }
    expect(create.result.conversation.participant_count).toBe(10_101)
    expect((await session.command('get_participants', { ...at, limit: 20_000 })).participants).toHaveLength(10_101)
    expect((await session.command('get_participants', at)).participants).toHaveLength(50)
    const longest = await session.command('get_participants', { ...at, limit: Number.MAX_SAFE_INTEGER })
    expect(longest.participants).toHaveLength(10_101)
  })

  it('L4 with noLimits those of U4 and T4 are off as well, and the fixed ones stay', async () => {
    await using server = await startServer({ limits: noLimits, listeners: true })
    await using opened = new AsyncDisposableStack()
    const channel = (await server.call('get_user_channel', {}, alice)).result.user_channel.name as string
    for (let count = 0; count < 8; count++) {
      expect(await opened.use(await open(server)).command('connect', { channel })).toMatchObject({ user: alice })
    }
    await using session = await connect(server, alice)
    const made = Array.from({ length: 120 }, () => session.command('create_conversation', { participants: [] }))
    const ids = (await Promise.all(made)).map(({ conversation }) => conversation.id)
    for (const conversation of ids) await session.command('subscribe_typing', { conversation })
    const [conversation] = ids
    const fixed = [
      ['update_conversation', { conversation, title: 'x'.repeat(1_025) }, 'too_large'],
      ['update_conversation', { conversation, metadata: nested(33) }, 'too_large'],
      ['update_conversation', { conversation, metadata: listed(50_000) }, 'too_large'],
      ['update_user', { name: 'x'.repeat(1_025) }, 'too_large'],
      ['update_user', { avatar_url: 'x'.repeat(2_049) }, 'too_large'],
      ['get_users', { users: people(101) }, 'too_large'],
      ['create_message', { conversation, body: '', client_id: 'x'.repeat(129) }, 'invalid_argument'],
    ] as const
    for (const [command, args, code] of fixed) {
      expect([command, await codeOf(session.commandOf({ command, args }))]).toEqual([command, code])
    }
  })
})
