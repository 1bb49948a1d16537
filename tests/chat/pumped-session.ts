/** A session on an engine without doors. Nothing is sent or taken but when the test says so, and every frame is taken in its order. */
import { FanfareError } from '../../src/protocol/codes.ts'
import type { Args, CommandName, Result } from '../../src/protocol/commands.ts'
import type { EventFrame, ReplyFrame, TypingFrame } from '../../src/protocol/frames.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import type { SocketPair } from '../../src/testing/socket-pair.ts'
import type { TestEngine } from '../../src/testing/start-engine.ts'

export class PumpedSession {
  readonly user: UserId
  readonly pair: SocketPair
  #lastId = 0
  #parsed = 0
  #untaken: (EventFrame | TypingFrame)[] = []
  readonly #replies = new Map<number, ReplyFrame>()

  private constructor(user: UserId, pair: SocketPair) {
    this.user = user
    this.pair = pair
  }

  static async connect(
    started: Pick<TestEngine, 'open' | 'token'>,
    user: UserId,
    cursor?: string,
  ): Promise<PumpedSession> {
    const session = new PumpedSession(user, started.open())
    await session.command('connect', { token: await started.token(user), cursor })
    return session
  }

  /** Gives a command and resolves with its result; rejects with the reply's error. */
  async command<N extends CommandName>(command: N, args: Args<N>): Promise<Result<N>> {
    const id = ++this.#lastId
    this.pair.say(JSON.stringify({ id, command, args }))
    this.pair.pumpToServer()
    for (;;) {
      this.#pump()
      const reply = this.#replies.get(id)
      if (reply) {
        this.#replies.delete(id)
        if ('error' in reply) throw new FanfareError(reply.error.code, reply.error.message, reply.error.details)
        return reply.result as Result<N>
      }
      if (this.pair.ending) throw new Error(`the session has ended: ${this.pair.ending.code}`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Takes the pushes that came and were not taken yet. */
  take(): (EventFrame | TypingFrame)[] {
    this.#pump()
    return this.#untaken.splice(0)
  }

  #pump(): void {
    this.pair.pumpToPeer()
    for (; this.#parsed < this.pair.texts.length; this.#parsed++) {
      const frame = JSON.parse(this.pair.texts[this.#parsed] as string) as ReplyFrame | EventFrame | TypingFrame
      if ('event' in frame) this.#untaken.push(frame)
      else this.#replies.set(frame.id, frame)
    }
  }
}

/** Gives a command as over HTTP, on behalf of `user`. */
export function callAs<N extends CommandName>(
  { engine }: Pick<TestEngine, 'engine'>,
  user: UserId,
  command: N,
  args: Args<N>,
): Promise<Result<N>> {
  return new Promise((resolve, reject) => {
    const proof = { user, issuedAt: engine.clock.now(), expiresAt: Number.POSITIVE_INFINITY }
    engine.call({ user, backend: false, session: null }, proof, command, args, {
      result: (result) => resolve(result as Result<N>),
      error: reject,
    })
  })
}
