/** Cost per delivery, against the number of members and beside others that deliver. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DataFolder, Fanfare, tokenOf, usersOf } from '../fanfare.ts'
import { atMost, type Figure, type Measured, type Scale, type Table, type Target } from '../figure.ts'
import type { Deliver } from '../load/deliver.ts'
import { Load } from '../load-process.ts'
import { Peer, type PeerName, presentPeers } from '../peers.ts'
import type { Plot, Series } from '../plot.ts'
import { type Cpu, settled } from '../procfs.ts'
import { median, shown, spread } from '../statistics.ts'
import { Tools } from '../tools.ts'

interface Sizes {
  readonly members: readonly number[]
  readonly windows: readonly number[]
  readonly repeats: number
  /** How long one measurement takes. */
  readonly seconds: number
}

const sizes: Readonly<Record<Scale, Sizes>> = {
  full: { members: [2, 10, 100, 1_000, 10_000], windows: [1, 16], repeats: 5, seconds: 0.6 },
  quick: { members: [2, 10], windows: [1, 16], repeats: 1, seconds: 0.1 },
}

type Subject = 'fanfare' | 'floor' | PeerName

/** Microseconds of CPU per delivery. */
interface Cost {
  readonly total: number
  readonly user: number
  readonly system: number
}

function costOf({ user, system }: Cpu, deliveries: number): Cost {
  const micros = 1e6 / deliveries
  return { total: (user + system) * micros, user: user * micros, system: system * micros }
}

function portAndPid({ port, pid }: { readonly port: number; readonly pid: number }) {
  return { port, pid }
}

/** One subject at one size: the costs of all repeats, in their order. */
interface Row {
  readonly subject: Subject
  readonly members: number
  readonly window: number
  readonly costs: readonly Cost[]
}

export const delivery: Figure = {
  name: 'delivery',
  title: 'Cost per delivery',

  async measure(scale) {
    const size = sizes[scale]
    const peers = presentPeers()
    const tools = Tools.find()
    const rows: Row[] = []
    const toolRows: Row[] = []
    for (const members of size.members) {
      rows.push(...(await measureAll(members, peers, size)))
      if (tools) toolRows.push(...(await measureByTools(tools, members, size)))
    }
    return summary(rows, toolRows, size)
  },
}

/** Everybody at one size, by turns, so that what disturbs the machine disturbs all. */
async function measureAll(members: number, peers: readonly PeerName[], size: Sizes): Promise<Row[]> {
  await using stack = new AsyncDisposableStack()
  const subjects: { subject: Subject; measure(messages: number, window: number): Promise<Timed> }[] = []
  const add = async (subject: Subject, target: Omit<Deliver, 'messages' | 'window'>, tokens: readonly string[]) => {
    const load = stack.use(new Load())
    await load.run('open', { port: target.port, dialect: target.dialect, tokens })
    await settled(target.pid)
    subjects.push({
      subject,
      async measure(messages, window) {
        const { deliveries, seconds, cpu } = await load.run('deliver', { ...target, messages, window })
        return { seconds, cost: costOf(cpu, deliveries) }
      },
    })
  }

  const folder = stack.use(await DataFolder.make())
  const server = stack.use(await Fanfare.start(folder))
  const users = usersOf('m', members)
  const conversation = await server.conversation(users)
  await add('fanfare', { ...portAndPid(server), dialect: 'fanfare', conversation }, users.map(tokenOf))
  for (const name of peers) {
    const peer = stack.use(await Peer.start(name))
    await add(name, { ...portAndPid(peer), dialect: peer.dialect, conversation: '' }, Array(members).fill(''))
  }

  const rows: Row[] = []
  for (const window of size.windows) {
    const counts = new Map<Subject, number>()
    for (const { subject, measure } of subjects) {
      counts.set(subject, await messagesFor(size, members, window, (messages) => measure(messages, window)))
    }
    const costs = new Map<Subject, Cost[]>(subjects.map(({ subject }) => [subject, []]))
    for (let repeat = 0; repeat < size.repeats; repeat++) {
      for (const { subject, measure } of subjects) {
        costs.get(subject)!.push((await measure(counts.get(subject)!, window)).cost)
      }
    }
    rows.push(...subjects.map(({ subject }) => ({ subject, members, window, costs: costs.get(subject)! })))
  }
  return rows
}

