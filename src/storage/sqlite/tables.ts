/** The tables of a database as they are, for whoever copies them elsewhere. No server may use it meanwhile. */
import { DatabaseSync } from 'node:sqlite'
import { DatabaseUnusable } from '../storage.ts'
import { lockFolder } from './database.ts'
import { migrations, ownerOf, versionOf } from './schema.ts'

export type Row = Readonly<Record<string, string | number | null>>

/** Rows that are read at once. */
const batchRows = 2_000

export class Tables implements Disposable {
  readonly #lock: DatabaseSync
  readonly #sqlite: DatabaseSync

  /**
   * Throws `DatabaseUnusable` where a server uses the database, or where it is not ours and of this version; and, as all else here may,
   * SQLite's error where it can't be read.
   */
  constructor(file: string) {
    this.#lock = lockFolder(file)
    try {
      this.#sqlite = new DatabaseSync(file, { readOnly: true })
      if (ownerOf(this.#sqlite) === 'another') throw new DatabaseUnusable(`${file} is another program's database`)
      const version = versionOf(this.#sqlite)
      if (version !== migrations.length) {
        throw new DatabaseUnusable(
          `${file} is of version ${version}, and this fanfare reads ${migrations.length}; start the server on it once, and stop it`,
        )
      }
    } catch (error) {
      this.#lock.close()
      throw error
    }
  }

  columns(table: string): readonly string[] {
    const rows = this.#sqlite.prepare('SELECT name FROM pragma_table_info(?)').all(table) as { name: string }[]
    return rows.map(({ name }) => name)
  }

  count(table: string): number {
    return (this.#sqlite.prepare(`SELECT count(*) AS count FROM "${table}"`).get() as { count: number }).count
  }

  *batches(table: string): Generator<Row[]> {
    let batch: Row[] = []
    for (const row of this.#sqlite.prepare(`SELECT * FROM "${table}"`).iterate()) {
      batch.push(row as Row)
      if (batch.length < batchRows) continue
      yield batch
      batch = []
    }
    if (batch.length > 0) yield batch
  }

  /** The last number that the table has given a row; 0 where it has none yet. It gives none twice, also when the row is gone. */
  lastNumber(table: 'conversation' | 'event'): number {
    const row = this.#sqlite.prepare('SELECT seq FROM sqlite_sequence WHERE name = ?').get(table)
    return (row as { seq: number } | undefined)?.seq ?? 0
  }

  [Symbol.dispose](): void {
    this.#sqlite.close()
    this.#lock.close()
  }
}
