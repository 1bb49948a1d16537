/**
 * Crash after crash under load: the real server, killed and started again on one folder and one port, real SDK clients that write and read
 * all the while, half of them through a proxy that cuts their connections besides. What is held in the end is in `verdict.ts`.
 */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { ConversationId, UserId } from '../../../src/protocol/ids.ts'
import { Random } from '../../../src/testing/random.ts'
import { startProxy } from '../../../src/testing/tcp-proxy.ts'
import { temporaryFolder } from '../../cli/temporary-folder.ts'
import { freePort } from '../free-port.ts'
import { startServerProcess } from '../server-process.ts'
import { Author, type Rooms, throughChat, throughHttp } from './author.ts'
import { Reader } from './reader.ts'
import { Servers } from './servers.ts'
import { type History, hasAll, readHistory, readRooms, verdict } from './verdict.ts'
import { Page, Weather } from './weather.ts'

export interface CrashOptions {
  readonly kills: number
  readonly seed: number
  /** Called after each kill. */
  readonly onKill: (kills: number) => void
}

export interface CrashReport {
  /** What was otherwise than it must be; nothing, it is hoped. */
  readonly problems: readonly string[]
  readonly kills: number
  /** Of these, so many came before the server listened. */
  readonly killsWhileStarting: number
  readonly cuts: number
  readonly conversations: number
  readonly messages: number
  /** Requests that went out again over HTTP, since no answer came. */
  readonly retries: number
  /** Sessions that the SDK has had, of all clients. */
  readonly sessions: number
  /** Events that each reader's callback was given. */
  readonly events: number
  readonly seconds: number
}

const readers: readonly UserId[] = ['user/reader-1', 'user/reader-2', 'user/reader-3', 'user/reader-4']
const chatAuthors: readonly UserId[] = ['user/author-1', 'user/author-2', 'user/author-3']
const httpAuthors: readonly UserId[] = ['user/backend-1', 'user/backend-2']

/** Old entries that the log begins with, so that the first of the servers are killed while they prune. */
const oldEntries = 20_000
/** For the last replies and events to come; where they take longer something has stopped. */
const patienceMs = 60_000

export async function crash({ kills, seed, onKill }: CrashOptions): Promise<CrashReport> {
  const begun = performance.now()
  const random = new Random(seed)
  using folder = temporaryFolder()
  const data = folder.in('data')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  await using proxy = await startProxy({ port, seed })
  await using servers = new Servers(data, port)
  using stack = new DisposableStack()
  const page = stack.use(new Page())

  const people = [...readers, ...chatAuthors, ...httpAuthors]
  const rooms: Rooms = { people, byTitle: new Map() }
  await seedOldEntries(data)
  await servers.start()
  // Every second one by way of the proxy.
  const chats = [...readers, ...chatAuthors].map((user, index) =>
    stack.use(new Reader(index % 2 === 0 ? url : proxy.url, user)),
  )
  await Promise.all(chats.map((chat) => chat.connected()))
  let retries = 0
  let over = false
  stack.defer(() => {
    over = true
  })
  const retried = () => {
    if (over) throw new Error('the test is over')
    retries++
  }
  const authors = [
    ...chatAuthors.map((user, index) => {
      const { chat } = chats[readers.length + index] as Reader
      return new Author(user, throughChat(chat), new Random(seed + index), rooms)
    }),
    ...httpAuthors.map((user, index) => {
      const voice = throughHttp(url, user, retried)
      return new Author(user, voice, new Random(seed + 100 + index), rooms)
    }),
  ]
  let stopped = false
  const written = Promise.all(authors.map((author) => author.write(() => stopped || over)))
  written.catch(() => {})

  const weather = stack.use(new Weather(proxy, new Random(seed + 200)))
  let killsWhileStarting = 0
  const acknowledged = () => authors.reduce((sum, author) => sum + author.acknowledged, 0)
  for (let count = 1; count <= kills; count++) {
    const when = random.next()
    if (when < 0.15) {
      await pause(random.below(400))
    } else {
      await servers.listening()
      if (random.next() < 0.8) page.online()
      // Right after the start, or in the midst of the work, which on a slow machine takes a while to begin.
      if (when < 0.3) await pause(random.below(60))
      else await work(acknowledged, 1 + random.below(200))
    }
    if (!servers.listened) killsWhileStarting++
    await servers.kill()
    // A page that is reloaded comes back with its cursor.
    if (random.next() < 0.2) chats[random.below(readers.length)]?.reload()
    onKill(count)
    servers.spawn()
  }
  await servers.listening()
  page.online()
  weather[Symbol.dispose]()
  stopped = true
  const late = await within(written, 'not everything that was sent was answered')
  const found = await readRooms(servers.current, readers[0] as UserId)
  const histories = new Map<ConversationId, History>()
  for (const id of found.keys()) histories.set(id, await readHistory(servers.current, readers[0] as UserId, id))
  const allTold = async () => {
    while (!chats.every((chat) => hasAll(chat, histories))) await pause(20)
  }
  late.push(...(await within(allTold(), 'not everything that happened was told')))
  await servers.stop()
  const problems = [...late, ...servers.problems, ...verdict(rooms, found, histories, authors, chats)]
  return {
    problems,
    kills,
    killsWhileStarting,
    cuts: weather.cuts,
    conversations: found.size,
    messages: authors.reduce((sum, author) => sum + author.written.length, 0),
    retries,
    sessions: chats.reduce((sum, chat) => sum + chat.sessions, 0),
    events: [...histories.values()].reduce((sum, { events }) => sum + events.length, 0),
    seconds: Math.round((performance.now() - begun) / 100) / 10,
  }
}

/** Makes the database, with a log that begins with entries long past retention. */
async function seedOldEntries(data: string): Promise<void> {
  await using server = await startServerProcess(data)
  await server.stop()
  using database = new DatabaseSync(join(data, 'fanfare.db'))
  database.exec(`
    WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < ${oldEntries})
    INSERT INTO event (at, event_type, record_type, user, record, original)
      SELECT 0, 'update', 'user', 'user/nobody', '{}', '{}' FROM number`)
}

/** Until so much more is acknowledged, or for a while. */
async function work(acknowledged: () => number, more: number): Promise<void> {
  const wanted = acknowledged() + more
  for (const until = performance.now() + 2_000; acknowledged() < wanted && performance.now() < until; ) await pause(5)
}

/** Nothing, or a sentence where it takes too long or fails. */
async function within(work: Promise<unknown>, problem: string): Promise<string[]> {
  let timer: NodeJS.Timeout | undefined
  const tooLong = new Promise<string>((resolve) => {
    timer = setTimeout(() => resolve(problem), patienceMs)
  })
  const done = work.then(
    () => null,
    (error: unknown) => `${problem}: ${String(error)}`,
  )
  const outcome = await Promise.race([done, tooLong])
  clearTimeout(timer)
  return outcome ? [outcome] : []
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
