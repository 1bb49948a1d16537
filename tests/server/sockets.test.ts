/** Both adapters of the socket seam: the WebSocket server, and the pair in memory that other tests stand on. */
import { closeSync, fstatSync, mkdtempSync, openSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo, Socket as TcpSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it, vi } from 'vitest'
import { WebSocket } from 'ws'
import { pingIntervalMs, type Session } from '../../src/engine/session.ts'
import type { Socket } from '../../src/engine/socket.ts'
import { Frame } from '../../src/protocol/frames.ts'
import type { FakeClock } from '../../src/testing/clock.ts'
import type { Ending } from '../../src/testing/raw-session.ts'
import { type SocketStage, socketContract } from '../../src/testing/socket-contract.ts'
import { startEngine } from '../../src/testing/start-engine.ts'
import { TrustedProxies } from '../../src/transport/address.ts'
import { descriptorOf } from '../../src/transport/descriptor.ts'
import { WebSocketServer } from '../../src/transport/websocket-server.ts'
import { WriteBatch } from '../../src/transport/write-batch.ts'

socketContract('a pair in memory', openPair)
socketContract('a WebSocket', () => openWebSocket())
socketContract('a WebSocket, where each write is a call of its own', openAlone)

it('W1 nothing follows the answer to a peer’s close frame, also where it waits for a peer that is far behind', async () => {
  await using stage = await openWebSocket()
  const { socket, peer, taken } = stage
  peer.pause()
  const frame = new Frame('x'.repeat(1_000_000))
  while (await turn(() => socket.bufferedBytes === 0)) socket.send(frame)
  const behind = socket.bufferedBytes
  peer.close()
  await vi.waitFor(() => expect(socket.bufferedBytes).not.toBe(behind), { timeout: 10_000 })
  const answered = socket.bufferedBytes
  socket.send(new Frame('late'))
  expect(await turn(() => socket.bufferedBytes)).toBe(answered)
  peer.resume()
  await stage.ended()
  expect(await taken(0)).not.toContain('late')
})

it('U2 nothing goes to who has got the descriptor of a connection that was destroyed', async () => {
  await using stage = await openWebSocket()
  const { socket, tcp, taken } = stage
  socket.send(new Frame('"before"'))
  await taken(1)
  const descriptor = descriptorOf(tcp)
  socket.send(new Frame('"secret"'))
  tcp.destroy()
  using files = openUpTo(descriptor)
  expect(files.descriptors).toContain(descriptor)
  await turn(() => {})
  expect(fstatSync(descriptor).size).toBe(0)
})

it('SOCKET what goes to several sockets in one turn goes in one call, and to none by a write of its own', async ({
  skip,
}) => {
  if (!WriteBatch.open()) return skip('SKIPPED: this system or this Node has no writes in one system call')
  const opening = Array.from({ length: 5 }, () => openWebSocket())
  await using stages = new AsyncDisposableStack()
  const opened = await Promise.all(opening)
  for (const stage of opened) stages.use(stage)
  const submit = vi.spyOn(WriteBatch.prototype, 'submit')
  const streamed = opened.map(({ tcp }) => tcp.bytesWritten)
  for (const { socket } of opened) socket.send(new Frame('"each"'))
  await turn(() => {})
  expect(submit).toHaveBeenCalledTimes(1)
  // Four of these leave no room in the memory of one call.
  const own = opened.map((_, index) => new Frame(JSON.stringify(`${index}`.repeat(250_000))))
  for (const [index, { socket }] of opened.entries()) socket.send(own[index]!)
  await turn(() => {})
  expect(submit).toHaveBeenCalledTimes(3)
  submit.mockRestore()
  for (const [index, { taken }] of opened.entries()) expect(await taken(2)).toEqual(['"each"', own[index]?.text])
  expect(opened.map(({ tcp }) => tcp.bytesWritten)).toEqual(streamed)
})

