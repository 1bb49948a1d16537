/** The database file: opening, its durability, its version, and statements that are prepared once. */
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { DatabaseUnusable, type StorageLimits } from '../storage.ts'
import { migrations } from './schema.ts'

/** Below it two connections may corrupt a WAL database (sqlite.org/wal.html#walresetbug). */
export const oldestSqlite = [3, 51, 3]
/** How long a statement waits for another process that has the database locked. */
const busyTimeoutMs = 5_000

export class Database {
  readonly limits: StorageLimits
  /** The name of the log's epoch, which begins with this opening. */
  readonly epoch = randomBytes(6).toString('base64url')
  /** Set by an operation that scrubs: what was there must not outlive it in the write-ahead log. */
  scrubbed = false
  readonly #sqlite: DatabaseSync
  readonly #lock: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  /** Opens or makes the database and brings it to this version, or throws `DatabaseUnusable` and leaves it as it was. */
  constructor(file: string, limits: StorageLimits) {
    this.limits = limits
    this.#lock = lock(file)
    try {
      refuseNewer(file)
      this.#sqlite = new DatabaseSync(file, { timeout: busyTimeoutMs })
      this.#sqlite.exec(`
        PRAGMA journal_mode = WAL;
        PRAGMA synchronous = FULL;   -- an acknowledged commit survives a power cut; WAL's usual NORMAL may lose it
        PRAGMA secure_delete = ON;   -- scrubbed content is overwritten, not just unlinked
        PRAGMA cache_size = -65536;
        PRAGMA wal_autocheckpoint = 4000;
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

  /** The statement for this text, prepared at its first use. */
  statement(text: string): StatementSync {
    let statement = this.#statements.get(text)
    if (!statement) {
      statement = this.#sqlite.prepare(text)
      this.#statements.set(text, statement)
    }
    return statement
  }

  /** The first row, or undefined. */
  get<Row>(text: string, ...values: (string | number | null)[]): Row | undefined {
    return this.statement(text).get(...values) as Row | undefined
  }

  all<Row>(text: string, ...values: (string | number | null)[]): Row[] {
    return this.statement(text).all(...values) as Row[]
  }

  run(text: string, ...values: (string | number | null)[]): { lastInsertRowid: number; changes: number } {
    return this.statement(text).run(...values) as { lastInsertRowid: number; changes: number }
  }

  /** Writes a page, though nothing changes. SQLite leaves out an UPDATE that changes nothing, but not this. */
  touch(): void {
    this.run(`PRAGMA user_version = ${migrations.length}`)
  }

  /**
   * Empties the write-ahead log into the database, so that no scrubbed content is left in it. Returns false when that must be tried
   * again: something else is reading the database just now, or the disk is full.
   */
  checkpoint(): boolean {
    try {
      // A reader, a backup for instance, may take its time: nobody shall wait for it here.
      this.#sqlite.exec('PRAGMA busy_timeout = 0')
      const { busy } = this.#sqlite.prepare('PRAGMA wal_checkpoint(TRUNCATE)').get() as { busy: number }
      return busy === 0
    } catch {
      return false
    } finally {
      this.#sqlite.exec(`PRAGMA busy_timeout = ${busyTimeoutMs}`)
    }
  }

  close(): void {
    this.#statements.clear()
    if (this.#sqlite?.isOpen) this.#sqlite.close()
    this.#lock.close()
  }

  #migrate(): void {
    const version = versionOf(this.#sqlite)
    for (const [index, migration] of migrations.entries()) {
      if (index < version) continue
      this.#sqlite.exec(`BEGIN IMMEDIATE; ${migration}; PRAGMA user_version = ${index + 1}; COMMIT`)
    }
  }
}

function versionOf(connection: DatabaseSync): number {
  return (connection.prepare('PRAGMA user_version').get() as { user_version: number }).user_version
}

/** Looks without writing: whoever opens a database to write moves what a crash has left in its write-ahead log. */
function refuseNewer(file: string): void {
  if (!existsSync(file)) return
  const connection = new DatabaseSync(file, { readOnly: true })
  try {
    const version = versionOf(connection)
    if (version <= migrations.length) return
    throw new DatabaseUnusable(
      `${file} was written by a newer fanfare (database version ${version}, this one knows ${migrations.length}); ` +
        'nothing was changed: start the newer version, or use another data folder',
    )
  } finally {
    connection.close()
  }
}

/**
 * Takes the data folder for this process: two servers on one database would each tell only their own sessions. The lock is SQLite's
 * own on a file beside the database, so it ends with the process, however that ends.
 */
function lock(file: string): DatabaseSync {
  const connection = new DatabaseSync(`${file}.lock`)
  try {
    connection.exec('PRAGMA journal_mode = MEMORY; PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE')
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
