/** What the others in a conversation have of one who reads nothing, and what the server keeps for him. */
import { setTimeout as sleep } from 'node:timers/promises'
import { defaultConfig } from '../../src/engine/config.ts'
import { DataFolder, Fanfare, tokenOf, usersOf } from '../fanfare.ts'
import { atLeast, atMost, type Figure, type Scale } from '../figure.ts'
import type { Read } from '../load/steady.ts'
import type { Latency } from '../load/timing.ts'
import { Load } from '../load-process.ts'
import { memoryOf, settled } from '../procfs.ts'
import { median, shown, spread } from '../statistics.ts'

interface Sizes {
  readonly members: number
  readonly bodyBytes: number
  readonly perSecond: number
  readonly warmUps: number
  readonly repeats: number
}

const sizes: Readonly<Record<Scale, Sizes>> = {
  full: { members: 200, bodyBytes: 2_000, perSecond: 250, warmUps: 1, repeats: 4 },
  quick: { members: 10, bodyBytes: 4_000, perSecond: 200, warmUps: 0, repeats: 1 },
}

/** What fills that which the kernel holds for one: so few at a time that the last of them hardly fill his queue. */
const filler = { messages: 4, perSecond: 500, bodyBytes: 16_000 }
/** More than this the kernel holds for nobody: whoever reads nothing has a queue by then. */
const mostOfTheKernel = 64 * 1024 ** 2
/** How often the server is asked what it holds. */
const sampleMs = 100
const mebibyte = 1024 ** 2

/** One turn: what the others had of it, and what it cost the server. */
interface Turn {
  readonly latency: Latency
  /** Messages to the last member alone, before those that were measured. */
  readonly filling: number
  /** The most that the server held for them and for those that were measured. */
  readonly queueBytes: number
  readonly memoryGrowth: number
}

export const slowReader: Figure = {
  name: 'slow-reader',
  title: 'One who reads nothing',

  async measure(scale) {
    const size = sizes[scale]
    await using folder = await DataFolder.make()
    await using server = await Fanfare.start(folder)
    await using load = new Load()
    const members = usersOf('m', size.members)
    const conversation = await server.conversation(members)
    const [sender, slow] = [members[0]!, members.at(-1)!]
    const aside = await server.conversation([sender, slow])
    const open = (tokens: readonly string[]) => load.run('open', { port: server.port, dialect: 'fanfare', tokens })
    await open(members.map(tokenOf))

    const stage: Stage = { size, server, load, conversation, aside }
    const stalled: (Turn & Read)[] = []
    const reading: Turn[] = []
    for (let repeat = -size.warmUps; repeat < size.repeats; repeat++) {
      await load.run('stall')
      const without = await turn(stage, null)
      const read = await load.run('readOn')
      await open([tokenOf(slow)])
      const withAll = await turn(stage, without.filling)
      if (repeat < 0) continue
      stalled.push({ ...without, ...read })
      reading.push(withAll)
    }

    const ratios = stalled.map(({ latency }, index) => latency.p50 / reading[index]!.latency.p50)
    const inMebibytes = (bytes: readonly number[]) => spread(bytes.map((one) => one / mebibyte))
    const rowOf = (what: string, turns: readonly Turn[]) => [
      what,
      spread(turns.map(({ latency }) => latency.p50)),
      spread(turns.map(({ latency }) => latency.p99)),
      inMebibytes(turns.map(({ queueBytes }) => queueBytes)),
      inMebibytes(turns.map(({ memoryGrowth }) => memoryGrowth)),
    ]
    const count = (number: number) => number.toLocaleString('en-US')
    return {
      how:
        `A conversation of ${size.members} members, all of them connected, one of whom sends ${size.perSecond} messages of ` +
        `${count(size.bodyBytes)} bytes a second; the time from sending to each push, of all but the last member. By turns he reads as the ` +
        'others do, and nothing: then messages to him alone first fill what the kernel holds for him, so that the measured ones ' +
        `(${count(messagesOf(size))}) go to his queue, up to its limit and his end. Where he reads he is sent as many. Median of ` +
        `${size.repeats} turns of each. Every ${sampleMs} ms the server is asked for \`fanfare_queue_bytes\`, and its resident memory ` +
        '(RSS) is read: the most of each is told, of the memory what it had grown by since the turn began, garbage and all. Last, he reads ' +
        'what is there for him, up to his end.',
      tables: [
        {
          title: '',
          head: ['the last member', 'p50, ms', 'p99, ms', 'waiting in queues at most, MiB', 'memory grew by, MiB'],
          rows: [rowOf('reads', reading), rowOf('reads nothing', stalled)],
        },
        {
          title: 'Who reads nothing',
          head: ['', 'measured'],
          rows: [
            [
              'what was there for him at his end, in the kernel and in his queue, MiB',
              inMebibytes(stalled.map(({ bytes }) => bytes)),
            ],
            ['how he ended', [...new Set(stalled.map(({ code }) => endOf(code)))].join(', ')],
          ],
        },
      ],
      targets: [
        atMost(
          'median delivery to the others, beside all reading',
          median(ratios),
          1.1,
          (value) => `${shown(value)} ×`,
        ),
        atMost(
          'waiting for him at most',
          Math.max(...stalled.map(({ queueBytes }) => queueBytes)) / mebibyte,
          defaultConfig.queueBytes / mebibyte,
          (value) => `${shown(value)} MiB`,
        ),
        atLeast(
          `ends with 4409, of ${size.repeats}`,
          stalled.filter(({ code }) => code === 4409).length,
          size.repeats,
          String,
        ),
      ],
      plots: [],
    }
  },
}

