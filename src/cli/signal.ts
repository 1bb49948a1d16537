/** The signals that end the server: SIGTERM from a supervisor, SIGINT from a terminal. */
import { constants } from 'node:os'

/**
 * Under `npm start` a Ctrl-C comes twice where the shell is bash: from the terminal, and from npm, which passes it on a millisecond
 * later. Within this time it is the same one.
 */
const echoMs = 500

/** Resolves at the first signal. A second one ends the process at once, with the exit code that the signal stands for. */
export function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    let firstAt: number | undefined
    const onSignal = (signal: NodeJS.Signals) => {
      if (firstAt === undefined) {
        firstAt = performance.now()
        resolve()
      } else if (performance.now() - firstAt > echoMs) {
        process.exit(128 + constants.signals[signal])
      }
    }
    process.on('SIGTERM', onSignal)
    process.on('SIGINT', onSignal)
  })
}
