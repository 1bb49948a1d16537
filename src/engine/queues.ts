/** How much waits in sessions whose peers take less than they are sent (S6). */
import type { Session } from './session.ts'

export class Queues {
  readonly #limitBytes: number
  readonly #behind = new Map<Session, number>()
  #bytes = 0

  /** `limitBytes` is what all queues may hold together. */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  /** Bytes that wait in all sessions that are behind. */
  get bytes(): number {
    return this.#bytes
  }

  /** So much waits in the session's queue now. When it is too much in all, the longest queues go, and their sessions with them. */
  note(session: Session, bytes: number): void {
    this.#bytes += bytes - (this.#behind.get(session) ?? 0)
    if (bytes > 0) this.#behind.set(session, bytes)
    else this.#behind.delete(session)
    while (this.#bytes > this.#limitBytes && this.#behind.size > 0) this.#longest().close(4409)
  }

  #longest(): Session {
    let [longest, most] = [...this.#behind][0] as [Session, number]
    for (const [session, bytes] of this.#behind) {
      if (bytes > most) {
        longest = session
        most = bytes
      }
    }
    return longest
  }
}