/** The server and the yardsticks, in C and in Node, at one size, by turns, all measured by the tools. */
async function measureByTools(tools: Tools, members: number, size: Sizes): Promise<Row[]> {
  await using folder = await DataFolder.make()
  await using server = await Fanfare.start(folder)
  await using bare = await Peer.start('bare')
  const users = usersOf('m', members)
  const conversation = await server.conversation(users)
  const tokensFile = join(folder.path, 'tokens')
  await writeFile(tokensFile, users.map((user) => `${tokenOf(user)}\n`).join(''))

  const subjects = ['fanfare', 'floor', 'bare'] as const
  const measure = async (subject: (typeof subjects)[number], messages: number, window: number): Promise<Timed> => {
    await settled(server.pid)
    const run = { messages, window, bytes: 300 }
    const { seconds, ...cost } = await {
      fanfare: () => tools.ofFanfare(server, conversation, tokensFile, run),
      floor: () => tools.ofFloor(members, run),
      bare: () => tools.ofPeer(bare, members, run),
    }[subject]()
    return { seconds, cost }
  }

  const rows: Row[] = []
  for (const window of size.windows) {
    const counts = new Map<Subject, number>()
    for (const subject of subjects) {
      counts.set(subject, await messagesFor(size, members, window, (messages) => measure(subject, messages, window)))
    }
    const costs = new Map<Subject, Cost[]>(subjects.map((subject) => [subject, []]))
    for (let repeat = 0; repeat < size.repeats; repeat++) {
      for (const subject of subjects) {
        costs.get(subject)!.push((await measure(subject, counts.get(subject)!, window)).cost)
      }
    }
    rows.push(...subjects.map((subject) => ({ subject, members, window, costs: costs.get(subject)! })))
  }
  return rows
}

interface Timed {
  readonly seconds: number
  readonly cost: Cost
}

/** Warms up, and finds by that how many messages a measurement needs. */
async function messagesFor(
  { seconds }: Sizes,
  members: number,
  window: number,
  measure: (messages: number) => Promise<Timed>,
): Promise<number> {
  const guess = seconds / 4 / (members * 4e-6 + 100e-6)
  for (let messages = Math.max(2 * window, Math.round(guess)); ; messages *= 4) {
    const { seconds: took } = await measure(messages)
    if (took * 10 > seconds) return Math.max(2 * window, Math.round((messages * seconds) / took))
  }
}

/** The repeats of one subject at one size. */
function costsOf(rows: readonly Row[], subject: Subject, members: number, window: number): readonly Cost[] {
  return rows.find((row) => row.subject === subject && row.members === members && row.window === window)?.costs ?? []
}

/** How many times the yardstick's cost, each repeat by the one beside it. */
function ratios(costs: readonly Cost[], yardstick: readonly Cost[]): number[] {
  return costs.map(({ total }, repeat) => total / yardstick[repeat]!.total)
}

