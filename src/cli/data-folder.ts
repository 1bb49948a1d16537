/** The folder that keeps a server's database and secrets. */
import { accessSync, constants, existsSync, mkdirSync, statSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { OperatorError } from '../engine/operator-error.ts'
import { codeOf } from './error-code.ts'

/**
 * Makes the folder where it is missing, for its owner only, and gives its whole path. One that is there stays as it is. Throws an
 * `OperatorError` where it can't be made, or where nothing can be written in it.
 */
export function openDataFolder(given: string): string {
  const path = resolve(given)
  try {
    makeFolder(path)
    accessSync(path, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const code = codeOf(error)
    throw new OperatorError(
      `the data folder ${path} can't be used: ${flaws.get(code) ?? code ?? error}; ` +
        'put that right, or choose another one with --data or FANFARE_DATA',
    )
  }
  return path
}

/** Node's `recursive` would never end in a file system that says ENOENT to whoever makes a folder there, as /proc does. */
function makeFolder(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory()) return
  if (!existsSync(dirname(path))) makeFolder(dirname(path))
  mkdirSync(path, { mode: 0o700 })
}

const flaws = new Map<string | undefined, string>([
  ['EEXIST', 'there is a file of that name'],
  ['ENOTDIR', 'a part of its path is a file'],
  ['ENOENT', 'its file system lets nobody make a folder there'],
  ['EACCES', 'this user may not read and write there'],
  ['EPERM', 'this user may not write there'],
  ['EROFS', 'its file system is read-only'],
  ['ENOSPC', 'its disk is full'],
])
