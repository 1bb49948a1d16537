/** What is wrong with a database that can't be used, and what its operator can do about it. */
import { accessSync, constants, statSync } from 'node:fs'
import { DatabaseUnusable } from '../storage.ts'
import { isDamage } from './costs.ts'

export interface Flaw {
  readonly found: string
  readonly remedy: string
}

/** What the system has against opening the database to write, as far as its files show without being opened; null where nothing is known. */
export function flawOfFiles(file: string): Flaw | null {
  for (const path of [file, `${file}.lock`, `${file}-wal`, `${file}-shm`]) {
    try {
      if (!statSync(path).isFile()) {
        return { found: `${path} is no file`, remedy: 'move it, or use another data folder' }
      }
      accessSync(path, constants.R_OK | constants.W_OK)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENOTDIR') continue
      return {
        found: `this user may not read and write ${path} (${code})`,
        remedy: `give it to the user that runs the server: chown USER ${file}* and chmod 600 ${file}*`,
      }
    }
  }
  return null
}

/** What to do about an error of SQLite's; null where that is not known here. A backup only where the database itself is what fails. */
export function remedyFor(error: unknown): string | null {
  return isDamage(error) ? 'put a backup in its place, or use another data folder' : null
}

/** What is told of the database `file` where `error` came of opening it. */
export function unusable(file: string, error: unknown): DatabaseUnusable {
  if (error instanceof DatabaseUnusable) return error
  const reason = error instanceof Error ? error.message : String(error)
  const { found, remedy } = flawOfFiles(file) ?? { found: reason, remedy: remedyFor(error) }
  return new DatabaseUnusable(`${file} can't be used: ${found}; ${remedy ?? 'fanfare doctor may know more'}`)
}
