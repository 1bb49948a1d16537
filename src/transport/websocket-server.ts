/** Sessions over WebSocket: this file is where bytes become commands, and frames become bytes (W1, S5). */
import type { IncomingMessage } from 'node:http'
import type { Socket as TcpSocket } from 'node:net'
import type { Duplex } from 'node:stream'
import { WebSocketServer as Acceptor, type RawData, type Server, type ServerOptions, WebSocket } from 'ws'
import type { Clock } from '../engine/clock.ts'
import type { Engine } from '../engine/engine.ts'
import { pingIntervalMs, type Session } from '../engine/session.ts'
import type { Socket } from '../engine/socket.ts'
import { type CloseCode, FanfareError } from '../protocol/codes.ts'
import { type Frame, socketPath } from '../protocol/frames.ts'
import type { TrustedProxies } from './address.ts'
import { beforeRelease, descriptorOf, noDescriptor, writeNow } from './descriptor.ts'
import { refuseUpgrade } from './http-error.ts'
import { Owed } from './owed.ts'
import { isAllowedOrigin, pathOf, toldOrigin } from './request.ts'
import { WriteBatch } from './write-batch.ts'

/** A peer that has not answered a ping by then is dropped (S5). */
const pongTimeoutMs = 10_000
/** A peer that does not answer a close is cut off after this. */
const closeTimeoutMs = 5_000
/** A command has 64 KiB: nobody honest sends it in more pieces, and each piece costs memory (`ws` takes 16,384). */
const mostFragments = 64
const mostBufferedChunks = 1_024