function summary(rows: readonly Row[], toolRows: readonly Row[], size: Sizes): Measured {
  // The targets were set against the yardstick in C. Without it the one in Node, which costs more itself, has to do.
  const judged = toolRows.length > 0 ? toolRows : rows
  const yardstick: Subject = toolRows.length > 0 ? 'floor' : 'bare'
  const ratioAt = (members: number, window: number) => {
    const costs = costsOf(judged, 'fanfare', members, window)
    return costs.length === 0 ? null : median(ratios(costs, costsOf(judged, yardstick, members, window)))
  }
  return {
    how:
      'One conversation, all of its members connected, one of them sending messages of 300 bytes. CPU of the server (user and system, ' +
      'all of its threads) from the first message to the last push that was read, by the number of deliveries; median of ' +
      `${size.repeats} repeats after a warm-up, in brackets the least and the greatest. Everybody takes turns. A ratio is that of one ` +
      'turn. The server is on one core and the load on another. *bare* is `bench/peers/bare.ts`: Node, one write of a prepared frame per ' +
      'socket and message, and nothing else. *floor* is the same in C. The yardsticks, *ws* ' +
      'and *Socket.IO* store nothing, check nothing and number nothing; Fanfare commits each message to the disk before it delivers.',
    tables: [
      ...(toolRows.length > 0 ? [tableOf('By the tools in C, µs of CPU per delivery', toolRows, 'floor')] : []),
      tableOf('By the load generator of this suite, µs of CPU per delivery', rows, 'bare'),
    ],
    targets: targetsOf(ratioAt, yardstick),
    plots: [plotOf(rows, toolRows)],
  }
}

function tableOf(title: string, rows: readonly Row[], yardstick: Subject): Table {
  const subjects = [...new Set(rows.map(({ subject }) => subject))]
  const cases = [...new Set(rows.map(({ members, window }) => `${members} ${window}`))].map((text) =>
    text.split(' ').map(Number),
  )
  return {
    title,
    head: [
      'members',
      'in flight',
      ...subjects,
      'Fanfare: user + system',
      `Fanfare ÷ ${yardstick}`,
      ...(yardstick === 'floor' ? ['bare ÷ floor'] : []),
    ],
    rows: cases.map(([members = 0, window = 0]) => {
      const own = costsOf(rows, 'fanfare', members, window)
      return [
        members.toLocaleString('en-US'),
        `${window}`,
        ...subjects.map((subject) => spread(costsOf(rows, subject, members, window).map(({ total }) => total))),
        `${shown(median(own.map(({ user }) => user)))} + ${shown(median(own.map(({ system }) => system)))}`,
        spread(ratios(own, costsOf(rows, yardstick, members, window))),
        ...(yardstick === 'floor'
          ? [spread(ratios(costsOf(rows, 'bare', members, window), costsOf(rows, 'floor', members, window)))]
          : []),
      ]
    }),
  }
}

function targetsOf(ratioAt: (members: number, window: number) => number | null, yardstick: Subject): Target[] {
  const times = (value: number) => `${shown(value)} × ${yardstick}`
  const targets: Target[] = []
  for (const [window, limit] of [
    [1, 1.4],
    [16, 0.3],
  ] as const) {
    const ratio = ratioAt(1_000, window)
    if (ratio !== null) targets.push(atMost(`per delivery, 1,000 members, ${window} in flight`, ratio, limit, times))
  }
  for (const window of [1, 16]) {
    const large = ratioAt(10_000, window)
    const medium = ratioAt(1_000, window)
    if (large === null || medium === null) continue
    const what = `10,000 members beside 1,000, both by ${yardstick}, ${window} in flight`
    targets.push(atMost(what, large / medium, 1.6, (value) => `${shown(value)} ×`))
  }
  return targets
}

function plotOf(rows: readonly Row[], toolRows: readonly Row[]): Plot {
  const seriesOf = (from: readonly Row[], subject: Subject, window: number): Series => ({
    name: `${subject}, ${window} in flight`,
    of: subject,
    dashed: window > 1,
    points: from
      .filter((row) => row.subject === subject && row.window === window)
      .map(({ members, costs }) => [members, median(costs.map(({ total }) => total))] as const),
  })
  const subjects = [...new Set(rows.map(({ subject }) => subject))]
  const windows = [...new Set(rows.map(({ window }) => window))]
  return {
    file: 'cost-by-members.svg',
    title: 'CPU per delivery, by the members of a conversation',
    x: 'members',
    y: 'µs per delivery',
    series: windows.flatMap((window) => [
      ...subjects.map((subject) => seriesOf(rows, subject, window)),
      ...(toolRows.length > 0 ? [seriesOf(toolRows, 'floor', window)] : []),
    ]),
  }
}
