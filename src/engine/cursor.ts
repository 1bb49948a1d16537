/** The cursor: a place in the log, as a text that means nothing to a client (R1). */
import type { LogPlace } from '../storage/storage.ts'

export function encodeCursor(epoch: string, position: number): string {
  return `${epoch}.${position.toString(36)}`
}

/** The place that a client's cursor names; null where the text is no cursor in its form (R5). */
export function decodeCursor(cursor: string): LogPlace | null {
  const [, epoch, position] = /^([\w-]{1,64})\.([0-9a-z]{1,10})$/.exec(cursor) ?? []
  return epoch && position ? { epoch, position: Number.parseInt(position, 36) } : null
}
