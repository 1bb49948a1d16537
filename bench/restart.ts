/**
 * Kills the server under many sessions and starts it again: how long until all have what they missed, and what that costs.
 *
 *     node bench/restart.ts [sessions, 2,000 unless given]
 */
import { execFileSync } from 'node:child_process'
import { restart } from '../tests/guarantees/restart.ts'

const sessions = Number(process.argv[2] ?? 2_000)
// Node itself raises its limit as far as it may; the server is another process, with as many again.
const files = execFileSync('bash', ['-c', 'ulimit -Hn'], { encoding: 'utf8' }).trim()
if (files !== 'unlimited' && Number(files) < sessions + 200) {
  throw new Error(`this machine lets a process open ${files} files, too few for ${sessions} sessions: raise ulimit -n`)
}

const { resumed, reloaded, problems, startSeconds, resumeSeconds, serverCpuSeconds } = await restart(sessions)
console.log(`${sessions} sessions: ${resumed} resumed, ${reloaded} began anew, ${problems.length} problems`)
console.log(
  `the server listened after ${startSeconds.toFixed(2)} s, and all had everything ${resumeSeconds.toFixed(2)} s later`,
)
console.log(
  `the server used ${serverCpuSeconds === null ? 'an unknown time' : `${serverCpuSeconds.toFixed(2)} s`} of CPU since its start`,
)
for (const problem of problems.slice(0, 20)) console.error(problem)
process.exitCode = reloaded === 0 && problems.length === 0 ? 0 : 1
