/** The database, as it is there. */
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { inspectPostgres } from '../../storage/postgres/opening.ts'
import { type Inspection, inspectDatabase } from '../../storage/sqlite/inspect.ts'
import { flawOfFiles, remedyFor } from '../../storage/sqlite/remedy.ts'
import { DatabaseUnusable } from '../../storage/storage.ts'
import { type Finding, fail, ok, othersMode, warn } from './finding.ts'

/** An event from further ahead than this was not written by the clock that is here now. */
const clockToleranceMs = 60_000

export async function checkPostgres(url: string): Promise<Finding> {
  try {
    const { where, server, version, known } = await inspectPostgres(url)
    if (version > known) {
      return fail(
        'database',
        `${where} is of version ${version}, and this fanfare knows ${known}`,
        'use the newer fanfare again',
      )
    }
    const state = version === 0 ? 'has no tables yet, and will get them' : `is of version ${version}`
    return ok('database', `${where} answers (${server}), and ${state}`)
  } catch (error) {
    if (!(error instanceof DatabaseUnusable)) throw error
    return fail('database', error.message, 'a server would not start')
  }
}

export function checkDatabase(folder: string): Finding[] {
  const file = join(folder, 'fanfare.db')
  const flaw = flawOfFiles(file)
  if (flaw) return [fail('database', flaw.found, flaw.remedy)]
  if (!existsSync(file)) return [ok('database', 'is not there yet, and will be made')]
  let inspection: Inspection
  try {
    inspection = inspectDatabase(file)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    return [fail('database', `${file} can't be read: ${reason}`, remedyFor(error) ?? 'a server would not start')]
  }
  return [...judge(file, inspection), ...checkMode(file)]
}

function judge(file: string, { version, known, owner, journalMode, flaws, lastEventAt }: Inspection): Finding[] {
  if (owner === 'another' && version <= known) {
    return [fail('database', `${file} is another program's`, 'move it, or use another data folder')]
  }
  if (flaws.length > 0) {
    return [
      fail('database', `${file} is damaged: ${flaws.join('; ')}`, 'stop the server and put a backup in its place'),
    ]
  }
  if (version > known) {
    return [
      fail(
        'database',
        `${file} is of version ${version}, and this fanfare knows ${known}`,
        'use the newer fanfare again',
      ),
    ]
  }
  if (owner === 'nobody') return [ok('database', `${file} is empty, and will get its tables`)]
  const findings = [ok('database', `${file} is whole, of version ${version}, ${statSync(file).size} bytes`)]
  if (journalMode !== 'wal') findings.push(ok('database', 'it is a copy that no server has opened yet'))
  if (lastEventAt !== null && lastEventAt > Date.now() + clockToleranceMs) {
    findings.push(
      warn(
        'database',
        `its last event is from ${new Date(lastEventAt).toISOString()}, which is yet to come`,
        'look at the clock',
      ),
    )
  }
  return findings
}

function checkMode(file: string): Finding[] {
  if (process.platform === 'win32' || (statSync(file).mode & othersMode) === 0) return []
  return [warn('database', `others than its owner may read ${file}`, `chmod 600 ${file}*`)]
}
