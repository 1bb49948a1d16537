/** The database file: opening, its durability, its version, and statements that are prepared once. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { Query } from '../sql/steps.ts'
import { DatabaseUnusable, type StorageLimits } from '../storage.ts'
import { costOf } from './costs.ts'
import { migrations, ownerOf, versionOf } from './schema.ts'

/** Below it two connections may corrupt a WAL database (sqlite.org/wal.html#walresetbug). */
export const oldestSqlite = [3, 51, 3]
/** How long a statement waits for another process that has the database locked. */
const busyTimeoutMs = 5_000
/**
 * A write-ahead log of so many pages (of 4 KiB) is emptied into the database. What comes meanwhile waits: a moment, where little comes and it is
 * done often. Where much comes it is done seldom, for the same pages are written again and again, and each time costs two fsyncs.
 */
const longLogPages = { quiet: 1_000, busy: 4_000 }
/** Where so many operations share a batch, more come than could be done one by one. */
const busyBatch = 16

/** What a checkpoint says: whether something was in its way, and the pages in the log, of which so many are in the database. */
interface Checkpoint {
  readonly busy: number
  readonly log: number
  readonly checkpointed: number
}

export class Database {
  readonly limits: StorageLimits
  /** The name of the log's epoch, which begins with this opening. */
  readonly epoch = randomBytes(6).toString('base64url')
  /** Set where content was taken away: what was there must not outlive it in the write-ahead log. */
  scrubbed = false
  readonly #sqlite: DatabaseSync
  readonly #lock: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** Opens or makes the database and brings it to this version, or throws `DatabaseUnusable` and leaves it as it was. */
  constructor(file: string, limits: StorageLimits) {
    this.limits = limits
    this.#lock = lockFolder(file)
    try {
      refuseStrange(file)
      this.#sqlite = new DatabaseSync(file, { timeout: busyTimeoutMs })
      this.#sqlite.exec(`
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;   -- an acknowledged commit survives a power cut; WAL's usual NORMAL may lose it
        PRAGMA secure_delete = ON;   -- scrubbed content is overwritten, not just unlinked
        PRAGMA cache_size = -65536;
        PRAGMA temp_store = MEMORY;  -- what undoing an operation needs: in a file it would cost a write for each page
        PRAGMA wal_autocheckpoint = 0;  -- see checkpointIfLong
      `)
      requireSqlite(this.#sqlite)
      this.#migrate()
      this.run('INSERT INTO epoch (name, from_position) VALUES (?, ?)', this.epoch, this.position)
    } catch (error) {
      this.close()
      throw error
    }
  }

  /** The position of the last entry that was ever written to the log. */
  get position(): number {
    return this.get<{ seq: number }>(`SELECT seq FROM sqlite_sequence WHERE name = 'event'`)?.seq ?? 0
  }

  /** Answers a step of an operation. Batches run one after the other, so everything is kept from others anyway. */
  answer({ wanted, text, values }: Query): unknown {
    switch (wanted) {
      case 'row':
        return this.#statement(text).get(...values)
      case 'rows':
        return this.#statement(text).all(...values)
      case 'changes':
        return this.#statement(text).run(...values).changes
      case 'position':
        return this.#statement(text).run(...values).lastInsertRowid
      case 'lock':
        return undefined
      case 'end':
        return this.position
      case 'scrubbed':
        this.scrubbed = true
        return undefined
    }
  }

  /** The first row, or undefined. */
  get<Row>(text: string, ...values: (string | number | null)[]): Row | undefined {
    return this.#statement(text).get(...values) as Row | undefined
  }

  run(text: string, ...values: (string | number | null)[]): void {
    this.#statement(text).run(...values)
  }

  /**
   * Empties the write-ahead log into the database, so that no scrubbed content is left in it. Returns false when that must be tried
   * again: something else is reading the database just now, or the disk is full. Throws where the disk fails.
   */
  checkpoint(): boolean {
    // A reader, a backup for instance, may take its time: nobody shall wait for it here.
    this.#sqlite.exec('PRAGMA busy_timeout = 0')
    try {
      return this.#checkpoint('TRUNCATE')
    } finally {
      this.#sqlite.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
    }
  }

  /**
   * Moves a log that has grown long into the database, as far as no reader is in the way. SQLite's own checkpoint would come within a
   * commit, so that those who wait for it waited longer, and would say nothing of a disk that fails. `operations` is how many the last
   * batch did. Throws where the disk fails.
   */
  checkpointIfLong(operations: number): void {
    const { log, checkpointed } = this.get<Checkpoint>('PRAGMA wal_checkpoint(NOOP)') as Checkpoint
    const long = operations < busyBatch ? longLogPages.quiet : longLogPages.busy
    if (log - checkpointed >= long) this.#checkpoint('PASSIVE')
  }

  close(): void {
    this.#statements.clear()
    if (this.#sqlite?.isOpen) this.#sqlite.close()
    this.#lock.close()
  }

  /** The statement for this text, prepared at its first use. */
  #statement(text: string): StatementSync {
    let statement = this.#statements.get(text)
    if (!statement) {
      statement = this.#sqlite.prepare(inSqlite(text))
      this.#statements.set(text, statement)
    }
    return statement
  }

  #checkpoint(mode: 'TRUNCATE' | 'PASSIVE'): boolean {
    try {
      return this.get<Checkpoint>(`PRAGMA wal_checkpoint(${mode})`)?.busy === 0
    } catch (error) {
      if (costOf(error) === 'database') throw error
      return false
    }
  }

  #migrate(): void {
    const version = versionOf(this.#sqlite)
    for (const [index, migration] of migrations.entries()) {
      if (index < version) continue
      this.#sqlite.exec(`BEGIN IMMEDIATE; ${migration}; PRAGMA user_version = ${index + 1}; COMMIT`)
    }
  }
}

/** The text as SQLite knows it: `?1` for the first value, and no rows that are kept from others. */
function inSqlite(text: string): string {
  return text.replace(/\$(\d+)/g, '?$1').replace(/ FOR UPDATE( OF \w+)?$/, '')
}

/** Refuses what is newer, or another program's. It looks without writing: who opens a database to write moves what a crash has left in its log. */
function refuseStrange(file: string): void {
  if (!existsSync(file)) return
  const connection = new DatabaseSync(file, { readOnly: true })
  try {
    const version = versionOf(connection)
    if (version > migrations.length) {
      throw new DatabaseUnusable(
        `${file} was written by a newer fanfare (database version ${version}, this one knows ${migrations.length}); ` +
          'nothing was changed: start the newer version, or use another data folder',
      )
    }
    if (ownerOf(connection) === 'another') {
      throw new DatabaseUnusable(
        `${file} is another program's database; nothing was changed: move it, or use another data folder`,
      )
    }
  } finally {
    connection.close()
  }
}

/**
 * Takes the data folder for this process: two servers on one database would each tell only their own sessions. The lock is SQLite's
 * own on a file beside the database, so it ends with the process, however that ends.
 */
export function lockFolder(file: string): DatabaseSync {
  const connection = new DatabaseSync(`${file}.lock`)
  try {
    connection.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
    // Of a file that may only be read SQLite would take a lock that others may have too, and say nothing.
    connection.exec('PRAGMA user_version = 1')
    return connection
  } catch (error) {
    connection.close()
    if ((error as { errcode?: number }).errcode !== 5) throw error
    throw new DatabaseUnusable(
      `${file} is in use by another running fanfare: stop that one, or use another data folder`,
    )
  }
}

function requireSqlite(connection: DatabaseSync): void {
  const { version } = connection.prepare('SELECT sqlite_version() AS version').get() as { version: string }
  const parts = version.split('.').map(Number)
  for (const [index, least] of oldestSqlite.entries()) {
    const part = parts[index] ?? 0
    if (part > least) return
    if (part < least) {
      throw new DatabaseUnusable(
        `this Node has SQLite ${version}, which can corrupt a database; use a Node with ${oldestSqlite.join('.')} or later`,
      )
    }
  }
}
