/** The end of a server (S7): what was read is done and answered, nobody new comes in, and everybody is told when to come back. */
import { expect, it } from 'vitest'
import type { ConversationId } from '../../src/protocol/ids.ts'
import type { Message } from '../../src/protocol/records.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { connect, type Ending, open, RawSession } from '../../src/testing/raw-session.ts'
import { startEngine } from '../../src/testing/start-engine.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { connectPumped, Pumped } from '../chat/pumped.ts'
import { say } from '../chat/stage.ts'
import { startCommand } from '../cli/command.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'
import { hasOpenssl, look, makeCertificate } from '../operator/certificates.ts'
import { sendBytes } from './raw-tcp.ts'

const alice = 'user/alice'
const bob = 'user/bob'

/** The milliseconds that stand in the reason. */
function delayOf({ code, reason }: Ending): number {
  expect([code, reason]).toEqual([4503, expect.stringMatching(/^draining \d+$/)])
  return Number(reason.slice('draining '.length))
}

/** Says it; the body, or null where the session ended before there was an answer. */
function trySaying(session: RawSession, conversation: ConversationId, body: string): Promise<string | null> {
  return say(session, conversation, body).then(
    (message) => message.body,
    () => null,
  )
}

async function answered(sayings: readonly Promise<string | null>[]): Promise<string[]> {
  return (await Promise.all(sayings)).filter((body) => body !== null)
}

it('S7 what was read is answered, published and on disk before the session is closed; what comes later is not read', async () => {
  await using started = await startEngine()
  const [host, guest] = [await connectPumped(started, alice), await connectPumped(started, bob)]
  const { conversation } = await host.command('create_conversation', { participants: [bob] })
  const ids: number[] = []
  for (let count = 0; count < 50; count++) {
    ids.push(host.give('create_message', { conversation: conversation.id, body: `${count}` }))
  }
  ids.push(host.give('get_messages', { conversation: conversation.id }), host.give('get_unread_count'))
  const drained = started.engine.drain()
  const late = host.give('create_message', { conversation: conversation.id, body: 'late' })
  await drained
  for (const peer of [host, guest]) delayOf(await peer.takeToTheEnd())
  const replies = host.frames.flatMap((frame) => ('id' in frame ? [frame.id] : []))
  expect(replies.slice(-ids.length).toSorted((one, other) => one - other)).toEqual(ids)
  expect(replies).not.toContain(late)
  expect(guest.events.filter(({ data }) => data.record_type === 'message')).toHaveLength(50)
  const { messages } = await started.engine.storage.messages.list(bob, conversation.id, 100, {})
  expect(messages).toHaveLength(50)
})

it('S7 what stood behind a `connect` that was read is answered too', async () => {
  await using started = await startEngine()
  const host = await connectPumped(started, alice)
  const { conversation } = await host.command('create_conversation', { participants: [bob] })
  const peer = new Pumped(started)
  const token = await started.token(bob)
  const connecting = peer.give('connect', { token })
  const saying = peer.give('create_message', { conversation: conversation.id, body: 'read before the end' })
  await started.engine.drain()
  delayOf(await peer.takeToTheEnd())
  const replies = peer.frames.flatMap((frame) => ('id' in frame ? [[frame.id, 'result' in frame]] : []))
  expect(replies).toEqual([
    [connecting, true],
    [saying, true],
  ])
  const { messages } = await started.engine.storage.messages.list(bob, conversation.id, 100, {})
  expect(messages.map(({ body }) => body)).toEqual(['read before the end'])
})

it('S7 a `connect` that is refused meanwhile, or whose peer vanishes, holds nothing up', async () => {
  await using started = await startEngine()
  const [refused, gone] = [new Pumped(started), new Pumped(started)]
  refused.give('connect', { token: 'none' })
  gone.give('connect', { token: await started.token(bob) })
  gone.pair.cut()
  await started.engine.drain()
  expect((await refused.takeToTheEnd()).code).toBe(4401)
  expect(started.engine.sessions.size).toBe(0)
})

it('S7 all sessions are told to come back at moments spread over the drain time, those that have not connected too', async () => {
  await using server = await startServer({ drainMs: 4_000, limits: { sessionsPerUser: 0 } })
  const sessions: RawSession[] = []
  for (let count = 0; count < 40; count++) sessions.push(await connect(server, bob))
  for (let count = 0; count < 10; count++) sessions.push(await open(server))
  await server.stop()
  const delays = await Promise.all(sessions.map(async (session) => delayOf(await session.closed)))
  for (const delay of delays) expect(delay).toBeLessThan(4_000)
  // Of 50 moments each quarter has some: that one is empty by chance happens once in 400,000 times.
  const quarters = new Set(delays.map((delay) => Math.floor(delay / 1_000)))
  expect([...quarters].toSorted()).toEqual([0, 1, 2, 3])
})

