/** What an error costs: one operation, all that share its transaction, or the database until it is opened anew. */

export type Cost = 'operation' | 'batch' | 'database'

/** SQLite's result codes (sqlite.org/rescode.html), as far as they are told apart here. */
const sqlite = {
  error: 1,
  busy: 5,
  locked: 6,
  noMemory: 7,
  full: 13,
  cantOpen: 14,
  tooBig: 18,
  constraint: 19,
} as const
const corrupt = 11
const mismatch = 20
const misuse = 21
const range = 25
const notADatabase = 26

/** What is wrong with the statement or its values alone: SQLite undoes that statement, and its transaction goes on. */
const statements: readonly number[] = [sqlite.error, sqlite.tooBig, sqlite.constraint, mismatch, misuse, range]

/** What passes by itself, or by what the operator can do. SQLite undoes the transaction, wholly, and the next one may succeed. */
const passing: ReadonlyMap<number, string> = new Map([
  [sqlite.busy, 'end the other program that has it locked'],
  [sqlite.locked, 'end the other program that has it locked'],
  [sqlite.noMemory, 'give the server more memory'],
  [sqlite.full, 'make room on its disk'],
  [sqlite.cantOpen, 'let the server open more files'],
])

/**
 * What `error` costs. After anything that is known to be neither of the two others, a failed fsync above all, nobody knows what is on
 * the disk: the system may have dropped what it could not write, and say so only once.
 */
export function costOf(error: unknown): Cost {
  const code = codeOf(error)
  if (code === null || statements.includes(code)) return 'operation'
  return passing.has(code) ? 'batch' : 'database'
}

/** What the operator can do about an error that passes. */
export function adviceFor(error: unknown): string | undefined {
  return passing.get(codeOf(error) ?? 0)
}

/** Whether it is an error that SQLite gave. */
export function isSqlites(error: unknown): boolean {
  return codeOf(error) !== null
}

/** Whether the database itself is what is wrong: it is damaged, or no database at all. */
export function isDamage(error: unknown): boolean {
  const code = codeOf(error)
  return code === corrupt || code === notADatabase
}

/** SQLite's primary result code; null for an error that is none of SQLite's. */
function codeOf(error: unknown): number | null {
  const extended = error instanceof Error && 'errcode' in error ? error.errcode : null
  return typeof extended === 'number' ? extended & 0xff : null
}
