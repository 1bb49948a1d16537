/**
 * The thread that owns the database. It takes what arrived while the last commit was under way, runs it in one transaction, each
 * operation behind its own savepoint, and answers for all when the transaction is on disk (group commit).
 */
import { parentPort, workerData } from 'node:worker_threads'
import { DatabaseUnusable, type StorageLimits } from '../storage.ts'
import { Database } from './database.ts'
import { type Failure, failure, operations } from './operations.ts'

/** An operation, by noun and verb, with its arguments. */
export type Request = readonly [noun: string, verb: string, args: readonly unknown[]]

export type Outcome = { readonly value: unknown } | { readonly failure: Failure }

/** What the worker says at its start, and then of each batch, in the order they were sent. */
export type Opened = { readonly epoch: string; readonly position: number } | { readonly unusable: string }

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

function open(): Database | null {
  try {
    return new Database(file, limits)
  } catch (error) {
    const reason = error instanceof DatabaseUnusable ? error.message : `${file} can't be opened: ${String(error)}`
    port?.postMessage({ unusable: reason } satisfies Opened)
    return null
  }
}

function serve(db: Database): void {
  const nouns = operations(db) as unknown as Record<string, Record<string, (...args: unknown[]) => unknown>>
  let checkpoint: NodeJS.Timeout | undefined

  const checkpointSoon = () => {
    checkpoint ??= setTimeout(() => {
      checkpoint = undefined
      if (!db.checkpoint()) checkpointSoon()
    }, scrubDelayMs)
  }

  const runOne = ([noun, verb, args]: Request): Outcome => {
    db.run('SAVEPOINT operation')
    try {
      const group = nouns[noun]
      const value = group?.[verb]?.(...args)
      db.run('RELEASE operation')
      return { value }
    } catch (error) {
      db.run('ROLLBACK TO operation')
      db.run('RELEASE operation')
      return { failure: failure(error) }
    }
  }

  const runBatch = (batch: readonly Request[]): Outcome[] => {
    try {
      // IMMEDIATE, for only who holds no lock yet waits for another program that writes, such as one that replicates.
      db.run('BEGIN IMMEDIATE')
      const outcomes = batch.map(runOne)
      db.run('COMMIT')
      return outcomes
    } catch (error) {
      // The disk is full or failing: nothing of this batch is acknowledged, for nobody knows what reached the disk.
      try {
        db.run('ROLLBACK')
      } catch {
        // SQLite has rolled back by itself.
      }
      db.scrubbed = false
      const message = `nothing was stored: ${error instanceof Error ? error.message : String(error)}`
      return batch.map(() => ({ failure: { code: 'unavailable', message, retryable: true } }))
    }
  }

  port?.on('message', (batch: readonly Request[] | 'close') => {
    if (batch === 'close') {
      clearTimeout(checkpoint)
      db.close()
      port.close()
      return
    }
    port.postMessage(runBatch(batch))
    if (db.scrubbed) {
      db.scrubbed = false
      checkpointSoon()
    }
  })

  // A crash may have come between a deletion and its checkpoint.
  if (!db.checkpoint()) checkpointSoon()
  port?.postMessage({ epoch: db.epoch, position: db.position } satisfies Opened)
}
