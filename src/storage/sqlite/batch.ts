/** One batch: one transaction, in which each operation can be undone by itself, and one fsync. */

import { FanfareError } from '../../protocol/codes.ts'
import { adviceFor, costOf } from './costs.ts'
import type { Database } from './database.ts'
import { type Failure, failure, type Operations } from './operations.ts'

/** An operation, by noun and verb, with its arguments. */
export type Request = readonly [noun: string, verb: string, args: readonly unknown[]]

export type Outcome = { readonly value: unknown } | { readonly failure: Failure }

export interface BatchOutcome {
  /** One for each request; where it is long, maybe for the first of them only, and the others are yet to be done. */
  readonly outcomes: readonly Outcome[]
  /** Whether there are so many pages in it that whoever gets it is busy with them for a while. */
  readonly long: boolean
  /** What the operator should know: why nothing of the batch was stored. */
  readonly trouble: string | null
}

/** Pages of about so many characters are long. */
const longPages = 1_048_576

/** The verbs that give pages: nothing that writes is weighed. */
const paging: ReadonlySet<string> = new Set(['list', 'get', 'read', 'missed', 'admit', 'admitListener'])

/**
 * The verbs that may take away a great deal, and refuse only before they change anything. They stand behind no savepoint, which would keep all
 * pages of before in memory.
 */
const sweeping: ReadonlySet<string> = new Set(['delete', 'prune'])

/** An operation behind no savepoint has failed in its midst: a fault of our own. */
class HalfDone extends Error {}

/**
 * Runs a batch, until it is long: else all pages that are asked for at once would be in memory at once, and everything behind them would
 * wait for all of them. When it returns, what succeeded is on disk, or, where the commit failed, nothing is and every operation is `unavailable`.
 * It throws where the database can't be relied on any more (`costOf`): then nothing of the batch may be acknowledged either.
 */
export function runBatch(db: Database, operations: Operations, batch: readonly Request[]): BatchOutcome {
  return run(db, operations, batch, sweeping)
}

function run(
  db: Database,
  operations: Operations,
  batch: readonly Request[],
  unprotected: ReadonlySet<string>,
): BatchOutcome {
  try {
    // IMMEDIATE, for only who holds no lock yet waits for another program that writes, such as one that replicates.
    db.run('BEGIN IMMEDIATE')
    const outcomes: Outcome[] = []
    let size = 0
    for (const request of batch) {
      const outcome = runOne(db, operations, request, unprotected.has(request[1]))
      outcomes.push(outcome)
      if (paging.has(request[1]) && 'value' in outcome) size += sizeOf(outcome.value)
      if (size >= longPages) break
    }
    db.run('COMMIT')
    return { outcomes, long: size >= longPages, trouble: null }
  } catch (error) {
    try {
      db.run('ROLLBACK')
    } catch {
      // SQLite has rolled back by itself.
    }
    db.scrubbed = false
    // The rest had nothing to do with it: once more, with a savepoint for each.
    if (error instanceof HalfDone) return run(db, operations, batch, new Set())
    if (costOf(error) === 'database') throw error
    const reason = error instanceof Error ? error.message : String(error)
    const message = `nothing was stored: ${reason}`
    const advice = adviceFor(error) ?? 'tell the makers of fanfare'
    return {
      outcomes: batch.map(() => ({ failure: { code: 'unavailable', message, retryable: true } })),
      long: false,
      trouble: `${reason}: nothing of what was just asked for was stored, and what was acknowledged before is kept; ${advice}, and it goes on`,
    }
  }
}

/**
 * Runs one operation. It throws where the whole batch has failed with it: SQLite may have rolled all of it back already, or it is half done
 * and `unprotected`.
 */
function runOne(db: Database, operations: Operations, [noun, verb, args]: Request, unprotected: boolean): Outcome {
  const nouns = operations as unknown as Record<string, Record<string, (...args: readonly unknown[]) => unknown>>
  if (!unprotected) db.run('SAVEPOINT operation')
  try {
    const value = nouns[noun]?.[verb]?.(...args)
    if (!unprotected) db.run('RELEASE operation')
    return { value }
  } catch (error) {
    if (costOf(error) !== 'operation') throw error
    if (!unprotected) {
      db.run('ROLLBACK TO operation')
      db.run('RELEASE operation')
    } else if (!(error instanceof FanfareError)) {
      throw new HalfDone()
    }
    return { failure: failure(error) }
  }
}

/** About how many characters it has as JSON. */
function sizeOf(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (typeof value !== 'object' || value === null) return 4
  let size = 0
  for (const [key, one] of Object.entries(value)) size += key.length + sizeOf(one)
  return size
}