it('S7 meanwhile a new session and a call are refused with 503 and when to come back', async () => {
  await using server = await startServer()
  await using host = await connect(server, alice)
  await using slow = await connect(server, bob)
  // As long as one peer does not say goodbye the server waits for it, and is there for whoever comes.
  slow.webSocket.pause()
  const stopping = server.stop()
  delayOf(await host.closed)
  const refused = new RawSession(server.socketUrl, {})
  const answer = await new Promise<{ status: number | undefined; retryAfter: string | undefined }>((resolve) => {
    refused.webSocket.once('unexpected-response', (request, response) => {
      resolve({ status: response.statusCode, retryAfter: response.headers['retry-after'] })
      request.destroy()
    })
  })
  expect(answer).toEqual({ status: 503, retryAfter: '1' })
  const call = await server.call('create_conversation', { participants: [bob] }, alice)
  expect([call.status, call.error.code, call.error.retryable]).toEqual([503, 'unavailable', true])
  expect(call.headers.get('retry-after')).toBe('1')
  slow.webSocket.resume()
  delayOf(await slow.closed)
  await stopping
  await server.start()
  expect((await server.call('get_conversations', {}, alice)).result.conversations).toEqual([])
})

it.skipIf(!hasOpenssl)('S7 who stalls in the TLS handshake does not hold up the end until that times out', async () => {
  using folder = temporaryFolder()
  await using server = await startServer({ tls: makeCertificate(folder) })
  await using stalled = await sendBytes(server, '\x16')
  const timeOut = Promise.withResolvers<string>()
  const timer = setTimeout(timeOut.resolve, 10_000, 'timed out')
  // The server takes connections in their order, so it has taken that one.
  await look(server.url)
  expect(await Promise.race([server.stop().then(() => 'stopped'), timeOut.promise])).toBe('stopped')
  clearTimeout(timer)
  await stalled.closed
})

it('S7, M3 whenever the end comes, what is on disk is just what was answered, and a resume brings it', async () => {
  const random = new Random(seedOfTest())
  await using server = await startServer()
  let [cursor, conversation] = ['', '' as ConversationId]
  const expected: string[] = []
  for (let round = 0; round < 8; round++) {
    await using host = await connect(server, alice)
    await using guest = await connect(server, bob)
    if (!conversation) {
      conversation = (await host.command('create_conversation', { participants: [bob] })).conversation.id
      cursor = (await guest.command('ping')).cursor
    }
    const commands: Promise<string | null>[] = []
    for (let count = 0; count < 60; count++) {
      commands.push(trySaying(host, conversation, `${round} ${count}`))
      if (random.below(5) === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    await server.stop()
    for (const session of [host, guest]) delayOf(await session.closed)
    const now = await answered(commands)
    expected.push(...now)
    const live = guest.events.flatMap(({ data }) => (data.record_type === 'message' ? [data.record.body] : []))
    expect(live).toEqual(now)
    await server.start()
    const { result } = await server.call('get_messages', { conversation, after_seq: 0, limit: 200 }, bob)
    expect(result.messages.map(({ body }) => body)).toEqual(expected)
    if (expected.length > 100) break
  }
  await using back = await open(server)
  await back.command('connect', { token: await server.token('bob'), cursor })
  await back.rest()
  expect(back.events.map(({ data }) => 'body' in data.record && data.record.body)).toEqual(expected)
})

it('S7 at SIGTERM the process answers what it has read, sends everybody off with 4503, and exits with 0', async () => {
  using folder = temporaryFolder()
  const args = ['serve', '--port=0', '--data', folder.in('data')]
  const env = {
    FANFARE_API_KEY: 'an-api-key-of-a-test-of-the-drain',
    FANFARE_TOKEN_SECRET: 'a-token-secret-of-32-bytes-and-more',
  }
  const urlOf = (line: string) => line.replace(/^.*listening on /, '')
  const call = async (url: string, command: string, args: object, as?: string) => {
    const headers = { authorization: `Bearer ${env.FANFARE_API_KEY}`, ...(as && { 'fanfare-as': as }) }
    const answer = await fetch(`${url}/v2/${command}`, { method: 'POST', headers, body: JSON.stringify(args) })
    return ((await answer.json()) as { result: never }).result
  }
  const join = async (url: string, user: string) => {
    const session = new RawSession(`${url.replace('http', 'ws')}/v2/socket`, {})
    await new Promise((resolve) => session.webSocket.once('open', resolve))
    const { token } = (await call(url, 'create_token', { user })) as { token: string }
    await session.command('connect', { token })
    return session
  }

  await using server = startCommand(args, { env })
  const url = urlOf(await server.line('listening on '))
  const [host, guest] = [await join(url, alice), await join(url, bob)]
  const { conversation } = await host.command('create_conversation', { participants: [bob] })
  const commands = Array.from({ length: 300 }, (_, count) => trySaying(host, conversation.id, `${count}`))
  expect(await commands[5]).toBe('5')
  server.process.kill('SIGTERM')
  const now = await answered(commands)
  for (const session of [host, guest]) expect(delayOf(await session.closed)).toBeLessThan(5_000)
  expect(await server.ended).toMatchObject({ code: 0, stderr: '' })
  expect(now.length).toBeGreaterThan(5)

  await using again = startCommand(args, { env })
  const later = urlOf(await again.line('listening on '))
  const stored: Message[] = []
  for (let last = 0; ; last = stored.at(-1)?.seq ?? last) {
    const page = { conversation: conversation.id, after_seq: last, limit: 200 }
    const { messages } = (await call(later, 'get_messages', page, bob)) as { messages: Message[] }
    if (messages.length === 0) break
    stored.push(...messages)
  }
  expect(stored.map(({ body }) => body)).toEqual(now)
})
