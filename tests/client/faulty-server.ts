/** A server that knows the whole log, and sends it with every fault that the contract lets happen on the way. */
import type { ConversationId } from '../../src/protocol/ids.ts'
import type { Random } from '../../src/testing/random.ts'
import type { ReceivedCommand, ScriptedSession } from './scripted-server.ts'

export const conversations: readonly ConversationId[] = ['a', 'b', 'c', 'd'].map(
  (name) => `conversation/${name}` as const,
)

interface Entry {
  readonly conversation: ConversationId
  readonly seq: number
  /** Its place in the log, from 1. A cursor is such a number as text. */
  readonly position: number
}

export class FaultyServer {
  readonly log: Entry[] = []
  /** Places of the log that were never pushed, though cursors went past them. */
  readonly dropped = new Set<number>()
  readonly #random: Random
  #session: ScriptedSession
  /** What is still to be pushed in this session. */
  #pending: Entry[] = []

  constructor(random: Random, session: ScriptedSession) {
    this.#random = random
    this.#session = session
    this.#serve(session)
  }

  nameOf({ conversation, seq }: Entry): string {
    return `${conversation} ${seq}`
  }

  get session(): ScriptedSession {
    return this.#session
  }

  append(conversation: ConversationId): void {
    const seq = this.log.filter((entry) => entry.conversation === conversation).length + 1
    const entry = { conversation, seq, position: this.log.length + 1 }
    this.log.push(entry)
    this.#pending.push(entry)
  }

  /**
   * Pushes the first entry that is pending of one conversation, whichever: so conversations overtake each other. Its cursor promises no more
   * than what went before. Some are pushed twice, or together with an old one.
   */
  push(): void {
    const entry = this.#takeFirst()
    if (!entry) return
    this.#send(entry)
    if (this.#random.below(4) === 0) this.#send(entry)
    if (this.#random.below(8) === 0) {
      const old = this.log.filter(({ conversation, seq }) => conversation === entry.conversation && seq < entry.seq)
      if (old.length) this.#send(this.#random.pick(old))
    }
  }

  /** Loses up to three entries of a conversation, as a broker may. At times a gap push says so. */
  drop(): void {
    const first = this.#takeFirst()
    if (!first) return
    let last = first
    for (let more = this.#random.below(3); more > 0; more--) {
      const next = this.#pending.find(({ conversation }) => conversation === first.conversation)
      if (!next) break
      this.#pending.splice(this.#pending.indexOf(next), 1)
      this.dropped.add(next.position)
      last = next
    }
    this.dropped.add(first.position)
    if (this.#random.below(3) > 0) return
    const gap = { conversation: first.conversation, after_seq: first.seq - 1, before_seq: last.seq + 1 }
    this.#session.send({ gap })
  }

  pushAll(): void {
    while (this.#pending.length) this.push()
  }

  /** The chat is back: what is behind its cursor is pending again. */
  async resume(session: ScriptedSession): Promise<void> {
    this.#session = session
    const cursor = Number(await session.resume())
    this.#pending = this.log.slice(cursor)
    this.#serve(session)
  }

  /** The first pending entry of a conversation drawn by lot. */
  #takeFirst(): Entry | undefined {
    if (!this.#pending.length) return undefined
    const { conversation } = this.#random.pick(this.#pending)
    const index = this.#pending.findIndex((entry) => entry.conversation === conversation)
    return this.#pending.splice(index, 1)[0]
  }

  #send(entry: Entry): void {
    const { conversation, seq } = entry
    const next = this.#pending.reduce((lowest, { position }) => Math.min(lowest, position), this.log.length + 1)
    this.#session.send({ ...this.#frame(entry), conversation, seq, cursor: String(next - 1) })
  }

  #frame(entry: Entry): object {
    const record = { id: this.nameOf(entry) }
    return {
      event: 'create',
      data: { record_type: 'message', event_type: 'create', record, original_record: null },
      conversation: entry.conversation,
      seq: entry.seq,
      cursor: String(entry.position),
    }
  }

  /** Answers get_events truly, in pages of one to four. What is asked of a link that breaks gets no answer. */
  async #serve(session: ScriptedSession): Promise<void> {
    for (;;) {
      const { id, command, args }: ReceivedCommand = await session.next()
      if (command === 'get_events') {
        const events = this.log.filter((e) => e.conversation === args.conversation && e.seq > Number(args.after_seq))
        session.reply(id, { events: events.slice(0, 1 + this.#random.below(4)).map((entry) => this.#frame(entry)) })
      } else session.reply(id, { conversation: 0, message: 0 })
    }
  }
}
