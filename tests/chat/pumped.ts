/** A peer of an engine without doors: what the server sends it stays on the wire until the test takes it. */
import type { CommandName, Result } from '../../src/protocol/commands.ts'
import type { EventFrame, PushFrame, ReplyFrame } from '../../src/protocol/frames.ts'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import { type Ending, isEvent } from '../../src/testing/raw-session.ts'
import type { SocketPair } from '../../src/testing/socket-pair.ts'
import type { TestEngine } from '../../src/testing/start-engine.ts'

export class Pumped {
  readonly pair: SocketPair
  readonly #frames: (ReplyFrame | PushFrame)[] = []
  #lastId = 0

  constructor(started: TestEngine) {
    this.pair = started.open()
  }

  /** Everything that was taken so far. */
  get frames(): readonly (ReplyFrame | PushFrame)[] {
    for (const text of this.pair.texts.slice(this.#frames.length)) this.#frames.push(JSON.parse(text))
    return this.#frames
  }

  get events(): EventFrame[] {
    return this.frames.filter((frame): frame is EventFrame => !('id' in frame) && isEvent(frame))
  }

  /** Gives a command, and takes nothing; the id of its reply. */
  give(command: CommandName, args: object = {}): number {
    const id = ++this.#lastId
    this.pair.say(JSON.stringify({ id, command, args }))
    this.pair.pumpToServer()
    return id
  }

  /** Takes frame after frame until `done` holds. Rejects when the session ends before. */
  async takeUntil(done: () => boolean): Promise<void> {
    while (!done()) {
      if (this.pair.ending) throw new Error(`the session has ended: ${JSON.stringify(this.pair.ending)}`)
      const before = this.pair.texts.length
      this.pair.pumpToPeer(1)
      if (this.pair.texts.length === before) await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Takes all frames, and how the session ended then. */
  async takeToTheEnd(): Promise<Ending> {
    await this.takeUntil(() => this.pair.ending !== null)
    return this.pair.ending as Ending
  }

  /** Takes frames until there are `count` events in all. */
  takeEvents(count: number): Promise<void> {
    return this.takeUntil(() => this.events.length >= count)
  }

  /** Takes frames until the reply to `id` has come. */
  async taken<N extends CommandName>(id: number): Promise<Result<N>> {
    await this.takeUntil(() => this.frames.some((frame) => 'id' in frame && frame.id === id))
    const reply = this.frames.find((frame): frame is ReplyFrame => 'id' in frame && frame.id === id) as ReplyFrame
    if ('error' in reply) throw new Error(`${reply.error.code}: ${reply.error.message}`)
    return reply.result as Result<N>
  }

  /** Gives a command and takes all frames up to its reply. */
  command<N extends CommandName>(command: N, args: object = {}): Promise<Result<N>> {
    return this.taken<N>(this.give(command, args))
  }

  async connect(started: TestEngine, user: UserId, cursor?: string): Promise<Result<'connect'>> {
    return this.command('connect', { token: await started.token(user), ...(cursor !== undefined && { cursor }) })
  }
}

export async function connectPumped(started: TestEngine, user: UserId, cursor?: string): Promise<Pumped> {
  const peer = new Pumped(started)
  await peer.connect(started, user, cursor)
  return peer
}

/** Far more than is read at once: many messages, each of its own text. */
export async function sayMany(peer: Pumped, conversation: ConversationId, from: number, to: number): Promise<void> {
  const filling = 'x'.repeat(8_000)
  const ids: number[] = []
  for (let count = from; count <= to; count++) {
    ids.push(peer.give('create_message', { conversation, body: `${count} ${filling}` }))
  }
  for (const id of ids) await peer.taken(id)
}

/** The numbers of the messages that `sayMany` has made, as they came; of other events what they were. */
export function numbers(events: readonly EventFrame[]): (number | string)[] {
  return events.map(({ event, data }) => {
    return data.record_type === 'message'
      ? Number.parseInt(data.record.body, 10) || event
      : `${event} ${data.record_type}`
  })
}

export function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}
