/** One batch: one transaction, in which each operation stands behind its own savepoint, and one fsync. */
import { adviceFor, costOf } from './costs.ts'
import type { Database } from './database.ts'
import { type Failure, failure, type Operations } from './operations.ts'

/** An operation, by noun and verb, with its arguments. */
export type Request = readonly [noun: string, verb: string, args: readonly unknown[]]

export type Outcome = { readonly value: unknown } | { readonly failure: Failure }

export interface BatchOutcome {
  /** One for each request. */
  readonly outcomes: readonly Outcome[]
  /** What the operator should know: why nothing of the batch was stored. */
  readonly trouble: string | null
}

/**
 * Runs a batch. When it returns, what succeeded is on disk, or, where the commit failed, nothing is and every operation is `unavailable`.
 * It throws where the database can't be relied on any more (`costOf`): then nothing of the batch may be acknowledged either.
 */
export function runBatch(db: Database, operations: Operations, batch: readonly Request[]): BatchOutcome {
  try {
    // IMMEDIATE, for only who holds no lock yet waits for another program that writes, such as one that replicates.
    db.run('BEGIN IMMEDIATE')
    const outcomes = batch.map((request) => runOne(db, operations, request))
    db.run('COMMIT')
    return { outcomes, trouble: null }
  } catch (error) {
    try {
      db.run('ROLLBACK')
    } catch {
      // SQLite has rolled back by itself.
    }
    db.scrubbed = false
    if (costOf(error) === 'database') throw error
    const reason = error instanceof Error ? error.message : String(error)
    const message = `nothing was stored: ${reason}`
    const advice = adviceFor(error) ?? 'tell the makers of fanfare'
    return {
      outcomes: batch.map(() => ({ failure: { code: 'unavailable', message, retryable: true } })),
      trouble: `${reason}: nothing of what was just asked for was stored, and what was acknowledged before is kept; ${advice}, and it goes on`,
    }
  }
}

/** Runs one operation. It throws where the whole batch has failed with it: SQLite may have rolled all of it back already. */
function runOne(db: Database, operations: Operations, [noun, verb, args]: Request): Outcome {
  const nouns = operations as unknown as Record<string, Record<string, (...args: readonly unknown[]) => unknown>>
  db.run('SAVEPOINT operation')
  try {
    const value = nouns[noun]?.[verb]?.(...args)
    db.run('RELEASE operation')
    return { value }
  } catch (error) {
    if (costOf(error) !== 'operation') throw error
    db.run('ROLLBACK TO operation')
    db.run('RELEASE operation')
    return { failure: failure(error) }
  }
}
