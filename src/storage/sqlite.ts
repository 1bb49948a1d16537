/** Storage in an embedded SQLite database: this thread's side, which sends operations to the thread that owns the database. */
import { Worker } from 'node:worker_threads'
import { FanfareError } from '../protocol/codes.ts'
import { type Nouns, operations } from './sql/operations.ts'
import type { Outcome, Request } from './sqlite/batch.ts'
import type { Answer, Opened, WorkerOptions } from './sqlite/worker.ts'
import { DatabaseUnusable, type Storage, type StorageLimits, type StorageObserver } from './storage.ts'

interface Pending {
  readonly request: Request
  readonly resolve: (value: never) => void
  readonly reject: (error: Error) => void
}

/** What clients are told when the database has failed. */
const failed =
  'the database has failed and takes nothing more; what was acknowledged is kept; ' +
  'whoever runs the server must check its disk and start it again'

/**
 * Opens or makes the database `file`, whose folder must exist. Rejects with `DatabaseUnusable` when it is another server's, of a
 * newer version, or can't be written; then nothing was changed. A disk that is full fails what has no room; one that fails ends the database:
 * then everything is `unavailable` until it is opened anew. Where its thread ends by itself the process does, by an exception that nobody
 * catches.
 */
export async function openSqlite(file: string, limits: StorageLimits, observer: StorageObserver): Promise<Storage> {
  const own = import.meta.url.endsWith('.ts') ? './sqlite/worker.ts' : './sqlite/worker.js'
  const worker = new Worker(new URL(own, import.meta.url), { workerData: { file, limits } satisfies WorkerOptions })
  const opened = await new Promise<Opened>((resolve, reject) => {
    worker.once('message', resolve)
    worker.once('error', reject)
  })
  if ('unusable' in opened) {
    await worker.terminate()
    throw new DatabaseUnusable(opened.unusable)
  }
  const thread = new StorageThread(worker, observer)
  return {
    ...(Object.fromEntries(
      // Of what is done in the other thread, only the names are of use here.
      Object.entries(operations(limits)).map(([noun, verbs]) => [noun, thread.operations(noun, Object.keys(verbs))]),
    ) as unknown as Nouns),
    ...opened,
    inOrder: true,
    // The file is held open, and locked.
    whenReplaced() {},
    close: () => thread.close(),
  }
}

/** Sends operations in batches: what is asked for while one batch is under way goes together into the next. */
class StorageThread {
  readonly #worker: Worker
  readonly #observer: StorageObserver
  readonly #exit: Promise<void>
  #waiting: Pending[] = []
  #underWay: Pending[] = []
  #sentAt = 0
  #scheduled = false
  /** Why nothing is taken any more; null while it is. */
  #refusal: string | null = null
  #closing: Promise<void> | null = null
  #whenIdle: (() => void) | null = null

  constructor(worker: Worker, observer: StorageObserver) {
    this.#worker = worker
    this.#observer = observer
    worker.on('message', (answer: Answer) => this.#hear(answer))
    // Nobody here can do without it, and a process that lives on would look well: it is for whoever supervises the process to start it anew.
    worker.on('error', (cause) => {
      throw new Error('the storage thread has ended by itself', { cause })
    })
    this.#exit = new Promise((resolve) => {
      worker.on('exit', (code) => {
        if (!this.#closing) throw new Error(`the storage thread has ended by itself, with ${code}`)
        resolve()
      })
    })
  }

  operations(noun: string, names: readonly string[]) {
    return Object.fromEntries(names.map((verb) => [verb, (...args: unknown[]) => this.#ask([noun, verb, args])]))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#refusal ??= 'the storage is closed'
    if (this.#waiting.length + this.#underWay.length > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve
      })
    }
    this.#worker.postMessage('close')
    await this.#exit
  }

  #ask(request: Request): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#refusal) return reject(new FanfareError('unavailable', this.#refusal))
      this.#waiting.push({ request, resolve, reject })
      // After all sockets of this turn were read: their commands share one commit from the first one on.
      if (!this.#scheduled && this.#underWay.length === 0) this.#sendLater()
    })
  }

  #sendLater(): void {
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#send()
    })
  }

  #send(): void {
    if (this.#waiting.length === 0) return
    this.#underWay = this.#waiting
    this.#waiting = []
    this.#sentAt = performance.now()
    this.#worker.postMessage(this.#underWay.map(({ request }) => request))
  }

  #hear(answer: Answer): void {
    if ('unusable' in answer) {
      this.#fail(answer.unusable)
      return
    }
    const { outcomes, long, trouble } = answer
    if (trouble === null) this.#observer.committed(outcomes.length, performance.now() - this.#sentAt)
    else this.#observer.failed(outcomes.length, trouble)
    this.#settle(outcomes, long)
  }

  #settle(outcomes: readonly Outcome[], long: boolean): void {
    const settled = this.#underWay
    this.#underWay = []
    // What was put off goes first: one's commands are done in their order.
    if (outcomes.length < settled.length) this.#waiting = [...settled.slice(outcomes.length), ...this.#waiting]
    // Node hands over one answer after the other, and the next may be there before this one is dealt with: then no socket would get a turn.
    if (long) this.#sendLater()
    else this.#send()
    for (const [index, outcome] of outcomes.entries()) {
      const pending = settled[index]
      if (!pending) continue
      if ('value' in outcome) pending.resolve(outcome.value as never)
      else pending.reject(toError(outcome.failure))
    }
    if (this.#underWay.length + this.#waiting.length === 0) this.#whenIdle?.()
  }

  /** Nothing is taken any more, and what was not answered never will be: whether it was stored is not known. */
  #fail(why: string): void {
    const unanswered = [...this.#underWay, ...this.#waiting]
    this.#observer.failed(unanswered.length, why)
    this.#refusal ??= failed
    for (const { reject } of unanswered) reject(new FanfareError('unavailable', failed))
    this.#underWay = []
    this.#waiting = []
    this.#whenIdle?.()
  }
}

function toError(failure: Extract<Outcome, { failure: unknown }>['failure']): Error {
  if (failure.code === 'fault') return new Error(failure.message)
  return new FanfareError(failure.code, failure.message, failure.details)
}
