/** The systemd unit of deploy/ and the command beside it, as far as they can be tried where systemd does not run, and by anybody. */
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

const theirs = '/opt/fanfare/node_modules/.bin/node /opt/fanfare/node_modules/fanfare/bin/fanfare.js'
const ours = `${process.execPath} ${bin}`

/** The unit, with the programs that are here in place of those that an operator installs. */
function unitIn(folder: { in(...parts: string[]): string }): string {
  const unit = folder.in('fanfare.service')
  const text = readFileSync(join(root, 'deploy/fanfare.service'), 'utf8')
  expect(text).toContain(`ExecStart=${theirs} serve\n`)
  writeFileSync(unit, text.replace(theirs, ours))
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

test('DEPLOY the command beside the unit has its user, its data folder and its options', async () => {
  using folder = temporaryFolder()
  const unit = readFileSync(join(root, 'deploy/fanfare.service'), 'utf8')
  const command = readFileSync(join(root, 'deploy/fanfare.sh'), 'utf8')
  expect([unit, command]).toEqual([
    expect.stringContaining('\nUser=fanfare\n'),
    expect.stringContaining(`\nexec runuser -u fanfare -- ${theirs} "$@"\n`),
  ])
  for (const part of ['FANFARE_DATA=/var/lib/fanfare\n', '/etc/fanfare.env']) {
    expect(unit).toContain(part)
    expect(command).toContain(part)
  }
  const text = command
    .replace(`runuser -u fanfare -- ${theirs}`, ours)
    .replace('=/var/lib/fanfare', `=${folder.in('data')}`)
    .replaceAll('/etc/fanfare.env', folder.in('env'))
  writeFileSync(folder.in('fanfare'), text)
  const doctor = async () => (await run('sh', [folder.in('fanfare'), 'doctor', '--port=0'])).output
  expect(await doctor()).toContain(`data: ${folder.in('data')} is not there yet`)
  writeFileSync(
    folder.in('env'),
    "# how it is here\nFANFARE_NO_LIMITS=1\nFANFARE_TOKEN_SECRET='a secret & more: 32 bytes, or longer'\n",
  )
  expect(await doctor()).toMatch(/^warn {2}options: all limits are off;.*^ok {4}token-secret: FANFARE_TOKEN_SECRET$/ms)
})
