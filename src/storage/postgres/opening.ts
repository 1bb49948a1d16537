/** Opening a database: whether it can be used, and bringing its tables to this version. */
import pg from 'pg'
import { DatabaseUnusable } from '../storage.ts'
import { ask, type Client, connectionOptions, lockSpace, schema } from './connections.ts'
import { Trouble } from './errors.ts'
import { migrations } from './schema.ts'

/** The first version that sets nothing aside of what the tables and their functions ask for, and is still maintained. */
const oldestVersion = 15

/**
 * Connects and does `work`, with the tables in this version. Rejects with `DatabaseUnusable` when the database can't be reached or used, is of
 * a newer version or an older PostgreSQL; then nothing was changed. Several may open it at once: one of them makes the tables.
 */
export function opened<R>(url: string, work: (client: Client) => Promise<R>): Promise<R> {
  return connected(url, async (client, where) => {
    await migrate(client, where)
    return work(client)
  })
}

export interface Inspection {
  /** The database in words, without its password. */
  readonly where: string
  /** The version of PostgreSQL. */
  readonly server: string
  /** That of the tables, 0 where there are none yet, and the newest one that is known here. */
  readonly version: number
  readonly known: number
}

/** Looks at a database without changing it. Rejects with `DatabaseUnusable` when it can't be reached, or PostgreSQL can't be used as it is. */
export function inspectPostgres(url: string): Promise<Inspection> {
  return connected(url, async (client, where, server) => {
    const { version } = await lookAtTables(client)
    return { where, server, version: version ?? 0, known: migrations.length }
  })
}

async function connected<R>(
  url: string,
  work: (client: Client, where: string, server: string) => Promise<R>,
): Promise<R> {
  const client = connectionTo(url)
  // What breaks the connection is told to whoever waits for an answer.
  client.on('error', () => {})
  const where = `PostgreSQL at ${client.host}:${client.port}, database ${client.database},`
  try {
    await client.connect().catch((error: unknown) => {
      throw new Trouble(error)
    })
    const server = await requireServer(client, where)
    return await work(client, where, server)
  } catch (error) {
    if (!(error instanceof Trouble)) throw error
    throw new DatabaseUnusable(
      `${where} can't be used: ${error.message}; check that it runs, and what the database's URL says`,
    )
  } finally {
    await client.end().catch(() => {})
  }
}

function connectionTo(url: string): pg.Client {
  try {
    return new pg.Client(connectionOptions(url))
  } catch {
    // The parser's error would show the URL, and the password in it.
    throw new DatabaseUnusable(
      "the database's URL can't be read; it looks like postgres://USER:PASSWORD@HOST:5432/DATABASE",
    )
  }
}

/** Gives its version. */
async function requireServer(client: Client, where: string): Promise<string> {
  const [server] = await ask<{ version: string; number: number; encoding: string; standby: boolean; fsync: string }>(
    client,
    `SELECT current_setting('server_version') AS version, current_setting('server_version_num')::integer AS number,
       current_setting('server_encoding') AS encoding, pg_is_in_recovery() AS standby, current_setting('fsync') AS fsync`,
  )
  if (!server) throw new Error('a query without rows')
  if (server.number < oldestVersion * 10_000) {
    throw new DatabaseUnusable(`${where} is version ${server.version}; fanfare needs ${oldestVersion} or later`)
  }
  if (server.encoding !== 'UTF8') {
    throw new DatabaseUnusable(`${where} has the encoding ${server.encoding}; make it with ENCODING 'UTF8'`)
  }
  if (server.standby) throw new DatabaseUnusable(`${where} is a standby, which only reads; name the primary`)
  if (server.fsync === 'off') {
    throw new DatabaseUnusable(
      `${where} runs with fsync off, so what it acknowledges may be lost; turn fsync on in postgresql.conf`,
    )
  }
  return server.version
}

async function migrate(client: Client, where: string): Promise<void> {
  await ask(client, 'BEGIN')
  try {
    await ask(client, `SELECT pg_advisory_xact_lock(${lockSpace}, hashtext('migration'))`)
    const version = await versionOf(client)
    if (version > migrations.length) {
      throw new DatabaseUnusable(
        `${where} was written by a newer fanfare (database version ${version}, this one knows ${migrations.length}); ` +
          'nothing was changed: start the newer version, or use another database',
      )
    }
    await ask(client, `SET LOCAL search_path TO ${schema}`)
    for (const migration of migrations.slice(version)) await ask(client, migration)
    if (version < migrations.length) await ask(client, `UPDATE version SET version = ${migrations.length}`)
    await ask(client, 'COMMIT')
  } catch (error) {
    await ask(client, 'ROLLBACK').catch(() => {})
    throw error
  }
}

/** The version that the tables have; 0 where there are none, and then there is room for them. */
async function versionOf(client: Client): Promise<number> {
  const { hasSchema, version } = await lookAtTables(client)
  if (version !== null) return version
  // Whoever may not make a schema may use one that was made for him.
  if (!hasSchema) await ask(client, `CREATE SCHEMA ${schema}`)
  await ask(client, `CREATE TABLE ${schema}.version (version integer NOT NULL)`)
  await ask(client, `INSERT INTO ${schema}.version VALUES (0)`)
  return 0
}

/** Whether the schema is there, and the version of the tables in it; null where there are none. */
async function lookAtTables(client: Client): Promise<{ hasSchema: boolean; version: number | null }> {
  const [found] = await ask<{ schema: boolean; table: boolean }>(
    client,
    `SELECT to_regnamespace('${schema}') IS NOT NULL AS schema, to_regclass('${schema}.version') IS NOT NULL AS table`,
  )
  if (!found?.table) return { hasSchema: found?.schema ?? false, version: null }
  const [row] = await ask<{ version: number }>(client, `SELECT version FROM ${schema}.version`)
  return { hasSchema: true, version: row?.version ?? 0 }
}

/** The name that all nodes know the database by. */
export async function nameOf(client: Client): Promise<string> {
  const [row] = await ask<{ name: string }>(client, `SELECT name FROM ${schema}.log`)
  return (row as { name: string }).name
}
