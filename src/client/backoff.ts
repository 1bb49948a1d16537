/** Where the delays between attempts are drawn: full jitter, so that many clients of one server don't come back at once. */
const minMs = 500
const maxMs = 20_000

/** Milliseconds to wait before attempt number `attempt`: from 0.5 s to a bound that doubles with each, from 2 s to 20 s. */
export function backoffMs(attempt: number): number {
  return minMs + Math.random() * (Math.min(maxMs, 2 * minMs * 2 ** attempt) - minMs)
}
