/** A figure: one thing that is measured, and what came of it in a form that a report is made of. */
import type { Plot } from './plot.ts'

/** Whether the sizes are those that are judged, or small ones that only show that the figure can be measured. */
export type Scale = 'full' | 'quick'

export interface Table {
  readonly title: string
  readonly head: readonly string[]
  readonly rows: readonly (readonly string[])[]
}

/** What was to be reached. */
export interface Target {
  readonly what: string
  readonly limit: string
  readonly measured: string
  readonly reached: boolean
}

export interface Measured {
  /** How it was measured, in sentences. */
  readonly how: string
  readonly tables: readonly Table[]
  readonly targets: readonly Target[]
  readonly plots: readonly Plot[]
}

export interface Figure {
  /** What `--only` takes. */
  readonly name: string
  readonly title: string
  measure(scale: Scale): Promise<Measured>
}

/** A target that is reached by being no more than its limit. */
export function atMost(what: string, measured: number, limit: number, show: (value: number) => string): Target {
  return { what, limit: `≤ ${show(limit)}`, measured: show(measured), reached: measured <= limit }
}

/** A target that is reached by being no less than its limit. */
export function atLeast(what: string, measured: number, limit: number, show: (value: number) => string): Target {
  return { what, limit: `≥ ${show(limit)}`, measured: show(measured), reached: measured >= limit }
}
