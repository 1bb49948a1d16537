/** The log: one line for each thing that an operator may want to know of. JSON for machines, words for a terminal. */
import { type Logger, pino, stdTimeFunctions } from 'pino'
import type { LogLevel } from './log-level.ts'
import { readable } from './readable.ts'

export type Log = Logger

/** Where lines go, each with its end. */
export interface Destination {
  write(line: string): void
}

/** What may wait for a reader of standard output that has stalled. */
const waitingBytes = 1_048_576

/** A log whose lines are JSON, or with `words` for a person to read. */
export function openLog(level: LogLevel, destination: Destination, words: boolean): Log {
  return pino(
    {
      level,
      // Neither the host's name nor the process's number: who collects lines knows where they come from.
      base: null,
      messageKey: 'event',
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    words ? { write: (line) => destination.write(readable(line)) } : destination,
  )
}

function ignore(): void {}

/** Standard output. A reader that stalls or goes away costs lines, and never the server's time or memory. */
export function standardOutput(): Destination {
  const { stdout } = process
  let lost = 0
  // Once, however often this is asked for.
  stdout.off('error', ignore).on('error', ignore)
  return {
    write(line) {
      if (stdout.writableLength > waitingBytes) {
        lost++
        return
      }
      if (lost > 0) {
        stdout.write(
          `${JSON.stringify({ level: 'warn', time: new Date().toISOString(), lost, event: 'lines_lost' })}\n`,
        )
        lost = 0
      }
      stdout.write(line)
    },
  }
}
