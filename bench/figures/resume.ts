/** Coming back: thousands at once after a restart, one with many conversations, and one behind a long log. */
import type { UserId } from '../../src/protocol/ids.ts'
import { DataFolder, Fanfare, tokenOf, usersOf } from '../fanfare.ts'
import { atMost, type Figure, type Measured, type Scale, type Table, type Target } from '../figure.ts'
import { type Filled, Filling } from '../fill.ts'
import type { Comeback, Stormed } from '../load/resume.ts'
import { Load } from '../load-process.ts'
import { total } from '../procfs.ts'
import { median, shown, spread } from '../statistics.ts'

interface Sizes {
  /** Users who all come back at once, a multiple of `group`. */
  readonly users: number
  readonly conversationsEach: number
  /** Members of each of their conversations. */
  readonly group: number
  /** Conversations of the one who comes back alone. */
  readonly conversations: readonly number[]
  /** Entries of others that were written while he was away, and his own. */
  readonly othersEntries: number
  readonly ownEntries: number
  /** Entries of the log behind which one event is found. */
  readonly log: readonly number[]
  readonly repeats: number
}

const sizes: Readonly<Record<Scale, Sizes>> = {
  full: {
    users: 10_000,
    conversationsEach: 100,
    group: 100,
    conversations: [10, 100, 1_000, 10_000],
    othersEntries: 500,
    ownEntries: 10,
    log: [10_000, 100_000, 1_000_000],
    repeats: 50,
  },
  quick: {
    users: 500,
    conversationsEach: 20,
    group: 50,
    conversations: [10, 100],
    othersEntries: 500,
    ownEntries: 10,
    log: [1_000, 4_000],
    repeats: 5,
  },
}

export const resume: Figure = {
  name: 'resume',
  title: 'Coming back',

  async measure(scale): Promise<Measured> {
    const size = sizes[scale]
    const all = await measureStorm(size)
    const alone = await measureConversations(size)
    const log = await measureLog(size)
    const milliseconds = 'connect to last push, ms'
    const count = (value: number) => value.toLocaleString('en-US')
    return {
      how:
        `All at once: ${count(size.users)} users in ${size.conversationsEach} conversations of ${size.group} each come back to a server ` +
        `that was just started, ${size.othersEntries} messages behind; CPU of the server from the first connection to the last push that ` +
        `was read. Alone: users in so many conversations come back by turns, ${size.repeats} times each, having missed ` +
        `${size.othersEntries} messages of others and ${size.ownEntries} of their own, from the \`connect\` command to the last push. A long ` +
        'log, each with a server of its own, by turns as well: the cursor stands before all of the entries, of which the last one alone is for ' +
        'who comes back.',
      tables: [
        {
          title: 'All at once',
          head: ['sessions', 'pushes', 'seconds', 'CPU of the server, s', 'user + system'],
          rows: [
            [
              count(size.users),
              count(all.pushes),
              shown(all.seconds),
              shown(total(all.cpu)),
              `${shown(all.cpu.user)} + ${shown(all.cpu.system)}`,
            ],
          ],
        },
        tableOf('Alone, by conversations', 'conversations', milliseconds, size.conversations, alone),
        tableOf('Alone, by the length of the log', 'entries', milliseconds, size.log, log),
      ],
      targets: [
        atMost(`CPU of ${count(size.users)} who come back`, total(all.cpu), 20, (value) => `${shown(value)} s`),
        within('slowest by quickest, whatever the conversations', alone, 2),
        within('slowest by quickest, whatever the length of the log', log, 1.5),
      ],
      plots: [],
    }
  },
}

function tableOf(
  title: string,
  what: string,
  head: string,
  sizes: readonly number[],
  times: readonly number[][],
): Table {
  const first = median(times[0]!)
  return {
    title,
    head: [what, head, 'beside the first'],
    rows: times.map((one, index) => [
      sizes[index]!.toLocaleString('en-US'),
      spread(one),
      `${shown(median(one) / first)} ×`,
    ]),
  }
}

