/** A user for whom the modes of files hold: the test's own, or somebody without rights where that is root. */
import { spawnSync } from 'node:child_process'
import { chownSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'vitest'
import { loudly } from '../storage/disk.ts'
import { bin, type CommandOptions } from './command.ts'

const nobody = 65_534

/** A command runs as this user with it. */
export const ordinaryUser: CommandOptions = process.getuid?.() === 0 ? { user: nobody } : {}

/** Gives him the folder with all that is in it. */
export function giveToOrdinaryUser(folder: string): void {
  if (ordinaryUser.user === undefined) return
  for (const name of ['', ...readdirSync(folder, { recursive: true, encoding: 'utf8' })]) {
    chownSync(join(folder, name), nobody, nobody)
  }
}

function whyNot(): string | null {
  if (process.platform === 'win32') return 'tests of rights: files have no modes here'
  if (ordinaryUser.user === undefined) return null
  const { status } = spawnSync(process.execPath, [bin, '--version'], { uid: nobody, gid: nobody })
  return status === 0 ? null : 'tests of rights: nobody but root may run this Node, or read this repository'
}

const reason = whyNot()

/** A test that needs such a user. */
export const testOfRights = test.skipIf(reason !== null && loudly(reason) !== '')
