/** The cursor: a position in one database's log, as a text that means nothing to a client (R1). */

/** `database` and `position`, as one opaque text. */
export function encodeCursor(database: string, position: number): string {
  return `${database.slice(0, 8)}.${position.toString(36)}`
}
