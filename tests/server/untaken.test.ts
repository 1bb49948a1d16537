/** Answers over HTTP that their peers do not take (S6), over real sockets: for how long they are held, and what they count with. */
import { readFileSync } from 'node:fs'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import { connect as dial } from 'node:tls'
import { expect, it, vi } from 'vitest'
import { Queues } from '../../src/engine/queues.ts'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { connect } from '../../src/testing/raw-session.ts'
import type { TestServer } from '../../src/testing/start-server.ts'
import { Untaken } from '../../src/transport/untaken.ts'
import { alice, openStage } from '../chat/stage.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'
import { hasOpenssl, makeCertificate } from '../operator/certificates.ts'
import { type RawTcp, sendBytes } from './raw-tcp.ts'

const bodyBytes = 16_000

/** A conversation whose page of 200 messages is longer than what systems buffer. */
async function longRoom(server: TestServer): Promise<ConversationId> {
  const { conversation } = (await server.call('create_conversation', { participants: [] }, alice)).result
  const [body, metadata] = ['x'.repeat(bodyBytes), { filling: 'y'.repeat(8_000) }]
  await Promise.all(
    Array.from({ length: 200 }, () =>
      server.call('create_message', { conversation: conversation.id, body, metadata, attachment: metadata }, alice),
    ),
  )
  return conversation.id
}

/** A peer that asks for the page `times` on one connection and takes nothing of it. */
async function ask(server: TestServer, conversation: ConversationId, times = 1): Promise<RawTcp> {
  const args = JSON.stringify({ conversation, limit: 200 })
  const head = `POST /v2/get_messages HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${await server.token('alice')}`
  const tcp = await sendBytes(server, `${head}\r\nContent-Length: ${args.length}\r\n\r\n${args}`.repeat(times))
  tcp.socket.pause()
  return tcp
}

/** Takes so many bytes, and nothing more then. */
async function takeSome({ socket }: { readonly socket: Socket }, bytes: number): Promise<void> {
  await new Promise<void>((resolve) => {
    const look = () => {
      if (socket.bytesRead < bytes) return
      socket.off('data', look).pause()
      resolve()
    }
    socket.on('data', look).resume()
  })
}

function connections(server: Server): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) => (error ? reject(error) : resolve(count))),
  )
}

async function queueBytes(server: TestServer): Promise<number> {
  const answer = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${server.apiKey}` } })
  return Number(/^fanfare_queue_bytes (\d+)/m.exec(await answer.text())?.[1])
}

/** Resolves when `count` whole answers wait. */
async function waiting(server: TestServer, count: number): Promise<void> {
  await vi.waitFor(async () => expect(await queueBytes(server)).toBeGreaterThan(count * 6_000_000), { timeout: 20_000 })
}

it('S6 an answer over HTTP of which nothing is taken for 30 s ends its connection, and one that is taken slowly does not', async () => {
  await using stage = await openStage()
  const { server, clock } = stage
  const conversation = await longRoom(server)
  await using stalled = await ask(server, conversation)
  await using slow = await ask(server, conversation, 2)
  await waiting(server, 3)
  let cut = false
  stalled.closed.then(() => {
    cut = true
  })
  clock.advance(30_000)
  expect(await queueBytes(server)).toBeGreaterThan(18_000_000)
  expect(cut).toBe(false)
  // More than the systems hold between the two: so the server's has taken more by then.
  await takeSome(slow, 6_000_000)
  clock.advance(30_000)
  stalled.socket.resume()
  await stalled.closed
  expect(stalled.socket.bytesRead).toBeLessThan(6_400_000)
  slow.socket.resume()
  await vi.waitFor(() => expect(slow.socket.bytesRead).toBeGreaterThan(12_800_000), { timeout: 20_000 })
  await vi.waitFor(async () => expect(await queueBytes(server)).toBe(0))
}, 60_000)

it('S6 answers over HTTP count with all queues, those behind another on one connection too, and the longest goes', async () => {
  await using stage = await openStage({ queuesBytes: 25_000_000 })
  const { server } = stage
  const conversation = await longRoom(server)
  await using session = await connect(server, alice)
  await using one = await ask(server, conversation)
  await using two = await ask(server, conversation, 2)
  await waiting(server, 3)
  await using last = await ask(server, conversation)
  const ended: RawTcp[] = []
  for (const tcp of [one, two, last]) tcp.closed.then(() => ended.push(tcp))
  await vi.waitFor(async () => expect(await queueBytes(server)).toBeLessThan(20_000_000), { timeout: 20_000 })
  for (const tcp of [one, two, last]) tcp.socket.resume()
  await vi.waitFor(async () => expect(await queueBytes(server)).toBe(0), { timeout: 20_000 })
  await vi.waitFor(() => expect(ended).toHaveLength(1), { timeout: 20_000 })
  await session.command('ping')
}, 60_000)

it('S6 an answer that is yet to come is waited for, however long it takes', async () => {
  await using stage = await openStage()
  const { server, clock } = stage
  const head = `POST /v2/get_unread_count HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${await server.token('alice')}`
  await using tcp = await sendBytes(server, `${head}\r\nContent-Length: 2\r\n\r\n{`)
  await server.call('get_unread_count', {}, alice)
  for (let count = 0; count < 5; count++) clock.advance(30_000)
  tcp.socket.write('}')
  expect(await tcp.until('"message"')).toContain('200 OK')
})

it.runIf(hasOpenssl)(
  'S6 so it is with TLS, where Node itself sees nothing of what is taken',
  async () => {
    using folder = temporaryFolder()
    const { cert, key } = makeCertificate(folder)
    const clock = new FakeClock()
    const untaken = new Untaken(clock, new Queues(Number.POSITIVE_INFINITY))
    let given = 0
    const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
      untaken.watch(request, response)
      response.end('x'.repeat(32_000_000))
      given++
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const socket = dial({ port: (server.address() as AddressInfo).port, rejectUnauthorized: false })
    const closed = new Promise((resolve) => socket.on('error', () => {}).once('close', resolve))
    socket.pause().write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    await vi.waitFor(() => expect(given).toBe(1))
    for (let taken = 0; taken < 3; taken++) {
      clock.advance(30_000)
      await takeSome({ socket }, socket.bytesRead + 6_000_000)
    }
    // It takes nothing more, but what the systems hold may still be on its way.
    await vi.waitFor(() => {
      clock.advance(30_000)
      return expect(connections(server)).resolves.toBe(0)
    })
    expect(socket.bytesRead).toBeGreaterThan(18_000_000)
    socket.resume()
    await closed
    await new Promise((resolve) => server.close(resolve))
  },
  60_000,
)
