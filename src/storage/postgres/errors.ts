/** What an error of PostgreSQL's means for the operation that met it. */
import { FanfareError } from '../../protocol/codes.ts'

/** A query, or the way to the database, has failed. Nothing else that an operation throws is one of these. */
export class Trouble extends Error {
  override readonly name = 'Trouble'

  constructor(cause: unknown) {
    super(reasonOf(cause), { cause })
  }

  /** PostgreSQL's own code of five characters (its manual, appendix A); null where it did not answer. */
  get code(): string | null {
    return sqlState(this.cause)
  }

  /**
   * Whether the same may succeed at once: another transaction was in the way, or a newer version has just changed a table. Nothing was
   * changed by this one.
   */
  get isPassing(): boolean {
    return this.code !== null && passing.includes(this.code)
  }

  /** Whether the database can't do it now, and nobody can say that it never will: only then it is none of our own faults. */
  get isOutside(): boolean {
    return this.code === null || this.isPassing || outside.some((begin) => this.code?.startsWith(begin))
  }
}

/** Serialization failure, deadlock, and a plan that no longer fits its table. */
const passing = ['40001', '40P01', '0A000']

const outside = [
  '08', // the connection
  '25006', // it only reads: another server is the primary now
  '25P03', // the transaction stood still for too long
  '28', // it does not let us in
  '3D000', // the database is not there
  '42501', // it does not let us do this
  '53', // no disk, memory or connection left
  '55P03', // a lock was waited for too long
  '57', // it cancels, shuts down or starts
  '58', // its system has failed
  'XX', // its files or itself have failed
]

/** What the caller of the operation gets. */
export function toCaller(error: unknown, message = 'the database can’t do this now: nothing was stored'): unknown {
  if (!(error instanceof Trouble)) return error
  if (error.isOutside) return new FanfareError('unavailable', message)
  // PostgreSQL's error also has details, such as the whole row, which belong in no log.
  return new Error(`${error.message} (${error.code})`)
}

function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(reasonOf).join(', ')
  return error instanceof Error ? error.message : String(error)
}

function sqlState(error: unknown): string | null {
  const code = error instanceof Error && 'severity' in error && 'code' in error ? error.code : null
  return typeof code === 'string' ? code : null
}
