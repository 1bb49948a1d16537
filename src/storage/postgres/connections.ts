/** The connections to the database: how each is prepared, and in which life of the database it is. */
import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { Trouble } from './errors.ts'

/** The schema that holds our tables. */
export const schema = 'fanfare'

/** Other programs may take advisory locks of their own in the same database: all of ours begin with this number. */
export const lockSpace = 17990

const mostConnections = 16
/** Within these, each, it must be there, answer a query, and go on with a transaction. */
const connectTimeoutMs = 5_000
const statementTimeoutMs = 5_000
const idleInTransactionTimeoutMs = 5_000
/** When nothing comes for so long, not even an error, the connection is dead. */
const silenceMs = 10_000

/** In a life, what stands before this is which database it is, and what stands behind it is when its server was started. */
const since = ' since '

/**
 * What begins a new life of the database: its server was started anew, be it after a crash, or it is another database. That is so where its
 * tables were made anew (`pg_restore`), and where its server has left the line of the log that it wrote, to go on from a point in time or
 * as a standby that took over.
 */
const lifeQuery = `
  SELECT concat_ws(
    ' ',
    CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END,
    d.oid,
    '${schema}.event'::regclass::oid
  ) || '${since}' || (pg_postmaster_start_time()::timestamptz(6) AT TIME ZONE 'UTC') AS life
  FROM pg_database d WHERE d.datname = current_database()`

/** The life of a database that was filled with all that another one had at its end: places of that one hold. */
export const copiedLife = 'copied'

/** Sets up a connection. Whatever it asks for lasts until commits are on disk: no setting of the database's makes that less. */
const settings = `
  SELECT set_config('search_path', '${schema}', false),
    set_config('application_name', 'fanfare', false),
    set_config('statement_timeout', '${statementTimeoutMs}', false),
    set_config('idle_in_transaction_session_timeout', '${idleInTransactionTimeoutMs}', false),
    set_config('default_transaction_isolation', 'read committed', false),
    CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', false) END`

export type Client = pg.ClientBase

/** A pool of connections. Every error that comes out of it is a `Trouble`. */
export class Connections {
  readonly #pool: pg.Pool
  /** Which database it is; empty before the first connection. */
  database = ''
  /** The log's name in this life of the database. */
  epoch = ''
  /** Where the log stood when the first connection to this database was made. */
  position = 0
  /** Called when another database has taken the place of the one before, and nothing was asked of it yet. */
  replaced = () => {}
  /** Of which database each connection is. */
  readonly #databases = new WeakMap<Client, string>()
  #life = ''
  /** The furthest position that was acknowledged, or told of. */
  #furthest = 0
  #isBehind = false

