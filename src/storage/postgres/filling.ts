/** Filling an empty database with the tables of another one. */
import { DatabaseUnusable } from '../storage.ts'
import { ask, type Client, copiedLife, lockSpace, schema } from './connections.ts'
import { opened } from './opening.ts'

type Row = Readonly<Record<string, string | number | null>>

/** The tables of another database, of the same names and columns. */
export interface Source {
  columns(table: string): readonly string[]
  count(table: string): number
  batches(table: string): Iterable<readonly Row[]>
  /** The last number that it gave to an entry of the log, or to a conversation. */
  lastNumber(table: 'conversation' | 'event'): number
}

/** Those that hold what was stored; others say how the database itself is. */
const tables = [
  'user',
  'user_channel',
  'conversation',
  'membership',
  'message',
  'client_request',
  'event',
  'epoch',
] as const

export type Copied = { readonly [Table in (typeof tables)[number]]: number }

/**
 * Copies all of `source` into the database at `url`, which must be empty, in one transaction. Gives how many rows each table has then. Rejects
 * with `DatabaseUnusable` where the database can't be used, is not empty, or has not all in the end; then it is as it was.
 */
export function fill(url: string, source: Source): Promise<Copied> {
  return opened(url, async (client) => {
    await ask(client, 'BEGIN')
    try {
      const copied = await fillIn(client, source)
      await ask(client, 'COMMIT')
      // So that the first queries are not planned for empty tables.
      await ask(client, 'ANALYZE')
      return copied
    } catch (error) {
      await ask(client, 'ROLLBACK').catch(() => {})
      throw error
    }
  })
}

async function fillIn(client: Client, source: Source): Promise<Copied> {
  await ask(client, `SET LOCAL search_path TO ${schema}`)
  await ask(client, 'SET LOCAL statement_timeout = 0')
  // A server that starts meanwhile waits for this, so none writes.
  await ask(client, `SELECT pg_advisory_xact_lock(${lockSpace}, hashtext('epoch'))`)
  for (const table of tables) {
    if (await hasRows(client, table)) {
      throw new DatabaseUnusable('the PostgreSQL database is not empty; name another one, and nothing was changed')
    }
  }
  const copied: Partial<Record<(typeof tables)[number], number>> = {}
  for (const table of tables) copied[table] = await copyTable(client, source, table)
  for (const [{ position }] of source.batches('pruned') as Iterable<[Row]>) {
    await ask(client, 'UPDATE pruned SET position = $1', position)
  }
  // No number is given twice, be its row gone or not.
  await ask(client, `SELECT setval('event_position', $1)`, source.lastNumber('event'))
  const key = `pg_get_serial_sequence('conversation', 'key')`
  await ask(client, `SELECT setval(${key}, $1::bigint + 1, false)`, source.lastNumber('conversation'))
  return copied as Copied
}

async function copyTable(client: Client, source: Source, table: (typeof tables)[number]): Promise<number> {
  const types = await ask<{ column: string; type: string }>(
    client,
    `SELECT column_name AS column, data_type AS type FROM information_schema.columns
     WHERE table_schema = '${schema}' AND table_name = $1`,
    table,
  )
  const own = source.columns(table)
  const shared = types.filter(({ column }) => own.includes(column))
  const names = shared.map(({ column }) => `"${column}"`)
  const record = shared.map(({ column, type }) => `"${column}" ${type}`)
  // Of another database's epochs only the names and places go on: they were lives of that one.
  const [more, values] = table === 'epoch' ? [', life', `, '${copiedLife}'`] : ['', '']
  const text =
    `INSERT INTO "${table}" (${names.join(', ')}${more}) ` +
    `SELECT ${names.join(', ')}${values} FROM json_to_recordset($1) AS given (${record.join(', ')})`
  for (const batch of source.batches(table)) await ask(client, text, JSON.stringify(batch))
  const [written] = await ask<{ count: number }>(client, `SELECT count(*) AS count FROM "${table}"`)
  if (written?.count !== source.count(table)) throw new Error(`not every row of ${table} came to be`)
  return written.count
}

async function hasRows(client: Client, table: string): Promise<boolean> {
  return (await ask(client, `SELECT 1 FROM "${table}" LIMIT 1`)).length > 0
}
