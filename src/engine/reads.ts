/** How many reads one has under way, and what waits for them: a session, or a user over HTTP (L2). */

/** What waits is held in memory: no more than so many commands. */
const mostWaiting = 1_000

export class Reads {
  readonly #most: number
  #underWay = 0
  readonly #waiting: (() => void)[] = []
  #goingOn = false

  /** `most` is how many may be under way at once. */
  constructor(most: number) {
    this.#most = most
  }

  /** Whether it is so many now: then whatever comes next waits, be it no read, so that all is done in its order. */
  get busy(): boolean {
    return this.#underWay >= this.#most
  }

  isAsNew(): boolean {
    return this.#underWay === 0
  }

  begin(): void {
    this.#underWay++
  }

  /** One was answered, and what waits goes on. */
  end(): void {
    this.#underWay--
    // What goes on may end within its own call: that goes on here, and not within it.
    if (this.#goingOn) return
    this.#goingOn = true
    while (!this.busy) {
      const run = this.#waiting.shift()
      if (!run) break
      run()
    }
    this.#goingOn = false
  }

  /** Calls `run` behind what waits already, when it is its turn. False where too much does: then it never will. */
  wait(run: () => void): boolean {
    if (this.#waiting.length === mostWaiting) return false
    this.#waiting.push(run)
    return true
  }
}
