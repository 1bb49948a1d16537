/**
 * A TCP proxy between clients and a server, for what networks do to connections: lateness, loss of the line, silence. It is switched while
 * it runs, for all connections, those to come included, or for one.
 */
import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { type Clock, systemClock } from '../engine/clock.ts'
import { Random } from './random.ts'

/** What happens to what goes one way. */
export interface Faults {
  /** What comes from now on comes so much later. */
  readonly delayMs: number
  /** And up to so much more, drawn anew for each piece, none of which overtakes another. */
  readonly jitterMs: number
  /** At most so many bytes go on in each `dripIntervalMs`. */
  readonly dripBytes: number
  readonly dripIntervalMs: number
  /**
   * Nothing comes through, not even the end, and the connection stays: half-open, for the side that hears nothing. When it ends, all that
   * was sent meanwhile goes on, as TCP sends again what was lost.
   */
  readonly silent: boolean
  /** The connection ends, both ways, when so many more bytes have come through. */
  readonly cutAfterBytes: number
}

export type Way = 'toServer' | 'toClient'

const noFaults: Faults = {
  delayMs: 0,
  jitterMs: 0,
  dripBytes: Number.POSITIVE_INFINITY,
  dripIntervalMs: 1,
  silent: false,
  cutAfterBytes: Number.POSITIVE_INFINITY,
}

export interface ProxyOptions {
  /** Where the server listens, on this machine. It may listen later, or again. */
  readonly port: number
  /** What the jitter is drawn from; 1 unless given. */
  readonly seed?: number
  readonly clock?: Clock
}

/** So much of one way waits here at most; then the sender feels that nobody reads, as it would with a real line. */
const windowBytes = 64 * 1024

export class TcpProxy implements AsyncDisposable {
  /** The connections that are open now. */
  readonly connections = new Set<ProxyConnection>()
  readonly #options: Required<ProxyOptions>
  readonly #random: Random
  readonly #faults: Record<Way, Faults> = { toServer: noFaults, toClient: noFaults }
  #listener: Server | null = null
  #port = 0

  constructor(options: ProxyOptions) {
    this.#options = { seed: 1, clock: systemClock, ...options }
    this.#random = new Random(this.#options.seed)
  }

  /** Where clients connect, also while it refuses them. */
  get port(): number {
    return this.#port
  }

  /** The same as an address: `http://127.0.0.1:PORT`. */
  get url(): string {
    return `http://127.0.0.1:${this.#port}`
  }

  /** Changes the faults of all connections, and of those to come; what is left out stays. */
  set(way: Way | 'both', faults: Partial<Faults>): void {
    for (const each of waysOf(way)) this.#faults[each] = { ...this.#faults[each], ...faults }
    for (const connection of this.connections) connection.set(way, faults)
  }

  /** Ends all connections without a word: what was under way is lost. */
  cut(): void {
    for (const connection of this.connections) connection.cut()
  }

  /** The same by RST. */
  reset(): void {
    for (const connection of this.connections) connection.reset()
  }

  /** Refuses connections from now on, as a machine does on which nothing listens. Those that are open stay. */
  refuse(): void {
    this.#listener?.close()
    this.#listener = null
  }

