/** Looks at a database without changing it, for whoever wants to know how it is. As with a copy, in another process than the server's. */
import { DatabaseSync } from 'node:sqlite'
import { migrations, ownerOf, versionOf } from './schema.ts'

export interface Inspection {
  /** Its version, and the newest one that is known here. */
  readonly version: number
  readonly known: number
  readonly owner: ReturnType<typeof ownerOf>
  readonly journalMode: string
  /** What SQLite finds wrong with it: nothing, as a rule. */
  readonly flaws: readonly string[]
  /** When the last event in the log was written (milliseconds); null where there is none. */
  readonly lastEventAt: number | null
}

/** Throws SQLite's error where `file` can't be read, or is no database. */
export function inspectDatabase(file: string): Inspection {
  const connection = new DatabaseSync(file, { readOnly: true })
  const get = (text: string) => Object.values(connection.prepare(text).get() ?? {})[0]
  try {
    const version = versionOf(connection)
    const found = connection.prepare('PRAGMA quick_check(3)').all() as { quick_check: string }[]
    const owner = ownerOf(connection)
    return {
      version,
      known: migrations.length,
      owner,
      journalMode: String(get('PRAGMA journal_mode')),
      flaws: found.map(({ quick_check }) => quick_check).filter((flaw) => flaw !== 'ok'),
      lastEventAt:
        owner === 'ours' && version <= migrations.length
          ? ((get('SELECT at FROM event ORDER BY position DESC LIMIT 1') as number | undefined) ?? null)
          : null,
    }
  } finally {
    connection.close()
  }
}
