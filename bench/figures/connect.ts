/** What a session's beginning costs, against the number of conversations that its user takes part in. */
import { DataFolder, Fanfare, tokenOf, usersOf } from '../fanfare.ts'
import type { Figure, Scale } from '../figure.ts'
import { Filling } from '../fill.ts'
import { Load } from '../load-process.ts'
import { settled, total } from '../procfs.ts'
import { median, spread } from '../statistics.ts'

interface Sizes {
  readonly conversations: readonly number[]
  readonly users: number
  readonly sessionsEach: number
  readonly repeats: number
}

const sizes: Readonly<Record<Scale, Sizes>> = {
  full: { conversations: [1, 10, 100, 1_000], users: 500, sessionsEach: 3, repeats: 5 },
  quick: { conversations: [1, 10], users: 20, sessionsEach: 2, repeats: 1 },
}

export const connect: Figure = {
  name: 'connect',
  title: 'Cost of connecting',

  async measure(scale) {
    const { conversations, users, sessionsEach, repeats } = sizes[scale]
    await using folder = await DataFolder.make()
    const crowds = conversations.map((count) => usersOf(`in-${count}-`, users))
    {
      await using filling = await Filling.open(folder)
      for (const [index, count] of conversations.entries()) {
        await filling.conversations(Array.from({ length: count }, () => crowds[index]!))
      }
    }
    await using server = await Fanfare.start(folder)
    await using load = new Load()
    const { port, pid } = server
    const micros: number[][] = conversations.map(() => [])
    // The first round is the warm-up: it makes each user's channel too.
    for (let repeat = 0; repeat <= repeats; repeat++) {
      for (const [index, crowd] of crowds.entries()) {
        await settled(pid)
        const tokens = Array<string[]>(sessionsEach).fill(crowd.map(tokenOf)).flat()
        const { cpu } = await load.run('storm', { port, pid, tokens, pushes: 0 })
        await load.run('end')
        if (repeat > 0) micros[index]!.push((total(cpu) / tokens.length) * 1e6)
      }
    }
    const first = median(micros[0]!)
    return {
      how:
        `${users} users, all of whom take part in so many conversations together, begin ${sessionsEach} sessions each, 64 at a time and with ` +
        `no cursor; CPU of the server by the number of sessions, from the first connection to the last reply to \`connect\`; median of ${repeats} repeats after a ` +
        'warm-up, by turns. It holds the TCP connection, the upgrade, the check of the token and the reply.',
      tables: [
        {
          title: '',
          head: ['conversations of each', 'µs of CPU per session', 'beside the fewest'],
          rows: micros.map((one, index) => [
            conversations[index]!.toLocaleString('en-US'),
            spread(one),
            `${(median(one) / first).toFixed(2)} ×`,
          ]),
        },
      ],
      targets: [],
      plots: [],
    }
  },
}
