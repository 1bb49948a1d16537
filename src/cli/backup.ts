/** `fanfare backup FILE`: a copy of the database, whole or not there at all. */
import { randomUUID } from 'node:crypto'
import { accessSync, constants, existsSync, linkSync, rmSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { OperatorError } from '../engine/operator-error.ts'
import { copyDatabase } from '../storage/sqlite/copy.ts'
import { DatabaseUnusable } from '../storage/storage.ts'
import type { Environment } from './environment.ts'
import { codeOf } from './error-code.ts'
import { readAsked } from './settings.ts'
import { syncToDisk } from './sync-to-disk.ts'

/** Gives what there is to say of the copy. The file gets its name only when it is whole, checked and on disk. */
export function backup(args: readonly string[], environment: Environment): string {
  // Messages are for the owner's eyes alone.
  process.umask(0o077)
  const { settings, operand } = readAsked('backup', args, environment)
  const database = join(resolve(settings.data), 'fanfare.db')
  const file = resolve(operand)
  if (!existsSync(database)) {
    throw new OperatorError(`there is no database ${database}; name the server's data folder with --data`)
  }
  requireFolder(dirname(file))
  if (existsSync(file)) throw new OperatorError(taken(file))
  const draft = `${file}.${randomUUID()}.new`
  try {
    copyDatabase(database, draft)
    syncToDisk(draft)
    linkSync(draft, file)
    syncToDisk(dirname(file))
  } catch (error) {
    if (codeOf(error) === 'EEXIST') throw new OperatorError(taken(file))
    if (!(error instanceof DatabaseUnusable) && codeOf(error) === undefined) throw error
    throw new OperatorError(
      `there is no backup: ${(error as Error).message}; nothing is left of it, and the database is as it was`,
    )
  } finally {
    rmSync(draft, { force: true })
  }
  return `${file} is a backup of ${database}: ${statSync(file).size} bytes, whole and checked`
}

function requireFolder(path: string): void {
  try {
    if (statSync(path).isDirectory()) {
      accessSync(path, constants.W_OK | constants.X_OK)
      return
    }
  } catch (error) {
    const code = codeOf(error)
    if (code !== 'ENOENT' && code !== 'ENOTDIR') {
      throw new OperatorError(
        `this user may not write in ${path} (${code}); put that right, or name a file in another folder`,
      )
    }
  }
  throw new OperatorError(`there is no folder ${path}; make it, or name a file in another one`)
}

function taken(file: string): string {
  return `${file} is there already, and stays as it is; name a file that is not there yet`
}
