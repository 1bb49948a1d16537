/**
 * What a session missed, on its way from the log to it (R2). Until it has all of it, what is published passes it by and is read from the
 * log too, so that nothing is held in memory for it and everything comes in the order of the log.
 */
import { encodeEvent, encodeGap, type Frame } from '../protocol/frames.ts'
import type { ConversationId, UserId } from '../protocol/ids.ts'
import type { LogPlace, Missed, ReadEvent } from '../storage/storage.ts'
import type { Engine } from './engine.ts'
import type { Session } from './session.ts'

/** Where nothing came it asks no sooner again: storage may once tell the end lower than this node has seen it (docs/adr/0009). */
const pauseMs = 20
/** Events asked for at once; storage gives fewer where they are large. */
const readAtOnce = 100

export class CatchUp {
  readonly #engine: Engine
  readonly #session: Session
  readonly #user: UserId
  /** Everything at or before it was sent to the session. */
  #position: number
  /** The last entry that was published and passed the session by, be it before it began. */
  #passedBy: number

  constructor(engine: Engine, session: Session, user: UserId, since: LogPlace) {
    this.#engine = engine
    this.#session = session
    this.#user = user
    this.#position = since.position
    this.#passedBy = engine.fanout.last
  }

  get position(): number {
    return this.#position
  }

  /** An entry was published to the session, which will read it from the log. */
  passBy(position: number): void {
    this.#passedBy = Math.max(this.#passedBy, position)
  }

  /**
   * Sends `missed`, and what came to it meanwhile, as fast as the peer takes it. When nothing is left to be read, and before anything
   * more is published, it calls `done`.
   */
  async run(missed: Missed, done: (position: number) => void): Promise<void> {
    const { storage } = this.#engine
    for (let now: Missed | null = missed; now; ) {
      const { wholeTo, upTo } = now
      let taken = this.#session.sendMissed([...now.gaps.map(encodeGap), ...this.#framesOf(now.events, wholeTo)])
      for (let positions = now.positions; positions.length > 0; ) {
        await taken
        if (this.#session.closed) return
        const read = await storage.events.read(this.#user, positions.slice(0, readAtOnce))
        if (this.#session.closed) return
        if (!read) return this.#overtaken()
        taken = this.#session.sendMissed(this.#framesOf(read.events, wholeTo))
        positions = positions.slice(read.read)
      }
      if (now.gapsAfter.length > 0) taken = this.#session.sendMissed(now.gapsAfter.map(encodeGap))
      this.#position = upTo
      if (this.#passedBy <= upTo) return done(upTo)
      await taken
      if (now.positions.length + now.events.length === 0) await this.#whenWhole()
      if (this.#session.closed) return
      now = await storage.events.missed(this.#user, { epoch: storage.epoch, position: upTo })
      if (this.#session.closed) return
    }
    this.#overtaken()
  }

  /**
   * Where other nodes write too, an entry may be published before the log is whole up to it, and one transaction that stays open holds up
   * every session that comes back. So the node looks for all of them, and none asks storage meanwhile.
   */
  async #whenWhole(): Promise<void> {
    const { clock, fanout } = this.#engine
    await new Promise<void>((resolve) => clock.after(pauseMs, resolve))
    await fanout.whenWhole(this.#passedBy)
  }

  /** Pruning was faster than the peer: it comes back with a cursor that is past retention, and is told so (R5). */
  #overtaken(): void {
    this.#session.close(4409)
  }

  /** The frames of the events, none with a cursor beyond `wholeTo`. */
  #framesOf(events: readonly ReadEvent[], wholeTo: number): Frame[] {
    const frames: Frame[] = []
    for (const { data, place, position } of events) {
      this.#position = Math.min(position, wholeTo)
      // A listener never gets what concerns the channel itself (U6).
      if (this.#session.listener && data.record_type === 'user_channel') continue
      if (data.event_type === 'delete') this.#session.withdraw()
      if (data.record_type === 'conversation' && data.event_type === 'delete') this.#departed(data.record.id)
      frames.push(encodeEvent(data, place, this.#engine.fanout.cursorAt(this.#position)))
    }
    return frames
  }

  /** It is told that its user is out of a conversation, and so watches it no more, though he may have been added again since (E5). */
  #departed(conversation: ConversationId): void {
    const { alone, memberships, typing } = this.#engine
    typing.unwatch(conversation, this.#session)
    // Where other nodes write too this one may not have heard of that yet.
    if (!alone) memberships.outdate(conversation, Number.POSITIVE_INFINITY)
  }
}
