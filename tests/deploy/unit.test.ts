/** The systemd unit of deploy/, as far as it can be tried where systemd does not run. */
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { bin } from '../cli/command.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'
import { root, run } from '../house/run.ts'

/** Exposure as `systemd-analyze security` reckons it, in tenths: a service without any guard has 96. */
const mostExposure = 15

const hasSystemd = (() => {
  try {
    execFileSync('systemd-analyze', ['--version'], { stdio: 'pipe' })
    return true
  } catch {
    return false
  }
})()

const reason =
  'no systemd-analyze in PATH, so nobody has read deploy/fanfare.service; on Debian: apt-get install systemd'
if (!hasSystemd && process.env.CI) throw new Error(reason)
if (!hasSystemd) console.warn(`SKIPPED: ${reason}`)

/** The unit, with the programs that are here in place of those that an operator installs. */
function unitIn(folder: { in(...parts: string[]): string }): string {
  const unit = folder.in('fanfare.service')
  const text = readFileSync(join(root, 'deploy/fanfare.service'), 'utf8')
  const command = '/opt/fanfare/node_modules/.bin/node /opt/fanfare/node_modules/fanfare/bin/fanfare.js serve\n'
  expect(text).toContain(`ExecStart=${command}`)
  writeFileSync(unit, text.replace(command, `${process.execPath} ${bin} serve\n`))
  return unit
}

test.skipIf(!hasSystemd)('DEPLOY systemd finds nothing wrong with the unit', async () => {
  using folder = temporaryFolder()
  const outcome = await run('systemd-analyze', ['verify', '--man=no', unitIn(folder)])
  expect(outcome).toEqual({ exitCode: 0, output: '', errors: '' })
})

test.skipIf(!hasSystemd)('DEPLOY the unit lets the server do little besides its work', async () => {
  using folder = temporaryFolder()
  const args = ['security', '--no-pager', '--offline=true', `--threshold=${mostExposure}`, unitIn(folder)]
  const { exitCode, output } = await run('systemd-analyze', args)
  expect(output).toContain('Overall exposure level for fanfare.service')
  expect(exitCode, output).toBe(0)
})
