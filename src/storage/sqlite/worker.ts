/**
 * The thread that owns the database. It takes what arrived while the last commit was under way, runs it in one transaction, and answers for
 * all when the transaction is on disk (group commit).
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { StorageLimits } from '../storage.ts'
import { type BatchOutcome, type Request, runBatch } from './batch.ts'
import { Database } from './database.ts'
import { operations } from './operations.ts'
import { unusable } from './remedy.ts'

/** Nothing is done any more; why, for the operator. It comes unasked too, and is the last that comes. */
export interface Unusable {
  readonly unusable: string
}

/** What the worker says at its start. */
export type Opened = { readonly epoch: string; readonly position: number } | Unusable

/** What it says of each batch, in the order they were sent. */
export type Answer = BatchOutcome | Unusable

export interface WorkerOptions {
  readonly file: string
  readonly limits: StorageLimits
}

/** How long scrubbed content may stay in the write-ahead log: several deletions in a row share one checkpoint. */
const scrubDelayMs = 500

const port = parentPort
if (!port) throw new Error('this file is the storage thread; start it as a worker')

const { file, limits } = workerData as WorkerOptions
const db = open()
if (db) serve(db)

function post(message: Opened | Answer): void {
  port?.postMessage(message)
}

function open(): Database | null {
  try {
    return new Database(file, limits)
  } catch (error) {
    post({ unusable: unusable(file, error).message })
    return null
  }
}

function serve(db: Database): void {
  const nouns = operations(db)
  let checkpoint: NodeJS.Timeout | undefined
  let usable = true

  /** Does something with the database, unless it has failed. When it fails now, that was the last. */
  const whileUsable = (act: () => void) => {
    if (!usable) return
    try {
      act()
    } catch (error) {
      usable = false
      clearTimeout(checkpoint)
      const reason = error instanceof Error ? error.message : String(error)
      post({
        unusable:
          `${file} can't be relied on any more (${reason}): what was acknowledged is kept, nothing more is stored or read; ` +
          'check the disk, then start the server again',
      })
    }
  }

  const scrub = () => {
    if (!db.checkpoint()) scrubSoon()
  }
  const scrubSoon = () => {
    checkpoint ??= setTimeout(() => {
      checkpoint = undefined
      whileUsable(scrub)
    }, scrubDelayMs)
  }

  port?.on('message', (batch: readonly Request[] | 'close') => {
    if (batch === 'close') {
      clearTimeout(checkpoint)
      db.close()
      port.close()
      return
    }
    whileUsable(() => {
      const outcome = runBatch(db, nouns, batch)
      post(outcome)
      if (db.scrubbed) {
        db.scrubbed = false
        scrubSoon()
      }
      db.checkpointIfLong(outcome.outcomes.length)
    })
  })

  whileUsable(() => {
    // A crash may have come between a deletion and its checkpoint.
    scrub()
    post({ epoch: db.epoch, position: db.position })
  })
}
