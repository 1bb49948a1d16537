/** How long the log is kept (R3): old entries go in the background, a few at a time. */
import { FanfareError } from '../protocol/codes.ts'
import type { EventStorage } from '../storage/storage.ts'
import type { Clock } from './clock.ts'
import type { Observer } from './observer.ts'

/** Between two looks at the log. */
const intervalMs = 600_000
/** While there is more to prune, commands have their turn between. */
const pauseMs = 100
const entriesAtOnce = 500

export class Retention {
  readonly #events: EventStorage
  readonly #clock: Clock
  readonly #keptMs: number
  readonly #observer: Observer
  #stopped = false
  #cancel: () => void

  /** Begins at once. Entries older than `keptMs` go. */
  constructor(events: EventStorage, clock: Clock, keptMs: number, observer: Observer) {
    this.#events = events
    this.#clock = clock
    this.#keptMs = keptMs
    this.#observer = observer
    this.#cancel = clock.after(pauseMs, () => this.#prune())
  }

  /** Prunes no more. */
  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  async #prune(): Promise<void> {
    let more = false
    try {
      const now = this.#clock.now()
      more = (await this.#events.prune(now - this.#keptMs, now, entriesAtOnce)) === entriesAtOnce
    } catch (error) {
      // Where storage can do nothing now it has told the operator itself.
      if (!(error instanceof FanfareError)) this.#observer.fault('pruning the log', error)
    }
    if (!this.#stopped) this.#cancel = this.#clock.after(more ? pauseMs : intervalMs, () => this.#prune())
  }
}
