/** A session as any client could have it: a plain WebSocket, no SDK, every frame kept as it came. */
import { type ClientOptions, type RawData, WebSocket } from 'ws'
import { type ErrorBody, FanfareError } from '../protocol/codes.ts'
import type { Args, CommandName, ConnectResult, Result } from '../protocol/commands.ts'
import type { EventFrame, PushFrame, ReplyFrame, TypingFrame } from '../protocol/frames.ts'
import type { UserId } from '../protocol/ids.ts'
import type { TestServer } from './start-server.ts'

/** What of a server a session needs: a test server has it, and so may a server that is a process of its own. */
export type Reached = Pick<TestServer, 'socketUrl' | 'token'>

/** How a session ended. */
export interface Ending {
  readonly code: number
  readonly reason: string
}

export class RawSession {
  /** For what this class has no word for: pings, raw bytes, a peer that reads no more. */
  readonly webSocket: WebSocket
  /** Every frame in the order it came, as text. */
  readonly texts: string[] = []
  /** The same, parsed. */
  readonly frames: (ReplyFrame | PushFrame)[] = []
  /** Resolves when the session has ended, with the code that this side read (1006: none). */
  readonly closed: Promise<Ending>
  #lastId = 0
  #ending: Ending | null = null
  #untaken: PushFrame[] = []
  readonly #replies = new Map<number, { resolve(result: unknown): void; reject(error: Error): void }>()
  readonly #wakes = new Set<() => void>()

  constructor(url: string, options: ClientOptions) {
    this.webSocket = new WebSocket(url, options)
    this.webSocket.on('message', (data) => this.#receive(data))
    this.webSocket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      this.webSocket.once('close', (code, reason) => {
        this.#ending = { code, reason: reason.toString() }
        for (const { reject } of this.#replies.values()) reject(this.#endedError())
        this.#wake()
        resolve(this.#ending)
      })
    })
  }

  /** The pushes so far. */
  get pushes(): PushFrame[] {
    return this.frames.filter((frame): frame is PushFrame => !('id' in frame))
  }

  /** The pushes of record events so far. */
  get events(): EventFrame[] {
    return this.pushes.filter(isEvent)
  }

  /** Gives a command; rejects with the reply's error as a `FanfareError`, or when the session ends before there is a reply. */
  command<N extends CommandName>(name: N, ...[args]: Record<never, never> extends Args<N> ? [Args<N>?] : [Args<N>]) {
    return this.commandOf<Result<N>>({ command: name, args: args ?? {} })
  }

  /** The same for a frame that the types would not allow; its `id` is given here. */
  async commandOf<R = unknown>(frame: { readonly command: unknown; readonly args?: unknown }): Promise<R> {
    if (this.#ending) throw this.#endedError()
    const id = ++this.#lastId
    const reply = new Promise((resolve, reject) => this.#replies.set(id, { resolve, reject }))
    this.send(JSON.stringify({ id, ...frame }))
    return (await reply) as R
  }

  /** Sends a frame as it is. */
  send(data: string | Uint8Array): void {
    this.webSocket.send(data)
  }

  /** The reply to a command that was given by `send` with an `id` of the test's own: 1,000 or more, to be none of those that `command` gives. */
  async reply(id: number): Promise<ReplyFrame> {
    for (;;) {
      const reply = this.frames.find((frame): frame is ReplyFrame => 'id' in frame && frame.id === id)
      if (reply) return reply
      await this.#frame()
    }
  }

  /**
   * Takes the first record event for which `matches` holds: of those that came already and were not taken yet, or the next one to come.
   * What it passes over stays for later calls; `frames` tells of the order. Rejects when the session ends before.
   */
  next(matches: (event: EventFrame) => boolean = () => true): Promise<EventFrame> {
    return this.#take((push): push is EventFrame => isEvent(push) && matches(push))
  }

  /** The same for pushes of typing. */
  nextTyping(matches: (typing: TypingFrame) => boolean = () => true): Promise<TypingFrame> {
    return this.#take((push): push is TypingFrame => 'event' in push && push.event === 'typing' && matches(push))
  }

  /**
   * Takes all pushes that the server sent before it read this, and that were not taken yet. Where the cause of a push has been replied to,
   * on whatever session, the push was sent: so an empty list proves that nothing came, without waiting for luck.
   */
  async rest(): Promise<(EventFrame | TypingFrame)[]> {
    return (await this.restWithGaps()).map((push) => {
      if ('gap' in push) throw new Error(`a gap that nobody awaits: ${JSON.stringify(push)}`)
      return push
    })
  }

  /** The same where gaps may be among them. */
  async restWithGaps(): Promise<PushFrame[]> {
    await this.command('ping')
    return this.#untaken.splice(0)
  }

  /** Says goodbye, and resolves when the server has answered it. */
  end(): Promise<Ending> {
    this.webSocket.close(1000)
    return this.closed
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.webSocket.terminate()
    await this.closed
  }

  async #take<P extends PushFrame>(matches: (push: PushFrame) => push is P): Promise<P> {
    for (;;) {
      const found = this.#untaken.find(matches)
      if (found) {
        this.#untaken.splice(this.#untaken.indexOf(found), 1)
        return found
      }
      await this.#frame()
    }
  }

  /** Waits for another frame; rejects when the session ends instead. */
  async #frame(): Promise<void> {
    if (this.#ending) throw this.#endedError()
    await new Promise<void>((resolve) => this.#wakes.add(resolve))
  }

  #receive(data: RawData): void {
    const text = data.toString()
    const frame = JSON.parse(text) as ReplyFrame | PushFrame
    this.texts.push(text)
    this.frames.push(frame)
    this.#wake()
    if (!('id' in frame)) {
      this.#untaken.push(frame)
      return
    }
    const reply = this.#replies.get(frame.id)
    this.#replies.delete(frame.id)
    if ('error' in frame) reply?.reject(asError(frame.error))
    else reply?.resolve(frame.result)
  }

  #wake(): void {
    for (const wake of this.#wakes) wake()
    this.#wakes.clear()
  }

  #endedError(): Error {
    return new Error(`the session has ended: ${this.#ending?.code} ${this.#ending?.reason}`)
  }
}

/** Whether a push is a record event, and neither typing nor a gap. */
export function isEvent(push: PushFrame): push is EventFrame {
  return 'event' in push && push.event !== 'typing'
}

function asError({ code, message, details }: ErrorBody): FanfareError {
  return new FanfareError(code, message, details)
}

/** Opens a WebSocket to the server and gives no command. Rejects when the server refuses it. */
export async function open(server: Pick<Reached, 'socketUrl'>, options: ClientOptions = {}): Promise<RawSession> {
  const session = new RawSession(server.socketUrl, { perMessageDeflate: false, ...options })
  await new Promise((resolve, reject) => {
    session.webSocket.once('open', resolve)
    session.webSocket.once('error', reject)
  })
  return session
}

/** A session of `user` that ends with its scope: `await using alice = await connect(server, 'user/alice')`. */
export async function connect(
  server: Reached,
  user: UserId,
  options: ClientOptions = {},
): Promise<RawSession & { readonly greeting: ConnectResult }> {
  const session = await open(server, options)
  const greeting = await session.command('connect', { token: await server.token(user.slice('user/'.length)) })
  return Object.assign(session, { greeting })
}