function within(what: string, times: readonly number[][], limit: number): Target {
  const medians = times.map(median)
  return atMost(what, Math.max(...medians) / Math.min(...medians), limit, (value) => `${shown(value)} ×`)
}

async function measureStorm(size: Sizes): Promise<Stormed & { readonly pushes: number }> {
  await using folder = await DataFolder.make()
  const users = usersOf('u', size.users)
  const cursor = await (async () => {
    await using filling = await Filling.open(folder)
    const conversations = await filling.conversations(groupsOf(users, size))
    const { cursor } = filling
    const step = Math.max(1, Math.floor(conversations.length / size.othersEntries))
    await filling.messages(Array.from({ length: size.othersEntries }, (_, index) => pick(conversations, index * step)))
    return cursor
  })()

  await using server = await Fanfare.start(folder)
  await using load = new Load()
  const { port, pid } = server
  const pushes = size.othersEntries * size.group
  return { ...(await load.run('storm', { port, pid, tokens: users.map(tokenOf), cursor, pushes })), pushes }
}

/** Puts each user into so many groups, with others each time. */
function groupsOf(users: readonly UserId[], { conversationsEach, group }: Sizes): UserId[][] {
  const groups: UserId[][] = []
  for (let step = 1, round = 0; round < conversationsEach; step++) {
    // In steps that share no divisor with their number all users are met once.
    if (divisor(step, users.length) > 1) continue
    const inSteps = users.map((_, index) => pick(users, index * step))
    for (let from = 0; from < users.length; from += group) groups.push(inSteps.slice(from, from + group))
    round++
  }
  return groups
}

function divisor(one: number, other: number): number {
  return other === 0 ? one : divisor(other, one % other)
}

function pick<T>(all: readonly T[], index: number): T {
  return all[index % all.length]!
}

async function measureConversations(size: Sizes): Promise<number[][]> {
  await using folder = await DataFolder.make()
  const users = size.conversations.map((count): UserId => `user/in-${count}`)
  const cursor = await (async () => {
    await using filling = await Filling.open(folder)
    const own: Filled[][] = []
    for (const [index, count] of size.conversations.entries()) {
      own.push(await filling.conversations(Array.from({ length: count }, () => [`user/partner`, users[index]!])))
    }
    const others = await filling.conversations([['user/one', 'user/other']])
    const { cursor } = filling
    // Each misses what the others of these users get, too.
    const strangers = size.othersEntries - (users.length - 1) * size.ownEntries
    const missed = [
      ...Array<Filled>(strangers).fill(others[0]!),
      ...own.flatMap((conversations) =>
        Array.from({ length: size.ownEntries }, (_, index) => pick(conversations, index)),
      ),
    ]
    await filling.messages(missed)
    return cursor
  })()

  await using server = await Fanfare.start(folder)
  const { port } = server
  return await takeTurns(
    users.map((user) => ({ port, token: tokenOf(user), cursor, pushes: size.ownEntries })),
    size.repeats,
  )
}

/** Each log has a server of its own, and all of them run at once, so that what else the machine does meets all lengths alike. */
async function measureLog(size: Sizes): Promise<number[][]> {
  await using servers = new AsyncDisposableStack()
  const comebacks: Comeback[] = []
  for (const entries of size.log) {
    const folder = servers.use(await DataFolder.make())
    const cursor = await (async () => {
      await using filling = await Filling.open(folder)
      const [own, others] = await filling.conversations([
        ['user/partner', 'user/away'],
        ['user/one', 'user/other'],
      ])
      const { cursor } = filling
      await filling.messages([...Array<Filled>(entries - 1).fill(others!), own!])
      return cursor
    })()
    const { port } = servers.use(await Fanfare.start(folder))
    comebacks.push({ port, token: tokenOf('user/away'), cursor, pushes: 1 })
  }
  return await takeTurns(comebacks, size.repeats)
}

/** The times of each, after as many turns that are not counted. */
async function takeTurns(comebacks: readonly Comeback[], repeats: number): Promise<number[][]> {
  await using load = new Load()
  await load.run('resume', { comebacks, repeats })
  return await load.run('resume', { comebacks, repeats })
}
