/** Time, given to whoever needs it, so that a test can be its master. */

export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Calls `run` once after `ms`, be it longer than a timer can hold, unless the returned function is called before. */
  after(ms: number, run: () => void): () => void
}

/** setTimeout takes no longer delay; a longer one would fire at once. */
const longestTimerMs = 2 ** 31 - 1

export const systemClock: Clock = {
  now: () => Date.now(),
  after(ms, run) {
    let timer: NodeJS.Timeout
    const arm = (left: number) => {
      timer = setTimeout(
        () => (left > longestTimerMs ? arm(left - longestTimerMs) : run()),
        Math.min(left, longestTimerMs),
      )
    }
    arm(Math.max(0, ms))
    return () => clearTimeout(timer)
  },
}