  constructor(url: string) {
    this.#pool = new pg.Pool({
      ...connectionOptions(url),
      max: mostConnections,
      idleTimeoutMillis: 60_000,
      query_timeout: silenceMs,
      pipeline: true,
      onConnect: (client) => this.#prepare(client),
    })
    // A connection that breaks while nobody uses it is one less; whoever comes next makes another.
    this.#pool.on('error', () => {})
  }

  /** Makes the first connection. */
  async open(): Promise<void> {
    const client = await this.#connect()
    client.release()
  }

  /**
   * Does something in this database, with a connection of its own, which is given back; one on which something failed is given up. Where
   * another database has taken its place nothing is done.
   */
  async use<R>(database: string, work: (client: Client) => Promise<R>): Promise<R> {
    const client = await this.#connect()
    if (database !== this.database) {
      client.release()
      throw new Trouble(new Error(elsewhere))
    }
    try {
      const result = await work(client)
      client.release()
      return result
    } catch (error) {
      client.release(error instanceof Trouble)
      throw error
    }
  }

  /** Somebody was told of this position, so this database must have it for as long as this node runs. */
  told(database: string, position: number): void {
    if (database === this.database) this.#furthest = Math.max(this.#furthest, position)
  }

  close(): Promise<void> {
    return this.#pool.end()
  }

  /** A connection to the present database. Those to one of before may still be open: they are given up. */
  async #connect(): Promise<pg.PoolClient> {
    for (;;) {
      const client = await this.#pool.connect().catch((error: unknown) => {
        throw error instanceof Trouble ? error : new Trouble(error)
      })
      if (this.#databases.get(client) === this.database) return client
      client.release(true)
    }
  }

  async #prepare(client: Client): Promise<void> {
    // While it is in use nobody else listens; whoever waits for an answer then is told.
    client.on('error', () => {})
    await ask(client, settings)
    const [row] = await ask<{ life: string; standby: boolean }>(
      client,
      `SELECT life, pg_is_in_recovery() AS standby FROM (${lifeQuery}) AS now`,
    )
    if (!row || row.standby) throw new Trouble(new Error('this server is a standby: it only reads'))
    const database = databaseOf(row.life)
    this.#databases.set(client, database)
    if (row.life === this.#life) return
    const epoch = await beginLife(client, row.life)
    const [end] = await ask<{ position: number }>(client, 'SELECT whole_position() AS position')
    // Another connection may have found it meanwhile.
    if (row.life === this.#life) return
    const position = end?.position ?? 0
    const before = this.database
    if (database === before) this.#isBehind ||= position < this.#furthest
    else this.#isBehind = false
    // Sessions were told what is not there any more, and would take what comes in its place for what they have.
    if (this.#isBehind) throw new Trouble(new Error(behind))
    this.epoch = epoch
    this.#life = row.life
    if (database === before) return
    this.database = database
    this.position = position
    this.#furthest = position
    if (before !== '') this.replaced()
  }
}

const elsewhere = 'another database has taken its place'

const behind =
  'it has come back without what it had acknowledged (a copy of its files, or a disk); start the server again to go on with what is there'

/** The name of the log's epoch in this life of the database; the first node that comes makes it. */
async function beginLife(client: Client, life: string): Promise<string> {
  await ask(client, 'BEGIN')
  await ask(client, `SELECT pg_advisory_xact_lock(${lockSpace}, hashtext('epoch'))`)
  const [last] = await ask<{ number: number; name: string; life: string }>(
    client,
    'SELECT number, name, life FROM epoch ORDER BY number DESC LIMIT 1',
  )
  let name = last?.name
  if (!name || last?.life !== life) {
    // In a restored database, or on a standby that was behind, what sessions were told of may be missing, at or even before the end of what is
    // there, and their cursors may stand before it (R1). So no place of its former lives holds (R5).
    if (last && last.life !== copiedLife && databaseOf(last.life) !== databaseOf(life))
      await ask(client, 'DELETE FROM epoch')
    name = randomBytes(6).toString('base64url')
    await ask(
      client,
      'INSERT INTO epoch (number, name, from_position, life) VALUES ($1, $2, whole_position(), $3)',
      (last?.number ?? 0) + 1,
      name,
      life,
    )
  }
  await ask(client, 'COMMIT')
  return name
}

function databaseOf(life: string): string {
  return life.slice(0, life.indexOf(since))
}

/** Asks something that is asked seldom. */
export async function ask<Row>(client: Client, text: string, ...values: unknown[]): Promise<Row[]> {
  try {
    return (await client.query(text, values)).rows as Row[]
  } catch (error) {
    throw new Trouble(error)
  }
}

/** How every connection is made, that of a migration and of a copy too. */
export function connectionOptions(url: string): pg.ClientConfig {
  return { connectionString: url, connectionTimeoutMillis: connectTimeoutMs, keepAlive: true, types }
}

/** Positions, seqs and times come as numbers: none of them is beyond what a number holds. */
const types = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    oid === pg.types.builtins.INT8
      ? Number
      : pg.types.getTypeParser(oid, format as 'text')) as typeof pg.types.getTypeParser,
}
