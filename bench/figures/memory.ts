/** Memory per idle session. */
import { setTimeout as sleep } from 'node:timers/promises'
import { DataFolder, Fanfare, tokenOf, usersOf } from '../fanfare.ts'
import { atMost, type Figure, type Scale } from '../figure.ts'
import { Load } from '../load-process.ts'
import { memoryOf, settled } from '../procfs.ts'
import { median, shown, spread } from '../statistics.ts'

interface Sizes {
  readonly sessions: readonly number[]
  readonly repeats: number
  readonly restMs: number
}

const sizes: Readonly<Record<Scale, Sizes>> = {
  full: { sessions: [100, 1_000, 15_000], repeats: 2, restMs: 1_000 },
  quick: { sessions: [20, 100], repeats: 1, restMs: 100 },
}

/** From this many on what a server allocates once and for all no longer weighs. */
const judgedFrom = 15_000

export const memory: Figure = {
  name: 'memory',
  title: 'Memory per idle session',

  async measure(scale) {
    const size = sizes[scale]
    const rows: { count: number; kibibytes: number[]; whole: number[] }[] = []
    for (const count of size.sessions) {
      const kibibytes: number[] = []
      const whole: number[] = []
      for (let repeat = 0; repeat < size.repeats; repeat++) {
        const { before, after } = await measureOne(count, size.restMs)
        kibibytes.push((after - before) / count / 1024)
        whole.push(after / 1024 ** 2)
      }
      rows.push({ count, kibibytes, whole })
    }
    const show = (value: number) => `${shown(value)} KiB`
    return {
      how:
        'The growth of the resident memory (RSS) of a fresh server while so many sessions connect, one of a user, by their number; ' +
        `median of ${size.repeats} servers. Nothing makes the server collect its garbage, so what connecting left behind counts too, and ` +
        'few sessions bear what is only allocated once.',
      tables: [
        {
          title: '',
          head: ['sessions', 'KiB per session', 'the whole server, MiB'],
          rows: rows.map(({ count, kibibytes, whole }) => [
            count.toLocaleString('en-US'),
            spread(kibibytes),
            spread(whole),
          ]),
        },
      ],
      targets: rows
        .filter(({ count }) => count >= judgedFrom)
        .map(({ count, kibibytes }) =>
          atMost(`per session, ${count.toLocaleString('en-US')} idle`, median(kibibytes), 10, show),
        ),
      plots: [],
    }
  },
}

async function measureOne(count: number, restMs: number): Promise<{ before: number; after: number }> {
  await using folder = await DataFolder.make()
  await using server = await Fanfare.start(folder)
  await using load = new Load()
  const { port, pid } = server
  // What is loaded with the very first session is none of theirs.
  await load.run('open', { port, dialect: 'fanfare', tokens: [tokenOf('user/first')] })
  await settled(pid)
  const before = memoryOf(pid)
  await load.run('open', { port, dialect: 'fanfare', tokens: usersOf('m', count).map(tokenOf) })
  await settled(pid)
  await sleep(restMs)
  return { before, after: memoryOf(pid) }
}
