/** Cost per delivery in one conversation, against the number of sessions that the server holds besides. */
import { DataFolder, Fanfare, tokenOf, usersOf } from '../fanfare.ts'
import type { Figure, Scale } from '../figure.ts'
import { Load } from '../load-process.ts'
import { settled, total } from '../procfs.ts'
import { median, spread } from '../statistics.ts'

interface Sizes {
  readonly members: number
  /** All that are connected, the members among them. */
  readonly sessions: readonly number[]
  readonly messages: number
  readonly repeats: number
}

const sizes: Readonly<Record<Scale, Sizes>> = {
  full: { members: 100, sessions: [100, 1_000, 10_000], messages: 1_000, repeats: 3 },
  quick: { members: 10, sessions: [10, 50], messages: 20, repeats: 1 },
}

export const sessions: Figure = {
  name: 'sessions',
  title: 'Cost per delivery beside other sessions',

  async measure(scale) {
    const size = sizes[scale]
    await using folder = await DataFolder.make()
    await using server = await Fanfare.start(folder)
    await using load = new Load()
    const { port, pid } = server
    const members = usersOf('m', size.members)
    const conversation = await server.conversation(members)
    await load.run('open', { port, dialect: 'fanfare', tokens: members.map(tokenOf) })

    const job = { port, pid, dialect: 'fanfare', window: 1, conversation, members: size.members } as const
    await load.run('deliver', { ...job, messages: size.messages })
    const rows: { connected: number; micros: number[] }[] = []
    let connected = size.members
    for (const wanted of size.sessions) {
      const others = usersOf(`other${wanted}-`, wanted - connected)
      await load.run('open', { port, dialect: 'fanfare', tokens: others.map(tokenOf) })
      connected = wanted
      await settled(pid)
      const micros: number[] = []
      for (let repeat = 0; repeat < size.repeats; repeat++) {
        const { cpu, deliveries } = await load.run('deliver', { ...job, messages: size.messages })
        micros.push((total(cpu) / deliveries) * 1e6)
      }
      rows.push({ connected, micros })
    }

    const first = median(rows[0]!.micros)
    return {
      how:
        `A conversation of ${size.members} members, all connected, one message in flight; the other sessions are idle. CPU of the ` +
        `server by the number of deliveries, median of ${size.repeats} repeats with the least and the greatest.`,
      tables: [
        {
          title: '',
          head: ['sessions connected', 'µs of CPU per delivery', 'beside the fewest'],
          rows: rows.map(({ connected, micros }) => [
            connected.toLocaleString('en-US'),
            spread(micros),
            `${(median(micros) / first).toFixed(2)} ×`,
          ]),
        },
      ],
      targets: [],
      plots: [
        {
          file: 'cost-by-sessions.svg',
          title: `CPU per delivery to ${size.members} members, by the sessions connected`,
          x: 'sessions',
          y: 'µs per delivery',
          series: [
            {
              name: 'fanfare, 1 in flight',
              of: 'fanfare',
              dashed: false,
              points: rows.map(({ connected, micros }) => [connected, median(micros)]),
            },
          ],
        },
      ],
    }
  },
}