interface Stage {
  readonly size: Sizes
  readonly server: Fanfare
  readonly load: Load
  readonly conversation: string
  /** Where the sender and the last member are alone. */
  readonly aside: string
}

/** As many as fill one queue by their bodies alone: with what is around these they are some too many. */
function messagesOf({ bodyBytes }: Sizes): number {
  return Math.ceil(defaultConfig.queueBytes / bodyBytes)
}

/** Fills with so many messages, or until the last member has a queue, and measures. */
async function turn({ size, server, load, conversation, aside }: Stage, filling: number | null): Promise<Turn> {
  const { members, bodyBytes, perSecond } = size
  await settled(server.pid)
  const before = memoryOf(server.pid)
  let filled = 0
  const run = async (): Promise<Latency> => {
    do {
      if (filled * filler.bodyBytes > mostOfTheKernel) throw new Error('one who reads nothing has no queue')
      // When the sender has read all of it, what waits at the server is the other's.
      await load.run('steady', { ...filler, conversation: aside, timed: 1 })
      filled += filler.messages
    } while (filling === null ? (await server.metric(queueBytes)) === 0 : filled < filling)
    return load.run('steady', { conversation, timed: members - 1, messages: messagesOf(size), perSecond, bodyBytes })
  }
  const [latency, most] = await sampled(server, run())
  return { latency, filling: filled, queueBytes: most.queueBytes, memoryGrowth: most.memory - before }
}

const queueBytes = 'fanfare_queue_bytes'

/** What comes of `work`, and the most that the server held during it. */
async function sampled<T>(server: Fanfare, work: Promise<T>): Promise<[T, { queueBytes: number; memory: number }]> {
  const most = { queueBytes: 0, memory: 0 }
  const ended = work.then(() => true)
  while (!(await Promise.race([ended, sleep(sampleMs, false)]))) {
    most.queueBytes = Math.max(most.queueBytes, await server.metric(queueBytes))
    most.memory = Math.max(most.memory, memoryOf(server.pid))
  }
  return [await work, most]
}

function endOf(code: number | null): string {
  return code === null ? 'went on' : `closed with ${code}`
}