export class WebSocketServer {
  readonly #engine: Engine
  readonly #origins: readonly string[]
  readonly #proxies: TrustedProxies
  readonly #acceptor: Server<typeof Peer>
  readonly #connections = new Set<Connection>()
  /** What no socket counts: what was written past them, and all of the connections that have ended. */
  readonly #uncounted: Traffic = { sentBytes: 0, receivedBytes: 0 }
  #whenEnded = () => {}
  readonly #onEnd = (connection: Connection) => {
    this.#connections.delete(connection)
    connection.addTo(this.#uncounted)
    if (this.#connections.size === 0) this.#whenEnded()
  }

  constructor(engine: Engine, origins: readonly string[], proxies: TrustedProxies) {
    this.#engine = engine
    this.#origins = origins
    this.#proxies = proxies
    if (batch === undefined) batch = WriteBatch.open()
    // The types of ws lack the last three.
    const options: ServerOptions<typeof Peer> & {
      maxFragments: number
      maxBufferedChunks: number
      closeTimeout: number
    } = {
      noServer: true,
      WebSocket: Peer,
      clientTracking: false,
      // Compression costs memory for each session and leaks lengths of what stands beside a secret.
      perMessageDeflate: false,
      // There are no subprotocols here, and `ws` would echo the first one that is offered, which may be somebody's secret.
      handleProtocols: () => false,
      maxPayload: engine.config.limits.frameBytes,
      maxFragments: mostFragments,
      maxBufferedChunks: mostBufferedChunks,
      closeTimeout: closeTimeoutMs,
    }
    this.#acceptor = new Acceptor(options)
  }

  /** Takes over an HTTP connection that asks to become a WebSocket, or refuses it. */
  upgrade(request: IncomingMessage, tcp: Duplex, head: Buffer): void {
    const address = this.#proxies.clientOf(request)
    const origin = toldOrigin(request)
    try {
      this.#requireWelcome(request, address)
      this.#acceptor.handleUpgrade(request, tcp, head, (webSocket) => this.#accept(webSocket, address, origin, tcp))
    } catch (cause) {
      const error = this.#engine.toError(cause, 'making a connection a WebSocket')
      const { code } = error
      this.#engine.observer.refused({ where: 'upgrade', command: null, code, user: null, address, origin })
      refuseUpgrade(tcp, error)
    }
  }

  /** Throws why it is refused. */
  #requireWelcome(request: IncomingMessage, address: string): void {
    if (this.#engine.draining) {
      throw new FanfareError('unavailable', 'this server is about to end: come back for the next one')
    }
    if (pathOf(request) !== socketPath) throw new FanfareError('not_found', `a WebSocket is at ${socketPath} only`)
    this.#engine.requireRate(address)
    if (!isAllowedOrigin(request, this.#origins)) {
      throw new FanfareError('forbidden', 'pages of this origin may not connect: see --origins')
    }
  }

  #accept(webSocket: Peer, address: string, origin: string | null, tcp: Duplex): void {
    // What Node gives for an upgrade is the connection itself, and only its type says less.
    const connection = new Connection(webSocket, tcp as TcpSocket, this.#engine.clock, this.#uncounted, this.#onEnd)
    this.#connections.add(connection)
    connection.begin(this.#engine.open(connection, address, origin))
  }

  /** What all connections have carried since the start. */
  get traffic(): Readonly<Traffic> {
    const traffic = { ...this.#uncounted }
    for (const connection of this.#connections) connection.addTo(traffic)
    return traffic
  }

  /** Resolves when all connections have ended. Their sessions were closed before, so all that is awaited is the peers' goodbye. */
  ended(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenEnded = resolve
      if (this.#connections.size === 0) resolve()
    })
  }
}

interface Traffic {
  sentBytes: number
  receivedBytes: number
}

/** One end of a WebSocket, as `ws` makes it. */
class Peer extends WebSocket {
  /** Whose it is. By it all share their listeners: with closures of its own a session took 1 KiB more. */
  connection: Connection | null = null

  /** The close handshake begins, be it that `ws` answers the peer's close frame: no other frame may follow (RFC 6455, 5.5.1). */
  override close(code?: number, data?: string | Buffer): void {
    this.connection?.closing()
    super.close(code, data)
  }
}

/** Its listeners, which `ws` calls with it as `this`. */
const listeners = {
  message(this: WebSocket, data: RawData, isBinary: boolean): void {
    connectionOf(this)?.received(data, isBinary)
  },
  ping(this: WebSocket): void {
    connectionOf(this)?.streamed()
  },
  pong(this: WebSocket): void {
    connectionOf(this)?.pingLater()
  },
  close(this: WebSocket, code: number): void {
    connectionOf(this)?.ended(code)
  },
  /** ws closes the connection itself after an error of the peer's (1002, 1007, 1009), and tells of it by 'close'. */
  error(): void {},
}

function connectionOf(webSocket: WebSocket): Connection | null {
  return (webSocket as Peer).connection
}

/** One connection. Frames of one event-loop turn go out in one write, and whole, past `ws`, which would frame each anew. */
class Connection implements Socket {
  readonly #webSocket: Peer
  readonly #tcp: TcpSocket
  readonly #clock: Clock
  readonly #uncounted: Traffic
  readonly #onEnd: (connection: Connection) => void
  #descriptor: number
  /** Whether something went to the stream, be it of `ws`, which may wait there. It did when the connection became a WebSocket. */
  #streamed = true
  /** What is written at the end of this turn. */
  #owed: Owed | null = null
  #closing = false
  #session: Session | null = null
  #cancelPing = () => {}

  /** Adds to `uncounted` what it writes past its socket. */
  constructor(
    webSocket: Peer,
    tcp: TcpSocket,
    clock: Clock,
    uncounted: Traffic,
    onEnd: (connection: Connection) => void,
  ) {
    this.#webSocket = webSocket
    webSocket.connection = this
    this.#tcp = tcp
    this.#clock = clock
    this.#uncounted = uncounted
    this.#onEnd = onEnd
    this.#descriptor = descriptorOf(tcp)
    beforeRelease(tcp, this)
  }

  /** Hands what comes to the session, and begins to ping. */
  begin(session: Session): void {
    this.#session = session
    const { message, ping, pong, close, error } = listeners
    this.#webSocket.on('message', message).on('ping', ping).on('pong', pong).on('close', close).on('error', error)
    this.pingLater()
  }

  received(data: RawData, isBinary: boolean): void {
    if (isBinary) this.#session?.receiveBinary()
    else this.#session?.receive(data.toString('utf8'))
  }

  /** `ws` wrote something by itself. */
  streamed(): void {
    this.#streamed = true
  }

  /** Nothing is written any more but what closes it. */
  closing(): void {
    this.#closing = true
    this.#cancelPing()
  }

  released(): void {
    this.#descriptor = noDescriptor
  }

  ended(code: number): void {
    this.closing()
    this.#session?.ended(code)
    this.#onEnd(this)
  }

  /** Adds what its socket has counted so far. */
  addTo(traffic: Traffic): void {
    traffic.sentBytes += this.#tcp.bytesWritten
    traffic.receivedBytes += this.#tcp.bytesRead
  }

  get bufferedBytes(): number {
    return (this.#owed?.length ?? 0) + this.#tcp.writableLength
  }

  send(frame: Frame): void {
    if (this.#closing) return
    if (this.#owed) {
      this.#owed = this.#owed.and(frame)
    } else {
      this.#owed = nothingOwed.and(frame)
      flushLater(this)
    }
  }

  close(code: CloseCode, reason: string): void {
    if (this.#closing) return
    this.flush()
    this.#webSocket.close(code, reason)
  }

  whenDrained(run: () => void): void {
    // What is queued in this turn must be written before it.
    setImmediate(() => {
      if (this.#closing) return
      this.flush()
      // Node calls back when it, and so all before it, has been taken; without an error, if the connection lasts until then.
      this.#tcp.write(noBytes, (error) => {
        if (!error) run()
      })
    })
  }

  /** Adds what is owed to those writes, if nothing waits before it. If not, `flush` is to write it. */
  join(writes: WriteBatch): boolean {
    const owed = this.#owed
    if (!owed || this.#closing || !this.#isDirect || !writes.add(this.#descriptor, owed.bytes)) return false
    this.#owed = null
    this.#uncounted.sentBytes += owed.length
    return true
  }

  /** Of what it added to the writes the system did not take this. */
  takeBack(rest: Uint8Array): void {
    this.#uncounted.sentBytes -= rest.length
    this.#stream(rest)
  }

  /** Writes what is owed, behind what waits for the peer already. */
  flush(): void {
    const owed = this.#owed
    if (!owed) return
    this.#owed = null
    if (this.#closing) return
    const { bytes } = owed
    const taken = this.#isDirect ? writeNow(this.#descriptor, bytes) : 0
    this.#uncounted.sentBytes += taken
    if (taken === bytes.length) return
    this.#stream(bytes.subarray(taken))
    this.checkBehind()
  }

  /** Whether a write to the descriptor is behind nothing. */
  get #isDirect(): boolean {
    // With thousands of sockets whatever is looked at is out of the processor's caches: the socket itself only where it must be.
    if (this.#streamed) this.#streamed = this.#tcp.writableLength > 0
    return !this.#streamed && this.#descriptor !== noDescriptor
  }

  /** The stream writes what the descriptor doesn't take: it waits where the peer is slow, and tells what is wrong where something is. */
  #stream(bytes: Uint8Array): void {
    if (!this.#tcp.writable) return
    this.#streamed = true
    this.#tcp.write(bytes)
  }

  /** Tells the session where something waits for the peer. */
  checkBehind(): void {
    if (this.#tcp.writableLength > 0) this.#session?.fellBehind()
  }

  /** Pings when it is time to, and ends the session where nothing is answered. */
  pingLater(): void {
    this.#cancelPing()
    if (this.#closing) return
    this.#cancelPing = this.#clock.after(pingIntervalMs, () => {
      this.#streamed = true
      this.#webSocket.ping()
      this.#cancelPing = this.#clock.after(pongTimeoutMs, () => this.#session?.close(4408))
    })
  }
}

const noBytes = new Uint8Array(0)

let nothingOwed = Owed.nothing()
let unflushed: Connection[] = []
/** One for the process, as is the turn of its event loop; undefined before the first server, null where there can be none. */
let batch: WriteBatch | null | undefined

/** Writes the connection's queue at the end of this turn of the event loop, when everything that belongs together has come. */
function flushLater(connection: Connection): void {
  if (unflushed.push(connection) === 1) setImmediate(flushAll)
}

function flushAll(): void {
  const connections = unflushed
  unflushed = []
  nothingOwed = Owed.nothing()
  const alone = batch ? writeTogether(connections, batch) : connections
  for (const connection of alone) connection.flush()
}

/** Writes for all connections whose bytes go straight to their descriptors, and gives those that still owe. */
function writeTogether(connections: readonly Connection[], writes: WriteBatch): readonly Connection[] {
  const alone: Connection[] = []
  let joined: Connection[] = []
  for (const connection of connections) {
    if (connection.join(writes)) joined.push(connection)
    else alone.push(connection)
    if (writes.full) submit()
  }
  submit()
  return alone

  function submit(): void {
    const writers = joined
    joined = []
    const unwritten = writes.submit()
    for (const { place, rest } of unwritten) writers[place]?.takeBack(rest)
    // One that falls behind may be the end of another, whose close frame belongs behind its rest.
    for (const { place } of unwritten) writers[place]?.checkBehind()
  }
}
