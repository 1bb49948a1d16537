/** Chance that can be had again: the same seed gives the same draws. */
import { onTestFailed } from 'vitest'

export class Random {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** From 0 up to, and without, 1 (mulberry32). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  /** A whole number below `end`. */
  below(end: number): number {
    return Math.floor(this.next() * end)
  }

  /** One of `choices`, of which there is at least one. */
  pick<T>(choices: readonly T[]): T {
    if (choices.length === 0) throw new Error('nothing to pick from')
    return choices[this.below(choices.length)] as T
  }
}

/**
 * The seed of the running test: FANFARE_SEED where it is set, else a new one each time. When the test fails it says which one it was.
 */
export function seedOfTest(): number {
  const seed = Number(process.env.FANFARE_SEED ?? Math.floor(Math.random() * 2 ** 31))
  onTestFailed(() => console.error(`to have this run again: FANFARE_SEED=${seed}`))
  return seed
}
