/** A server that is killed under many sessions and started again: how long until all have what they missed, and what that costs. */
import { restart as restartUnder } from '../../tests/guarantees/restart.ts'
import { atLeast, atMost, type Figure, type Scale } from '../figure.ts'
import { total } from '../procfs.ts'
import { spread } from '../statistics.ts'

interface Sizes {
  readonly sessions: number
  readonly repeats: number
}

const sizes: Readonly<Record<Scale, Sizes>> = {
  full: { sessions: 2_000, repeats: 3 },
  quick: { sessions: 100, repeats: 1 },
}

export const restart: Figure = {
  name: 'restart',
  title: 'A restart under many sessions',

  async measure(scale) {
    const { sessions, repeats } = sizes[scale]
    const reports: Awaited<ReturnType<typeof restartUnder>>[] = []
    for (let repeat = 0; repeat < repeats; repeat++) reports.push(await restartUnder(sessions))
    const problems = reports.flatMap((report) => report.problems)
    for (const problem of problems.slice(0, 5)) console.error(`  ${problem}`)

    const cpus = reports.flatMap(({ serverCpu }) => serverCpu ?? [])
    const reloaded = reports.reduce((sum, report) => sum + report.reloaded, 0)
    return {
      how:
        `${sessions.toLocaleString('en-US')} users, ten to a conversation, have a session each. The server is killed (SIGKILL) and started ` +
        'again; all of them come back at once, each with its own cursor, and in every conversation messages are sent meanwhile. Each must ' +
        'be pushed every event once and in order, over both of his sessions. The end is when everybody has everything. CPU of the new ' +
        `server, from the start of its process; median of ${repeats} restarts with the least and the greatest. The server and the load ` +
        'share the whole machine.',
      tables: [
        {
          title: '',
          head: ['', 'measured'],
          rows: [
            ['sessions that went on from their cursor', spread(reports.map(({ resumed }) => resumed))],
            ['from the start of the process until it listens, s', spread(reports.map((report) => report.startSeconds))],
            ['from there until everybody has everything, s', spread(reports.map((report) => report.resumeSeconds))],
            ['CPU of the server, s', spread(cpus.map(total))],
            ['user', spread(cpus.map(({ user }) => user))],
            ['system', spread(cpus.map(({ system }) => system))],
          ],
        },
      ],
      targets: [
        atLeast(
          'sessions that went on from their cursor, the fewest of a restart',
          Math.min(...reports.map(({ resumed }) => resumed)),
          sessions,
          (count) => count.toLocaleString('en-US'),
        ),
        atMost('sessions that began anew', reloaded, 0, String),
        atMost('events lost, doubled or out of order', problems.length, 0, String),
      ],
      plots: [],
    }
  },
}
