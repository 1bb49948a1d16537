/** Where and with what was measured. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { versionOf } from './peers.ts'
import { pinning } from './program.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

/** What the results say of it, one a line. */
export function conditions(): string[] {
  const gibibytes = Math.round(totalmem() / 1024 ** 3)
  const socketIo = versionOf('socket.io')
  return [
    `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${gibibytes} GiB, Linux ${release()}; the one-minute load was ` +
      `${loadavg()[0]?.toFixed(2)} at the start` +
      (pinning ? '' : '; processes could not be kept on cores of their own'),
    `Fanfare ${versionOfThis()}, Node ${process.versions.node}, SQLite ${process.versions.sqlite}, ws ${versionOf('ws')}` +
      (socketIo ? `, Socket.IO ${socketIo}` : '; Socket.IO was not installed'),
  ]
}

function versionOfThis(): string {
  const { version } = JSON.parse(readFileSync(`${root}/package.json`, 'utf8')) as { version: string }
  const git = (...args: string[]) => spawnSync('git', args, { cwd: root, encoding: 'utf8' }).stdout?.trim()
  const commit = git('rev-parse', '--short', 'HEAD')
  if (!commit) return version
  return `${version} (${commit}${git('status', '--porcelain', '--', 'src') ? ' with changes' : ''})`
}
