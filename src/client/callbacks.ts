/** Where the application's callbacks are called. */
import { platform } from './platform.ts'

/**
 * Calls each of `callbacks` with `value`. One that throws harms nobody else: its error goes to the platform as an uncaught one would
 * (`window.onerror`, `uncaughtException`). One that is removed meanwhile isn't called any more, one that is added is not called yet. Where
 * a callback can bring about the next value (by closing the chat, for instance), all have been told that when it returns: `isNow` says
 * whether `value` still holds, lest some be told it last.
 */
export function callEach<T>(
  callbacks: ReadonlySet<(value: T) => void>,
  value: T,
  isNow: () => boolean = () => true,
): void {
  for (const callback of [...callbacks]) {
    if (!callbacks.has(callback) || !isNow()) continue
    try {
      callback(value)
    } catch (error) {
      report(error)
    }
  }
}

function report(error: unknown): void {
  if (platform.reportError) platform.reportError(error)
  else {
    platform.queueMicrotask(() => {
      throw error
    })
  }
}
