/**
 * Installs what package-lock.json names, where it is not there yet; else it is silent and takes no time. npm runs this before
 * `start`, `test` and `pack`, under whatever Node is installed: plain JavaScript, for Node 20 and later.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = resolve(process.argv[2] ?? fileURLToPath(new URL('..', import.meta.url)))

const reason = whatIsMissing()
if (reason) install(reason)

/** Says what keeps node_modules from being what package-lock.json names; null when it is in order. */
function whatIsMissing() {
  const wanted = readPackages('package-lock.json')
  if (!wanted) return null // An unpacked package has no lockfile: whoever installed it has installed what it needs.
  const installed = readPackages('node_modules/.package-lock.json')
  if (!installed) return 'nothing is installed yet'

  for (const [path, entry] of Object.entries(wanted)) {
    // npm may rightly have left out an optional package, so only the one that brings Node is looked for, below.
    if (path === '' || entry.optional || entry.devOptional) continue
    if (installed[path]?.version !== entry.version || installed[path]?.integrity !== entry.integrity) {
      return `${path} is not at ${entry.version}`
    }
    if (!existsSync(join(root, path, 'package.json'))) return `${path} is gone`
  }
  for (const name of Object.keys(wanted['']?.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`
    const bringsNode = wanted[path]?.bin?.node !== undefined && isForThisMachine(wanted[path])
    if (bringsNode && installed[path]?.version !== wanted[path].version)
      return `${path} is not at ${wanted[path].version}`
    if (bringsNode && !existsSync(join(root, 'node_modules/.bin/node'))) return 'node_modules/.bin/node is gone'
  }
  return null
}

/** The packages of a lockfile, by path; null where there is none that can be read. */
function readPackages(lockfile) {
  try {
    return JSON.parse(readFileSync(join(root, lockfile), 'utf8')).packages
  } catch {
    return null
  }
}

function isForThisMachine({ os, cpu }) {
  return [os].flat().includes(process.platform) && [cpu].flat().includes(process.arch)
}

function install(reason) {
  console.log(`fanfare: installing what package-lock.json names (npm ci), since ${reason} …`)
  // What was asked of the outer npm (to leave out developers' packages, to change nothing) is not meant for this one.
  const args = ['ci', '--loglevel=error', '--include=dev', '--include=optional', '--dry-run=false']
  const { status, error } = runNpm(args)
  if (status === 0) return
  console.error(
    `fanfare: npm ci failed${error ? ` (${error.message})` : ''}, so nothing was started; your data was not touched.\n` +
      `Look at what npm says above. Most often its registry can't be reached: check the network and \`npm ping\`, then run\n` +
      '`npm ci` in this folder until it succeeds, and the command again.',
  )
  process.exitCode = 1
}

/** Runs the npm that runs this script, under its own Node, or else the one in PATH. */
function runNpm(args) {
  const { npm_execpath: npm = '', npm_node_execpath: node = process.execPath } = process.env
  const options = { cwd: root, stdio: 'inherit' }
  if (npm.endsWith('npm-cli.js')) return spawnSync(node, [npm, ...args], options)
  return spawnSync('npm', args, { ...options, shell: process.platform === 'win32' }) // There npm is no program but a script.
}
