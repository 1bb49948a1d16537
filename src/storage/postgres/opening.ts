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
export async function opened<R>(url: string, work: (client: Client) => Promise<R>): Promise<R> {
  const client = connectionTo(url)
  // What breaks the connection is told to whoever waits for an answer.
  client.on('error', () => {})
  const where = `PostgreSQL at ${client.host}:${client.port}, database ${client.database},`
  try {
    await client.connect().catch((error: unknown) => {
      throw new Trouble(error)
    })
    await requireServer(client, where)
    await migrate(client, where)
    return await work(client)
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

async function requireServer(client: Client, where: string): Promise<void> {
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
  // Whoever may not make a schema may use one that was made for him.
  const [found] = await ask<{ schema: boolean; version: boolean }>(
    client,
    `SELECT to_regnamespace('${schema}') IS NOT NULL AS schema, to_regclass('${schema}.version') IS NOT NULL AS version`,
  )
  if (!found?.schema) await ask(client, `CREATE SCHEMA ${schema}`)
  if (!found?.version) {
    await ask(client, `CREATE TABLE ${schema}.version (version integer NOT NULL)`)
    await ask(client, `INSERT INTO ${schema}.version VALUES (0)`)
    return 0
  }
  const [row] = await ask<{ version: number }>(client, `SELECT version FROM ${schema}.version`)
  return row?.version ?? 0
}

/** The name that all nodes know the database by. */
export async function nameOf(client: Client): Promise<string> {
  const [row] = await ask<{ name: string }>(client, `SELECT name FROM ${schema}.log`)
  return (row as { name: string }).name
}
