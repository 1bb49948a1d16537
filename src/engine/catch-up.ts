/**
 * What a session missed, on its way from the log to it (R2). Until it has all of it, what is published passes it by and is read from the
 * log too, so that nothing is held in memory for it and everything comes in the order of the log.
 */
import { encodeEvent, encodeGap } from '../protocol/frames.ts'
import type { UserId } from '../protocol/ids.ts'
import type { LogPlace, Missed, ReadEvent } from '../storage/storage.ts'
import type { Engine } from './engine.ts'
import type { Session } from './session.ts'
import type { Socket } from './socket.ts'

/** Events asked for at once; storage gives fewer where they are large. */
const readAtOnce = 100

export class CatchUp {
  readonly #engine: Engine
  readonly #session: Session
  readonly #socket: Socket
  readonly #user: UserId
  /** Everything at or before it was sent to the session. */
  #position: number
  /** The last entry that was published to the session and passed it by. */
  #passedBy = 0

  constructor(engine: Engine, session: Session, socket: Socket, user: UserId, since: LogPlace) {
    this.#engine = engine
    this.#session = session
    this.#socket = socket
    this.#user = user
    this.#position = since.position
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
  async run(missed: Missed, done: () => void): Promise<void> {
    const { storage } = this.#engine
    for (let now: Missed | null = missed; now; ) {
      for (const gap of now.gaps) this.#socket.send(encodeGap(gap))
      this.#send(now.events)
      for (let positions = now.positions; positions.length > 0; ) {
        await this.#drained()
        if (this.#session.closed) return
        const read = await storage.events.read(this.#user, positions.slice(0, readAtOnce))
        if (this.#session.closed) return
        if (!read) return this.#overtaken()
        this.#send(read.events)
        positions = positions.slice(read.read)
      }
      for (const gap of now.gapsAfter) this.#socket.send(encodeGap(gap))
      this.#position = now.upTo
      if (this.#passedBy <= now.upTo) return done()
      await this.#drained()
      if (this.#session.closed) return
      now = await storage.events.missed(this.#user, { epoch: storage.epoch, position: now.upTo })
      if (this.#session.closed) return
    }
    this.#overtaken()
  }

  /** Pruning was faster than the peer: it comes back with a cursor that is past retention, and is told so (R5). */
  #overtaken(): void {
    this.#session.close(4409)
  }

  #send(events: readonly ReadEvent[]): void {
    const { fanout } = this.#engine
    for (const { data, place, position } of events) {
      this.#position = position
      // A listener never gets what concerns the channel itself (U6).
      if (this.#session.listener && data.record_type === 'user_channel') continue
      this.#socket.send(encodeEvent(data, place, fanout.cursorAt(position)))
    }
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => this.#socket.whenDrained(resolve))
  }
}
