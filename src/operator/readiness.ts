/** Whether the server may be sent work. */
import type { Clock } from '../engine/clock.ts'

/** Storage that hasn't answered by then can't do its work. */
const patienceMs = 5_000
/** Whoever asks in between gets the last answer: each asking writes to the disk. */
const restMs = 1_000

/** Why not: it is about to end, or nothing can be stored. */
export type Unready = 'draining' | 'storage'

export class Readiness {
  readonly #draining: () => boolean
  readonly #probe: () => Promise<void>
  readonly #clock: Clock
  #askedAt = Number.NEGATIVE_INFINITY
  #stores: Promise<boolean> = Promise.resolve(true)

  /** `probe` resolves when storage has written something. */
  constructor(draining: () => boolean, probe: () => Promise<void>, clock: Clock) {
    this.#draining = draining
    this.#probe = probe
    this.#clock = clock
  }

  /** What keeps it from being ready: nothing, as a rule. */
  async reasons(): Promise<Unready[]> {
    // A server that drains closes its storage, which then is no trouble.
    if (this.#draining()) return ['draining']
    const now = this.#clock.now()
    if (Math.abs(now - this.#askedAt) >= restMs) {
      this.#askedAt = now
      this.#stores = this.#ask()
    }
    return (await this.#stores) ? [] : ['storage']
  }

  #ask(): Promise<boolean> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(patienceMs, () => resolve(false))
      this.#probe()
        .then(
          () => resolve(true),
          () => resolve(false),
        )
        .finally(cancel)
    })
  }
}