it('W1 nothing follows the answer to a close frame that came in the same turn', async () => {
  await using stage = await openWebSocket()
  const { socket, session, peer, transport } = stage
  session.receive = () => socket.send(new Frame('"late"'))
  const before = transport.traffic.sentBytes
  peer.send('"anything"')
  peer.close(1000)
  await stage.ended()
  await turn(() => {})
  // A head of two bytes, and the code.
  expect(transport.traffic.sentBytes - before).toBe(4)
})

it('S6 one that falls behind may end another in the same turn, whose close comes behind what it was owed', async ({
  skip,
}) => {
  if (!WriteBatch.open()) return skip('SKIPPED: this system or this Node has no writes in one system call')
  const frame = new Frame(JSON.stringify('x'.repeat(400_000)))
  const submit = vi.spyOn(WriteBatch.prototype, 'submit')
  let seen = false
  // Both must be behind at the same write, which is the system's to say.
  for (let attempt = 0; !seen && attempt < 20; attempt++) {
    await using one = await openWebSocket()
    await using other = await openWebSocket()
    one.session.fellBehind = () => other.session.close(4409)
    other.session.fellBehind = () => one.session.close(4409)
    for (const { peer } of [one, other]) peer.pause()
    let sent = 0
    while (!one.session.closed && !other.session.closed) {
      for (const { socket } of [one, other]) socket.send(frame)
      sent++
      await turn(() => {})
    }
    seen = submit.mock.results.some(({ value }) => value.length === 2)
    for (const { peer } of [one, other]) peer.resume()
    const [ended, alive] = one.session.closed ? [one, other] : [other, one]
    expect(await ended.ended()).toEqual({ code: 4409, reason: 'slow_consumer' })
    expect(await ended.taken(sent)).toEqual(Array(sent).fill(frame.text))
    if (!alive.session.closed) expect(await alive.taken(sent)).toHaveLength(sent)
  }
  submit.mockRestore()
  expect(seen).toBe(true)
})

it('OPERATOR of what a slow peer takes late each byte is counted once', async () => {
  await using stage = await openWebSocket()
  const { socket, peer, transport, tcp } = stage
  peer.pause()
  const frame = new Frame(JSON.stringify('x'.repeat(400_000)))
  const before = transport.traffic.sentBytes
  let sent = 0
  while (await turn(() => tcp.writableLength === 0)) {
    socket.send(frame)
    sent++
  }
  peer.resume()
  await stage.taken(sent)
  await vi.waitFor(() => expect(tcp.writableLength).toBe(0))
  // Of its length WebSocket tells in 8 bytes, behind 2 others.
  expect(transport.traffic.sentBytes - before).toBe(sent * (400_002 + 10))
})

it('S5 what is sent goes behind a ping and a pong that wait for the peer', async () => {
  await using stage = await openWebSocket()
  const { socket, session, tcp, peer, clock } = stage
  session.expireAt(clock.now() + 2 * pingIntervalMs)
  const came: string[] = []
  peer.on('ping', () => came.push('ping'))
  peer.on('pong', () => came.push('pong'))
  peer.on('message', (data) => came.push(data.toString()))

  socket.send(new Frame('one'))
  await vi.waitFor(() => expect(came).toEqual(['one']))
  tcp.cork()
  clock.advance(pingIntervalMs)
  socket.send(new Frame('two'))
  await turn(() => tcp.uncork())
  await vi.waitFor(() => expect(came).toEqual(['one', 'ping', 'two']))

  socket.send(new Frame('three'))
  await vi.waitFor(() => expect(came).toContain('three'))
  tcp.cork()
  peer.ping()
  await vi.waitFor(() => expect(tcp.writableLength).toBeGreaterThan(0))
  socket.send(new Frame('four'))
  await turn(() => tcp.uncork())
  await vi.waitFor(() => expect(came).toEqual(['one', 'ping', 'two', 'three', 'pong', 'four']))
})

