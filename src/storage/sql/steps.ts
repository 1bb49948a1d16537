/**
 * The steps of an operation: a generator that yields what it asks of the database and is sent the answer. So what an operation means is
 * written once, without knowing whether the database answers at once, as SQLite does, or over a network, as PostgreSQL does.
 *
 * Texts are in the SQL that both know, with `$1` for the first value. `FOR UPDATE` at the end of one keeps the rows from others until
 * the operation ends; where whole transactions run one after the other it is left out.
 */

export type Value = string | number | null

export interface Query {
  /**
   * What is wanted: the first row or undefined, all rows, how many rows were changed, or the position of the entry that it puts into the log. `lock` keeps
   * all others who ask for the same text waiting until the operation ends. `end` asks for the position up to which the log is whole:
   * no entry will come any more that stands at or before it. Nothing may be asked before it. `scrubbed` says that content was taken
   * away for good.
   */
  readonly wanted: 'row' | 'rows' | 'changes' | 'position' | 'lock' | 'end' | 'scrubbed'
  readonly text: string
  readonly values: readonly Value[]
}

/** An operation that ends with an `R`. Where several queries are yielded at once, the answers come at once too, in their order. */
export type Steps<R> = Generator<Query | readonly Query[], R, unknown>

/** The operations of one of the seam's groups, as steps. */
export type AsSteps<Group> = {
  [Name in keyof Group]: Group[Name] extends (...args: infer Args) => Promise<infer R>
    ? (...args: Args) => Steps<R>
    : never
}

/** The first row, or undefined. */
export function* get<Row>(text: string, ...values: Value[]): Steps<Row | undefined> {
  return (yield { wanted: 'row', text, values }) as Row | undefined
}

export function* all<Row>(text: string, ...values: Value[]): Steps<Row[]> {
  return (yield { wanted: 'rows', text, values }) as Row[]
}

/** Says how many rows were changed. */
export function* run(text: string, ...values: Value[]): Steps<number> {
  return (yield write(text, ...values)) as number
}

/** The query of `run`, for whoever asks it beside others. */
export function write(text: string, ...values: Value[]): Query {
  return { wanted: 'changes', text, values }
}

export function* lock(what: string): Steps<void> {
  yield { wanted: 'lock', text: what, values: [] }
}

/** Content was taken away for good (E4): no copy of it shall be left behind. */
export function* scrubbed(): Steps<void> {
  yield { wanted: 'scrubbed', text: '', values: [] }
}

/** The position up to which the log is whole. It must be the first that an operation asks for. */
export function* endOfLog(): Steps<number> {
  return (yield { wanted: 'end', text: '', values: [] }) as number
}

/** Does several things that do not wait for each other, step by step at once, so that over a network they take the time of one. */
export function* together<R>(parts: readonly Steps<R>[]): Steps<R[]> {
  const results = new Map<Steps<R>, R>()
  let waiting: { part: Steps<R>; query: Query | readonly Query[] }[] = []
  const take = (part: Steps<R>, answer: unknown) => {
    const step = part.next(answer)
    if (step.done) results.set(part, step.value)
    else waiting.push({ part, query: step.value })
  }
  for (const part of parts) take(part, undefined)
  while (waiting.length > 0) {
    const asked = waiting
    waiting = []
    const answers = (yield asked.flatMap(({ query }) => query)) as unknown[]
    let next = 0
    for (const { part, query } of asked) {
      if (isSeveral(query)) {
        take(part, answers.slice(next, next + query.length))
        next += query.length
      } else {
        take(part, answers[next])
        next++
      }
    }
  }
  return parts.map((part) => results.get(part) as R)
}

export function isSeveral(query: Query | readonly Query[]): query is readonly Query[] {
  return Array.isArray(query)
}
