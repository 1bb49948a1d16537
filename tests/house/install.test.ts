import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { type Outcome, root, run } from './run.ts'
import { type TemporaryFolder, temporaryFolder } from './temporary-folder.ts'

const here = { os: process.platform, cpu: process.arch }
const elsewhere = { os: 'elsewhere', cpu: process.arch }

const wanted = {
  packages: {
    '': { optionalDependencies: { 'node-here': '26', 'node-elsewhere': '26', binding: '1' } },
    'node_modules/ws': { version: '8.0.0', integrity: 'sha512-a' },
    'node_modules/binding': { version: '1.0.0', optional: true, ...here },
    'node_modules/node-here': { version: '26.0.0', optional: true, bin: { node: 'bin/node' }, ...here },
    'node_modules/node-elsewhere': { version: '26.0.0', optional: true, bin: { node: 'bin/node' }, ...elsewhere },
  },
}

const installed = {
  packages: {
    'node_modules/ws': { version: '8.0.0', integrity: 'sha512-a' },
    'node_modules/node-here': { version: '26.0.0' },
  },
}

/** Stands for npm, which would need a network: it notes what it was asked, and fails when it is told to. */
const npm = `
require('node:fs').writeFileSync('asked.json', JSON.stringify(process.argv.slice(2)))
process.exit(Number(process.env.NPM_FAILS ?? 0))
`

/** A clone in which everything is installed. */
function cloneInOrder(): Promise<TemporaryFolder> {
  return temporaryFolder({
    'npm-cli.js': npm,
    'package-lock.json': JSON.stringify(wanted),
    'node_modules/.package-lock.json': JSON.stringify(installed),
    'node_modules/ws/package.json': '{}',
    'node_modules/.bin/node': '',
  })
}

/** Runs the script in `folder` as npm would. */
function install({ path }: TemporaryFolder, env: Record<string, string> = {}): Promise<Outcome> {
  return run(process.execPath, [join(root, 'scripts/install.js'), path], {
    env: { ...process.env, npm_execpath: join(path, 'npm-cli.js'), npm_node_execpath: process.execPath, ...env },
  })
}

/** What npm was asked; null when it was not. */
function asked({ path }: TemporaryFolder): Promise<string[] | null> {
  return readFile(join(path, 'asked.json'), 'utf8').then(JSON.parse, () => null)
}

test('HOUSE install is silent where everything is in order', async () => {
  await using clone = await cloneInOrder()
  expect(await install(clone)).toEqual({ exitCode: 0, output: '', errors: '' })
  expect(await asked(clone)).toBeNull()
})

test('HOUSE install does nothing in an unpacked package, which has no lockfile', async () => {
  await using folder = await temporaryFolder({ 'npm-cli.js': npm })
  expect(await install(folder)).toEqual({ exitCode: 0, output: '', errors: '' })
  expect(await asked(folder)).toBeNull()
})

test.each([
  ['nothing is installed', 'node_modules', 'nothing is installed yet'],
  ['a package is gone', 'node_modules/ws', 'node_modules/ws is gone'],
  ['the Node that comes along is gone', 'node_modules/.bin/node', 'node_modules/.bin/node is gone'],
])('HOUSE install runs npm ci, with one line before, where %s', async (_, missing, reason) => {
  await using clone = await cloneInOrder()
  await rm(join(clone.path, missing), { recursive: true })
  expect(await install(clone)).toEqual({
    exitCode: 0,
    output: `fanfare: installing what package-lock.json names (npm ci), since ${reason} …\n`,
    errors: '',
  })
  expect(await asked(clone)).toEqual(expect.arrayContaining(['ci', '--loglevel=error', '--include=dev']))
})

test.each([
  ['another version of a package', { 'node_modules/ws': { version: '7.0.0', integrity: 'sha512-a' } }],
  ['other bytes of a package', { 'node_modules/ws': { version: '8.0.0', integrity: 'sha512-b' } }],
  ['another version of Node', { 'node_modules/node-here': { version: '24.0.0' } }],
  ['no Node for this machine', { 'node_modules/node-here': undefined }],
])('HOUSE install runs npm ci where there is %s', async (_, other) => {
  await using clone = await temporaryFolder({
    'npm-cli.js': npm,
    'package-lock.json': JSON.stringify(wanted),
    'node_modules/.package-lock.json': JSON.stringify({ packages: { ...installed.packages, ...other } }),
    'node_modules/ws/package.json': '{}',
    'node_modules/.bin/node': '',
  })
  const { exitCode, output } = await install(clone)
  expect(output).toContain('since node_modules/')
  expect(exitCode).toBe(0)
  expect(await asked(clone)).not.toBeNull()
})

test('HOUSE install says what to do when npm fails', async () => {
  await using clone = await cloneInOrder()
  await rm(join(clone.path, 'node_modules'), { recursive: true })
  const { exitCode, errors } = await install(clone, { NPM_FAILS: '1' })
  expect(errors).toContain('npm ci failed')
  expect(errors).toContain('check the network')
  expect(exitCode).toBe(1)
})

test('HOUSE install says so when there is no npm', async () => {
  await using clone = await cloneInOrder()
  await rm(join(clone.path, 'node_modules'), { recursive: true })
  const { exitCode, errors } = await install(clone, { npm_execpath: '', PATH: clone.path })
  expect(errors).toContain('npm ci failed (spawnSync npm ENOENT)')
  expect(exitCode).toBe(1)
})
