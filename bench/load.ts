/**
 * The load generator: a process beside the one that is measured, so that neither's CPU is counted as the other's. It does one job at a time,
 * and keeps the sessions of one job for the next.
 */
import { type Deliver, deliver } from './load/deliver.ts'
import type { DialectName } from './load/dialects.ts'
import { type Pace, pace, type Saturate, saturate } from './load/pairs.ts'
import { type Resume, resume, type Storm, storm } from './load/resume.ts'
import { openAll, type Session } from './load/sessions.ts'
import { readOn, type Steady, steady } from './load/steady.ts'
import { type Type, type, type Watch, watch } from './load/typing.ts'

let sessions: Session[] = []

export interface Open {
  readonly port: number
  readonly dialect: DialectName
  readonly tokens: readonly string[]
}

const jobs = {
  /** Opens sessions besides those that are open. */
  open: async ({ port, dialect, tokens }: Open) => {
    sessions.push(...(await openAll(port, dialect, tokens)))
  },
  /** Cuts all sessions off. */
  end: async () => {
    for (const session of sessions) session.end()
    sessions = []
  },
  /** To all sessions, or to the first so many. */
  deliver: (job: Deliver & { readonly members?: number }) => deliver(sessions.slice(0, job.members), job),
  saturate: (job: Saturate) => saturate(sessions, job),
  pace: (job: Pace) => pace(sessions, job),
  steady: (job: Steady) => steady(sessions, job),
  /** The last session stops reading. */
  stall: async () => sessions.at(-1)!.stall(),
  /** It reads on, and is none of the sessions any more. */
  readOn: () => readOn(sessions.pop()!),
  watch: (job: Watch) => watch(sessions, job),
  type: (job: Type) => type(sessions, job),
  storm: async (job: Storm) => {
    const [begun, cost] = await storm(job)
    sessions.push(...begun)
    return cost
  },
  resume: (job: Resume) => resume(job),
}

/** What can be asked of the load generator, by name. */
export type Jobs = typeof jobs

/** What it is asked, and what it answers. A job that fails ends the process. */
export interface Asked {
  readonly name: keyof Jobs
  readonly job: never
}

process.on('message', async ({ name, job }: Asked) => {
  const result = await jobs[name](job)
  process.send?.({ result })
})
// Whoever asks has gone.
process.on('disconnect', () => process.exit())
