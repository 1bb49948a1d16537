/** The Node that runs this, and the clock. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { oldestSqlite } from '../../storage/sqlite/database.ts'
import { WriteBatch } from '../../transport/write-batch.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

/** When this version was made: a clock that shows less is wrong. */
const firstYear = 2026
const lastYear = 2100
/** Files of a network file system have the times of another machine's clock, which may differ a little. */
const clockToleranceMs = 5_000

export function checkNode(): Finding {
  const { node, sqlite = '0' } = process.versions
  const found = `${node}, with SQLite ${sqlite}`
  return isBelow(sqlite, oldestSqlite)
    ? fail('node', found, `that SQLite can corrupt a database: use a Node with ${oldestSqlite.join('.')} or later`)
    : ok('node', found)
}

/** Without it all works too, and `docs/capacity.md` says what it costs. */
export function checkWrites(): Finding {
  if (WriteBatch.open()) return ok('writes', 'to many sockets in one system call')
  const found = 'one system call for each socket, which about doubles what a message to many costs'
  if (process.platform !== 'linux') return ok('writes', found)
  return warn(
    'writes',
    found,
    'use Node 26.10 or later with its node:ffi, and let it call io_submit (seccomp filters, fs.aio-max-nr)',
  )
}

function isBelow(version: string, least: readonly number[]): boolean {
  const parts = version.split('.').map(Number)
  const differing = least.findIndex((part, index) => parts[index] !== part)
  return differing >= 0 && (parts[differing] ?? 0) < least[differing]!
}

/** A clock that goes wrong makes tokens expire, or never; all that can be known here is whether it was ever ahead. */
export function checkClock(folder: string, now: number): Finding {
  const found = new Date(now).toISOString()
  const year = new Date(now).getUTCFullYear()
  const advice = "set this machine's clock, and keep it right with NTP"
  if (year < firstYear || year > lastYear) return fail('clock', `${found}, which can't be`, advice)
  const latest = latestFile(folder)
  if (latest > now + clockToleranceMs) {
    return warn(
      'clock',
      `${found}, and there are files from ${new Date(latest).toISOString()}, so it was set back`,
      advice,
    )
  }
  return ok('clock', found)
}

/** When the newest of the folder's files was written; 0 where it has none, or can't be read, which is another check's finding. */
function latestFile(folder: string): number {
  try {
    const times = readdirSync(folder).map((name) => statSync(join(folder, name)).mtimeMs)
    return Math.max(0, ...times)
  } catch {
    return 0
  }
}
