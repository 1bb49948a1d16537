/** Where a session's link is felt: pings, and what follows when nothing comes (C7). */
import { platform } from './platform.ts'

/** Whatever comes in this time after a ping shows that the link lives. */
const answerMs = 10_000

export class Pulse {
  readonly #ping: () => void
  readonly #dead: () => void
  #nextTimer: unknown
  #deadTimer: unknown
  /** When the link counts as dead, by this machine's clock; Infinity while nothing is waited for. */
  #deadAt = Number.POSITIVE_INFINITY

  constructor(ping: () => void, dead: () => void) {
    this.#ping = ping
    this.#dead = dead
  }

  /** Pings each `intervalMs`, which also keeps a quiet session's cursor young (S5). 0 means never. */
  start(intervalMs: number): void {
    if (!intervalMs) return
    this.#nextTimer = platform.setTimeout(() => {
      this.start(intervalMs)
      this.check()
    }, intervalMs)
  }

  /** Pings now. If then nothing comes within `withinMs`, the link is dead. */
  check(withinMs = answerMs): void {
    this.#ping()
    const deadAt = Date.now() + withinMs
    if (deadAt >= this.#deadAt) return
    platform.clearTimeout(this.#deadTimer)
    this.#deadAt = deadAt
    this.#deadTimer = platform.setTimeout(() => {
      this.#deadAt = Number.POSITIVE_INFINITY
      // A timer that a sleeping page held back proves nothing: what came meanwhile may not have been read yet.
      if (Date.now() > deadAt + withinMs) this.check(withinMs)
      else this.#dead()
    }, withinMs)
  }

  /** Something came. */
  heard(): void {
    this.#deadAt = Number.POSITIVE_INFINITY
    platform.clearTimeout(this.#deadTimer)
  }

  stop(): void {
    this.heard()
    platform.clearTimeout(this.#nextTimer)
  }
}
