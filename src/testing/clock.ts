/** A clock that stands still until a test moves it. */
import type { Clock } from '../engine/clock.ts'

export class FakeClock implements Clock {
  #now: number
  #timers: { at: number; run: () => void }[] = []

  constructor(now = Date.UTC(2026, 0, 1)) {
    this.#now = now
  }

  now(): number {
    return this.#now
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, ms), run }
    this.#timers.push(timer)
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer)
    }
  }

  /** How many timers wait: none may be left when everything has ended. */
  get waiting(): number {
    return this.#timers.length
  }

  /** Moves on by `ms`, running each timer that falls due at its own moment, in order. */
  advance(ms: number): void {
    const until = this.#now + ms
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= until).sort((a, b) => a.at - b.at)[0]
      if (!due) break
      this.#timers = this.#timers.filter((other) => other !== due)
      this.#now = Math.max(this.#now, due.at)
      due.run()
    }
    this.#now = until
  }
}