/** Opens empty files until one has got the descriptor: the system gives the least number that is free. */
function openUpTo(descriptor: number): Disposable & { readonly descriptors: readonly number[] } {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-'))
  const descriptors: number[] = []
  while (descriptors.length < 100 && !descriptors.includes(descriptor)) {
    descriptors.push(openSync(join(folder, `${descriptors.length}`), 'w'))
  }
  return {
    descriptors,
    [Symbol.dispose]() {
      for (const one of descriptors) closeSync(one)
      rmSync(folder, { recursive: true })
    },
  }
}

/** What `read` says at the end of this turn, when what was queued in it is written. */
function turn<T>(read: () => T): Promise<T> {
  return new Promise((resolve) => setImmediate(() => resolve(read())))
}

async function openPair(): Promise<SocketStage> {
  const started = await startEngine()
  const { engine } = started
  const sessions: Session[] = []
  const { open } = engine
  engine.open = (socket, ...from) => keep(sessions, open.call(engine, socket, ...from))
  const pair = started.open()
  const session = sessions[0] as Session
  return {
    socket: pair,
    session,
    async taken() {
      pair.pumpToPeer()
      return pair.texts
    },
    async ended() {
      pair.pumpToPeer()
      return pair.ending as Ending
    },
    takeNothing() {},
    takeAgain() {},
    async vanish() {
      pair.cut()
    },
    [Symbol.asyncDispose]: () => started[Symbol.asyncDispose](),
  }
}

interface WebSocketStage extends SocketStage {
  readonly peer: WebSocket
  readonly tcp: TcpSocket
  readonly transport: WebSocketServer
  readonly clock: FakeClock
}

/** As on a system that takes no writes together. */
async function openAlone(): Promise<WebSocketStage> {
  vi.resetModules()
  const { WriteBatch } = await import('../../src/transport/write-batch.ts')
  vi.spyOn(WriteBatch, 'open').mockReturnValue(null)
  const { WebSocketServer } = await import('../../src/transport/websocket-server.ts')
  return openWebSocket(WebSocketServer)
}

async function openWebSocket(Server = WebSocketServer): Promise<WebSocketStage> {
  // The suite fills queues further than a session would let it.
  const started = await startEngine({ queueBytes: Number.POSITIVE_INFINITY })
  const { engine } = started
  const sockets: Socket[] = []
  const sessions: Session[] = []
  const { open } = engine
  engine.open = (socket, ...from) => keep(sessions, open.call(engine, keep(sockets, socket), ...from))
  const transport = new Server(engine, [], new TrustedProxies([]))
  const connections: TcpSocket[] = []
  const http = createServer().on('upgrade', (request, tcp, head) => transport.upgrade(request, tcp, head))
  http.on('connection', (tcp) => connections.push(tcp))
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))

  const peer = new WebSocket(`ws://127.0.0.1:${(http.address() as AddressInfo).port}/v2/socket`)
  const texts: string[] = []
  let ending: Ending | null = null
  peer.on('message', (data) => texts.push(data.toString()))
  peer.once('close', (code, reason) => {
    ending = { code, reason: reason.toString() }
  })
  await new Promise((resolve) => peer.once('open', resolve))
  const session = sessions[0] as Session
  return {
    peer,
    transport,
    clock: started.clock,
    tcp: connections[0] as TcpSocket,
    socket: sockets[0] as Socket,
    session,
    async taken(count) {
      await vi.waitFor(() => expect(ending !== null || texts.length >= count).toBe(true), { timeout: 10_000 })
      return texts
    },
    async ended() {
      await vi.waitFor(() => expect(ending).not.toBeNull(), { timeout: 10_000 })
      return ending as unknown as Ending
    },
    takeNothing: () => peer.pause(),
    takeAgain: () => peer.resume(),
    async vanish() {
      peer.terminate()
      await vi.waitFor(() => expect(session.closed).toBe(true), { timeout: 10_000 })
    },
    async [Symbol.asyncDispose]() {
      peer.terminate()
      await started[Symbol.asyncDispose]()
      await transport.ended()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}

function keep<T>(kept: T[], one: T): T {
  kept.push(one)
  return one
}
