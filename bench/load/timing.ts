/** When something is done, and how long it takes. */
import { setTimeout as sleep } from 'node:timers/promises'
import { percentile } from '../statistics.ts'

/** Milliseconds. */
export interface Latency {
  readonly p50: number
  readonly p99: number
}

export function latencyOf(milliseconds: readonly number[]): Latency {
  return { p50: percentile(milliseconds, 0.5), p99: percentile(milliseconds, 0.99) }
}

/** Does it so many times, `perSecond` times a second, whether or not the server keeps up. */
export async function atRate(total: number, perSecond: number, act: (index: number) => void): Promise<void> {
  const start = performance.now()
  for (let done = 0; done < total; await sleep(1)) {
    const due = Math.min(total, ((performance.now() - start) * perSecond) / 1000)
    for (; done < due; done++) act(done)
  }
}
