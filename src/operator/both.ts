/** The log and the metrics as one observer. */
import type { Observer } from '../engine/observer.ts'
import type { StorageObserver } from '../storage/storage.ts'
import type { Journal } from './journal.ts'
import type { Metrics } from './metrics.ts'

/** Tells each of them what it has an ear for. */
export function both(journal: Journal, metrics: Metrics): Observer & StorageObserver {
  return {
    sessionConnected(session, missed) {
      metrics.sessionConnected(session, missed)
      journal.sessionConnected(session, missed)
    },
    sessionEnded(session, code, lastedMs) {
      metrics.sessionEnded(session, code)
      journal.sessionEnded(session, code, lastedMs)
    },
    answered: (command, error) => metrics.answered(command, error),
    refused(refusal) {
      metrics.refused(refusal)
      journal.refused(refusal)
    },
    pushed: (what, sessions) => metrics.pushed(what, sessions),
    replaced: (sessions) => journal.replaced(sessions),
    fault(doing, error) {
      metrics.fault()
      journal.fault(doing, error)
    },
    committed(operations, ms) {
      metrics.committed(operations, ms)
      journal.committed()
    },
    failed(operations, reason) {
      metrics.failed(operations)
      journal.failed(operations, reason)
    },
  }
}
