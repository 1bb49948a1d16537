/**
 * A copy of a database that a server may be using. It must be made in another process than the server's: closing a file here would take
 * away the locks that the process holds on it there (sqlite.org/howtocorrupt.html, 2.2).
 */
import { DatabaseSync } from 'node:sqlite'
import { DatabaseUnusable } from '../storage.ts'
import { unusable } from './remedy.ts'

/**
 * Writes the database `file`, as it is in one moment, into the new file `copy`, and checks it there. No writer waits for it. A copy is
 * another database to clients: it knows no cursor of `file` (R5). What was deleted is not in it. Throws `DatabaseUnusable` where `file` is
 * no database of ours, or the copy is not whole.
 */
export function copyDatabase(file: string, copy: string): void {
  const source = new DatabaseSync(file, { readOnly: true, open: false })
  try {
    open(source, file)
    // SQLite's backup would begin anew whenever somebody writes; this reads one snapshot.
    source.prepare('VACUUM INTO ?').run(copy)
  } finally {
    if (source.isOpen) source.close()
  }
  const made = new DatabaseSync(copy)
  try {
    // A place from before the copy is refused too: who holds it may know from replies what came after, and was never told to forget that.
    made.exec('DELETE FROM epoch')
    const found = made.prepare('PRAGMA integrity_check(3)').all() as { integrity_check: string }[]
    const flaws = found.map(({ integrity_check }) => integrity_check).filter((flaw) => flaw !== 'ok')
    if (flaws.length > 0) throw new DatabaseUnusable(`the copy of ${file} is not whole: ${flaws.join('; ')}`)
  } finally {
    made.close()
  }
}

function open(connection: DatabaseSync, file: string): void {
  try {
    connection.open()
    requireOurs(connection, file)
  } catch (error) {
    throw unusable(file, error)
  }
}

function requireOurs(connection: DatabaseSync, file: string): void {
  const tables = connection.prepare("SELECT count(*) AS tables FROM sqlite_schema WHERE name IN ('epoch', 'event')")
  if ((tables.get() as { tables: number }).tables < 2) throw new DatabaseUnusable(`${file} is no database of fanfare's`)
}
