/** `fanfare copy`: from the embedded database to a PostgreSQL. */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { OperatorError } from '../engine/operator-error.ts'
import { fill } from '../storage/postgres/filling.ts'
import { isSqlites } from '../storage/sqlite/costs.ts'
import { unusable } from '../storage/sqlite/remedy.ts'
import { Tables } from '../storage/sqlite/tables.ts'
import { DatabaseUnusable } from '../storage/storage.ts'
import type { Environment } from './environment.ts'
import { readSettings } from './settings.ts'

/** Gives what there is to say of it. */
export async function copy(args: readonly string[], environment: Environment): Promise<string> {
  const { data, databaseUrl, from, to } = readSettings('copy', args, environment)
  const file = join(resolve(from ?? data), 'fanfare.db')
  if (!existsSync(file)) {
    throw new OperatorError(`there is no database ${file}; name the server's data folder with --from`)
  }
  const url = to ?? databaseUrl
  if (url === null) {
    throw new OperatorError('copy where? Name an empty PostgreSQL database with --to, or with FANFARE_DATABASE_URL')
  }
  const begunAt = performance.now()
  try {
    using tables = new Tables(file)
    const { conversation, message, event, user_channel: users } = await fill(url, tables)
    const seconds = ((performance.now() - begunAt) / 1000).toFixed(1)
    return (
      `all of ${file} is in PostgreSQL: ${message} messages in ${conversation} conversations, ${users} user channels, ` +
      `${event} events of the log, in ${seconds} s; give the servers the secrets of before, and start them with --database-url`
    )
  } catch (error) {
    const why = isSqlites(error) ? unusable(file, error) : error
    throw why instanceof DatabaseUnusable ? new OperatorError(why.message) : why
  }
}