  /** Takes connections, again after `refuse`. */
  async accept(): Promise<void> {
    if (this.#listener) return
    this.#listener = createServer({ allowHalfOpen: true }, (client) => this.#connect(client))
    this.#listener.listen(this.#port, '127.0.0.1')
    await once(this.#listener, 'listening')
    this.#port = (this.#listener.address() as AddressInfo).port
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.refuse()
    const open = [...this.connections]
    this.cut()
    await Promise.all(open.map(({ closed }) => closed))
  }

  #connect(client: Socket): void {
    const server = connect({ port: this.#options.port, host: '127.0.0.1', allowHalfOpen: true })
    const connection = new ProxyConnection(client, server, this.#options.clock, this.#random)
    this.connections.add(connection)
    void connection.closed.then(() => this.connections.delete(connection))
    for (const way of waysOf('both')) connection.set(way, this.#faults[way])
  }
}

export class ProxyConnection {
  /** Resolves when both sides have ended. */
  readonly closed: Promise<unknown>
  readonly #sockets: readonly Socket[]
  readonly #pipes: { readonly [W in Way]: Pipe }

  constructor(client: Socket, server: Socket, clock: Clock, random: Random) {
    this.#sockets = [client, server]
    this.closed = Promise.all(this.#sockets.map((socket) => new Promise((resolve) => socket.once('close', resolve))))
    this.#pipes = {
      toServer: new Pipe(client, server, clock, random),
      toClient: new Pipe(server, client, clock, random),
    }
    void this.closed.then(() => {
      for (const pipe of Object.values(this.#pipes)) pipe.stop()
    })
  }

  /** How many bytes have come through. */
  passed(way: Way): number {
    return this.#pipes[way].passedBytes
  }

  set(way: Way | 'both', faults: Partial<Faults>): void {
    for (const each of waysOf(way)) this.#pipes[each].set(faults)
  }

  /** Ends it without a word: what was under way is lost. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** The same by RST. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }
}

interface Piece {
  /** Or how the sender ended: properly, or not. */
  readonly what: Buffer | 'end' | 'reset'
  readonly dueAt: number
}

/** One way of one connection. */
class Pipe {
  passedBytes = 0
  #faults = noFaults
  readonly #from: Socket
  readonly #to: Socket
  readonly #clock: Clock
  readonly #random: Random
  readonly #pieces: Piece[] = []
  #waitingBytes = 0
  #leftBytes = Number.POSITIVE_INFINITY
  /** The next drop of a drip falls no sooner. */
  #dripAt = 0
  #cancelTimer = () => {}

  constructor(from: Socket, to: Socket, clock: Clock, random: Random) {
    this.#from = from
    this.#to = to
    this.#clock = clock
    this.#random = random
    from.on('data', (bytes: Buffer) => this.#take(bytes))
    from.on('end', () => this.#take('end'))
    from.on('error', () => this.#take('reset'))
    to.on('drain', () => this.#flow())
  }

  set(faults: Partial<Faults>): void {
    this.#faults = { ...this.#faults, ...faults }
    if (faults.cutAfterBytes !== undefined) this.#leftBytes = faults.cutAfterBytes
    this.#flow()
  }

  stop(): void {
    this.#cancelTimer()
    this.#pieces.length = 0
  }

  #take(what: Piece['what']): void {
    const { delayMs, jitterMs } = this.#faults
    this.#pieces.push({ what, dueAt: this.#clock.now() + delayMs + this.#random.next() * jitterMs })
    if (typeof what !== 'string') this.#waitingBytes += what.length
    if (this.#waitingBytes >= windowBytes) this.#from.pause()
    this.#flow()
  }

  /** Lets go on whatever may go on now, and comes back for the rest. */
  #flow(): void {
    this.#cancelTimer()
    for (;;) {
      if (this.#leftBytes === 0) {
        this.#cut()
        return
      }
      const [first] = this.#pieces
      if (!first || this.#faults.silent || this.#to.writableNeedDrain) return
      const now = this.#clock.now()
      const at = Math.max(first.dueAt, first.what instanceof Buffer ? this.#dripAt : 0)
      if (at > now) {
        this.#cancelTimer = this.#clock.after(at - now, () => this.#flow())
        return
      }
      this.#pieces.shift()
      if (first.what === 'end') this.#to.end()
      else if (first.what === 'reset') this.#to.resetAndDestroy()
      else this.#pass(first.what, first.dueAt, now)
    }
  }

  #pass(bytes: Buffer, dueAt: number, now: number): void {
    const { dripBytes, dripIntervalMs } = this.#faults
    const count = Math.min(bytes.length, dripBytes, this.#leftBytes)
    if (count < bytes.length) this.#pieces.unshift({ what: bytes.subarray(count), dueAt })
    if (dripBytes < Number.POSITIVE_INFINITY) this.#dripAt = now + dripIntervalMs
    this.passedBytes += count
    this.#leftBytes -= count
    this.#waitingBytes -= count
    this.#to.write(bytes.subarray(0, count))
    if (this.#waitingBytes < windowBytes) this.#from.resume()
  }

  /** What has come through is still read; nothing comes after it. */
  #cut(): void {
    this.stop()
    this.#to.destroySoon()
    this.#from.destroy()
  }
}

function waysOf(way: Way | 'both'): readonly Way[] {
  return way === 'both' ? ['toServer', 'toClient'] : [way]
}

/** Starts a proxy on a free port that ends with its scope: `await using proxy = await startProxy({ port })`. */
export async function startProxy(options: ProxyOptions): Promise<TcpProxy> {
  const proxy = new TcpProxy(options)
  await proxy.accept()
  return proxy
}
