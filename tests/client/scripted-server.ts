/** A server of the contract whose every word the test says itself, over real sockets. */
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'
import type { ConnectResult } from '../../src/protocol/commands.ts'

export interface ReceivedCommand {
  readonly id: number | undefined
  readonly command: string
  readonly args: { readonly [key: string]: unknown }
}

/** What came, in order, for whoever asks next. */
class Queue<T> {
  readonly #items: T[] = []
  readonly #waiting: ((item: T) => void)[] = []

  put(item: T): void {
    const taker = this.#waiting.shift()
    if (taker) taker(item)
    else this.#items.push(item)
  }

  take(): Promise<T> {
    if (this.#items.length) return Promise.resolve(this.#items.shift() as T)
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  get waiting(): readonly T[] {
    return this.#items
  }
}

export class ScriptedSession {
  readonly #socket: WebSocket
  readonly #tcp: Duplex
  readonly #commands = new Queue<ReceivedCommand>()
  readonly closed: Promise<unknown>

  constructor(socket: WebSocket, tcp: Duplex) {
    this.#socket = socket
    this.#tcp = tcp
    this.closed = once(socket, 'close')
    socket.on('message', (data) => {
      const frame = JSON.parse(String(data))
      this.#commands.put({ args: {}, ...frame })
    })
  }

  /** The next command that came. */
  next(): Promise<ReceivedCommand> {
    return this.#commands.take()
  }

  /** The next command that came; it fails unless it is `name`. */
  async command(name: string): Promise<ReceivedCommand> {
    const command = await this.next()
    if (command.command !== name) throw new Error(`expected ${name}, got ${JSON.stringify(command)}`)
    return command
  }

  /** What came and nobody has taken. */
  get unread(): readonly ReceivedCommand[] {
    return this.#commands.waiting
  }

  /** Takes the connect command and replies to it; gives its arguments. */
  async begin(result: Partial<ConnectResult> = {}): Promise<ReceivedCommand['args']> {
    const { id, args } = await this.command('connect')
    this.#begun(id, result)
    return args
  }

  /** Takes the connect command and goes on from its cursor, which it gives. What was missed is for the test to send. */
  async resume(): Promise<string> {
    const { id, args } = await this.command('connect')
    const cursor = String(args.cursor)
    this.#begun(id, { cursor, resumed: true })
    return cursor
  }

  /** Takes the connect command and refuses it as the server does: with a reply, then a close. */
  async refuse(code: string, closeCode: number, details?: object): Promise<ReceivedCommand['args']> {
    const { id, args } = await this.command('connect')
    this.fail(id, code, details)
    this.close(closeCode)
    return args
  }

  #begun(id: number | undefined, result: Partial<ConnectResult>): void {
    this.reply(id, {
      user: 'user/alice',
      session: 'session/1',
      cursor: 'c0',
      resumed: false,
      expires_at: '2999-01-01T00:00:00.000Z',
      settings: { typing_interval_ms: 1000, typing_expiry_ms: 5000, ping_interval_ms: 25_000, max_frame_bytes: 65_536 },
      ...result,
    } satisfies ConnectResult)
  }

  reply(id: number | undefined, result: unknown): void {
    this.send({ id, result })
  }

  fail(id: number | undefined, code: string, details?: object): void {
    this.send({ id, error: { code, message: `no: ${code}`, retryable: code === 'unavailable', details } })
  }

  send(frame: unknown): void {
    this.sendData(JSON.stringify(frame))
  }

  /** Sends frames so that they come, and are given out, in one turn. */
  sendTogether(...frames: readonly object[]): void {
    this.#tcp.cork()
    for (const frame of frames) this.send(frame)
    this.#tcp.uncork()
  }

  /** Sends what may be no frame at all. */
  sendData(data: string | Buffer): void {
    this.#socket.send(data)
  }

  /** The other side's WebSocket has read all that was sent to it. */
  async echo(): Promise<void> {
    const pong = once(this.#socket, 'pong')
    this.#socket.ping()
    await pong
  }

  close(code: number, reason = ''): void {
    this.#socket.close(code, reason)
  }

  /** Breaks the link without a word. */
  cut(): void {
    this.#socket.terminate()
  }
}

export class ScriptedServer implements AsyncDisposable {
  readonly #server: WebSocketServer
  readonly #sessions = new Queue<ScriptedSession>()
  /** How many sessions were begun in all. */
  count = 0

  private constructor(server: WebSocketServer) {
    this.#server = server
    server.on('connection', (socket, request) => {
      this.count++
      this.#sessions.put(new ScriptedSession(socket, request.socket))
    })
  }

  static async start(): Promise<ScriptedServer> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1', path: '/v2/socket' })
    await once(server, 'listening')
    return new ScriptedServer(server)
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** The next session, not begun yet. */
  session(): Promise<ScriptedSession> {
    return this.#sessions.take()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
