/** Durable messages between two users: how many a second, what each costs, and how long it takes. */
import { closeSync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { DataFolder, Fanfare, tokenOf, usersOf } from '../fanfare.ts'
import { atLeast, atMost, type Figure, type Scale, type Target } from '../figure.ts'
import type { Saturated } from '../load/pairs.ts'
import type { Latency } from '../load/timing.ts'
import { Load } from '../load-process.ts'
import { settled, total } from '../procfs.ts'
import { median, percentile, shown, spread } from '../statistics.ts'

interface Sizes {
  readonly senders: number
  readonly windows: readonly number[]
  readonly repeats: number
  readonly warmUpMs: number
  readonly measuredMs: number
  /** Of the run at a tenth of the load. */
  readonly pacedMs: number
  readonly syncs: number
}

const sizes: Readonly<Record<Scale, Sizes>> = {
  full: { senders: 200, windows: [4, 1], repeats: 3, warmUpMs: 1_000, measuredMs: 4_000, pacedMs: 8_000, syncs: 200 },
  quick: { senders: 10, windows: [4, 1], repeats: 1, warmUpMs: 100, measuredMs: 200, pacedMs: 200, syncs: 20 },
}

export const durable: Figure = {
  name: 'durable',
  title: 'Durable messages between two',

  async measure(scale) {
    const size = sizes[scale]
    await using folder = await DataFolder.make()
    const syncBefore = syncTimes(folder, size.syncs)
    // The whole machine, for that is what a message has: the load takes its share of it too.
    await using server = await Fanfare.start(folder, null)
    await using load = new Load(null)
    const { port, pid } = server
    const senders = usersOf('a', size.senders)
    const receivers = usersOf('b', size.senders)
    const conversations: string[] = []
    for (const [index, sender] of senders.entries()) {
      conversations.push(await server.conversation([sender, receivers[index]!]))
    }
    await load.run('open', { port, dialect: 'fanfare', tokens: [...senders, ...receivers].map(tokenOf) })

    const { warmUpMs, measuredMs } = size
    const saturated = new Map<number, Saturated[]>(size.windows.map((window) => [window, []]))
    for (let repeat = 0; repeat < size.repeats; repeat++) {
      for (const [window, runs] of saturated) {
        runs.push(await load.run('saturate', { pid, conversations, window, warmUpMs, measuredMs }))
      }
    }
    await settled(pid)
    const most = median(saturated.get(size.windows[0]!)!.map(perSecond))
    const paced = await load.run('pace', { conversations, perSecond: most / 10, measuredMs: size.pacedMs })
    const syncs = [...syncBefore, ...syncTimes(folder, size.syncs)]

    const milliseconds = (value: number) => `${shown(value)} ms`
    const sync = median(syncs)
    const full = saturated.get(size.windows[0]!)!
    const targets: Target[] = [
      atMost('CPU per message', median(full.map(cpuMicros)), 70, (value) => `${shown(value)} µs`),
      atLeast('messages a second', most, 12_000, shown),
      atMost('p99 of the reply under that load', median(full.map(({ toReply }) => toReply.p99)), 100, milliseconds),
      {
        ...atMost('p50 from sending to delivery at a tenth of it', paced.toDelivery.p50, sync + 0.7, milliseconds),
        limit: `≤ one fdatasync (${milliseconds(sync)}) + 0.7 ms`,
      },
      atMost('p99 from sending to delivery at a tenth of it', paced.toDelivery.p99, 10, milliseconds),
    ]
    const latencyRow = (what: string, { p50, p99 }: Latency) => [what, milliseconds(p50), milliseconds(p99)]
    return {
      how:
        `${size.senders} senders, each with one receiver, bodies of 100 bytes, all of them connected. The server and the load share the ` +
        `whole machine. Each sends its next message when one is acknowledged; ${size.repeats} repeats of ${measuredMs / 1000} s after ` +
        `${warmUpMs / 1000} s of warm-up, and after each all that was sent has been acknowledged and delivered to both. Then ` +
        `${paced.sent.toLocaleString('en-US')} messages at a tenth of the rate, whether acknowledged or not. fdatasync is that of a ` +
        'page of 4 KiB written to a small file in the same folder, before and after.',
      tables: [
        {
          title: 'As fast as they are acknowledged',
          head: [
            'in flight, each',
            'messages a second',
            'CPU per message, µs',
            'user + system',
            'reply p50, ms',
            'reply p99, ms',
          ],
          rows: [...saturated].map(([window, runs]) => [
            `${window}`,
            spread(runs.map(perSecond)),
            spread(runs.map(cpuMicros)),
            `${shown(median(runs.map(({ cpu, acknowledged }) => (cpu.user / acknowledged) * 1e6)))} + ` +
              shown(median(runs.map(({ cpu, acknowledged }) => (cpu.system / acknowledged) * 1e6))),
            spread(runs.map(({ toReply }) => toReply.p50)),
            spread(runs.map(({ toReply }) => toReply.p99)),
          ]),
        },
        {
          title: `At a tenth of that: ${shown(most / 10)} messages a second`,
          head: ['', 'p50', 'p99'],
          rows: [
            latencyRow('from sending to the reply', paced.toReply),
            latencyRow('from sending to delivery', paced.toDelivery),
            latencyRow('one fdatasync', { p50: sync, p99: percentile(syncs, 0.99) }),
          ],
        },
      ],
      targets,
      plots: [],
    }
  },
}

function perSecond({ acknowledged, seconds }: Saturated): number {
  return acknowledged / seconds
}

function cpuMicros({ cpu, acknowledged }: Saturated): number {
  return (total(cpu) / acknowledged) * 1e6
}

/** How many milliseconds it took to write a page and have it on the disk, each time. */
function syncTimes(folder: DataFolder, count: number): number[] {
  const file = openSync(join(folder.path, 'sync'), 'w')
  const page = Buffer.alloc(4_096)
  const times = Array.from({ length: count }, (_, index) => {
    page.writeUInt32LE(index)
    const start = performance.now()
    writeSync(file, page, 0, page.length, 0)
    fdatasyncSync(file)
    return performance.now() - start
  })
  closeSync(file)
  return times
}
