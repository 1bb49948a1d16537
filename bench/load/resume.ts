/** Sessions that begin, many at once or one after another, up to the last push that they had missed. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cpu, cpuOf, cpuSince } from '../procfs.ts'
import { openAll, Session } from './sessions.ts'

export interface Storm {
  readonly port: number
  readonly pid: number
  readonly tokens: readonly string[]
  /** Where all of them go on from; left out where they begin anew. */
  readonly cursor?: string
  /** How many pushes they missed, all together. */
  readonly pushes: number
}

export interface Stormed {
  readonly seconds: number
  readonly cpu: Cpu
}

/** Begins a session for each token, many at a time; gives them back with what that cost. */
export async function storm({ port, pid, tokens, cursor, pushes }: Storm): Promise<[Session[], Stormed]> {
  const { promise: told, resolve } = Promise.withResolvers<void>()
  let missing = pushes
  if (missing === 0) resolve()
  const prepare = (session: Session) => {
    session.onFrame = (kind) => {
      if (kind === 'push' && --missing === 0) resolve()
    }
  }
  const before = cpuOf(pid)
  const start = performance.now()
  const sessions = await openAll(port, 'fanfare', tokens, { cursor, prepare })
  await told
  return [sessions, { seconds: (performance.now() - start) / 1000, cpu: cpuSince(before, pid) }]
}

/** One who comes back, again and again. */
export interface Comeback {
  readonly port: number
  readonly token: string
  readonly cursor: string
  /** How many pushes he missed. */
  readonly pushes: number
}

export interface Resume {
  readonly comebacks: readonly Comeback[]
  readonly repeats: number
}

/** How many milliseconds passed from each one's `connect` to the last push that he had missed, each time. They take turns. */
export async function resume({ comebacks, repeats }: Resume): Promise<number[][]> {
  const times: number[][] = comebacks.map(() => [])
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const [index, { port, token, cursor, pushes }] of comebacks.entries()) {
      const { promise: told, resolve } = Promise.withResolvers<void>()
      let missing = pushes
      const session = await Session.open(port, 'fanfare')
      session.onFrame = (kind) => {
        if (kind === 'push' && --missing === 0) resolve()
      }
      const start = performance.now()
      await session.greet(token, cursor)
      await told
      times[index]!.push(performance.now() - start)
      session.end()
      // The server shall be done with the end of this one before the next one comes.
      await sleep(5)
    }
  }
  return times
}
