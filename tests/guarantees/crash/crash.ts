/**
 * Crash after crash under load: the real server, killed and started again on one folder and one port, real SDK clients that write and read
 * all the while, half of them through a proxy that cuts their connections besides. What is held in the end is in `verdict.ts`.
 */
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { ConversationId, UserId } from '../../../src/protocol/ids.ts'
import { Random } from '../../../src/testing/random.ts'
import { startProxy, type TcpProxy } from '../../../src/testing/tcp-proxy.ts'
import { type ServerProcess, spawnServer, startServerProcess } from '../server-process.ts'
import { Author, type Rooms, throughChat, throughHttp } from './author.ts'
import { Reader } from './reader.ts'
import { type History, hasAll, readHistory, readRooms, verdict } from './verdict.ts'

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
  const data = mkdtempSync(join(tmpdir(), 'fanfare-crash-'))
  const port = await freePort(random)
  const url = `http://127.0.0.1:${port}`
  await using proxy = await startProxy({ port, seed })
  await using servers = new Servers(data, port)
  const stack = new DisposableStack()
  stack.defer(() => rmSync(data, { recursive: true, force: true }))

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
  const authors = [
    ...chatAuthors.map((user, index) => {
      const { chat } = chats[readers.length + index] as Reader
      return new Author(user, throughChat(chat), new Random(seed + index), rooms)
    }),
    ...httpAuthors.map((user, index) => {
      const voice = throughHttp(url, user, () => retries++)
      return new Author(user, voice, new Random(seed + 100 + index), rooms)
    }),
  ]
  let stopped = false
  const written = Promise.all(authors.map((author) => author.write(() => stopped)))
  written.catch(() => {})

  const weather = new Weather(proxy, new Random(seed + 200))
  let killsWhileStarting = 0
  for (let count = 1; count <= kills; count++) {
    await servers.killSoon(random)
    if (!servers.listened) killsWhileStarting++
    // A page that is reloaded comes back with its cursor.
    if (random.next() < 0.2) chats[random.below(readers.length)]?.reload()
    onKill(count)
    servers.spawn()
  }
  await servers.listening()
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
  stack.dispose()
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

/** One server after the other on the same folder. */
class Servers implements AsyncDisposable {
  readonly problems: string[] = []
  readonly #data: string
  readonly #port: number
  #current: ServerProcess | null = null

  constructor(data: string, port: number) {
    this.#data = data
    this.#port = port
  }

  get current(): ServerProcess {
    if (!this.#current) throw new Error('no server was started')
    return this.#current
  }

  /** Whether the present one ever listened. */
  get listened(): boolean {
    return this.current.url !== ''
  }

  spawn(): void {
    this.#current = spawnServer(this.#data, { port: this.#port })
  }

  listening(): Promise<void> {
    return this.current.listening
  }

  async start(): Promise<void> {
    this.spawn()
    await this.listening()
  }

  /** Kills it while it starts, right after, or in the midst of its work. */
  async killSoon(random: Random): Promise<void> {
    const when = random.next()
    if (when < 0.2) {
      await pause(random.below(400))
    } else {
      await this.listening()
      await pause(when < 0.4 ? random.below(60) : random.below(1_500))
    }
    this.#note(await this.current.kill(), null)
  }

  async stop(): Promise<void> {
    this.#note(await this.current.stop(), 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#current?.[Symbol.asyncDispose]()
  }

  #note({ code, stderr }: { code: number | null; stderr: string }, wanted: number | null): void {
    if (code !== wanted || stderr) this.problems.push(`a server ended with ${code} and said ${JSON.stringify(stderr)}`)
  }
}

/** Cuts connections now and then, each time otherwise. */
class Weather implements Disposable {
  cuts = 0
  readonly #proxy: TcpProxy
  readonly #random: Random
  #timer: NodeJS.Timeout

  constructor(proxy: TcpProxy, random: Random) {
    this.#proxy = proxy
    this.#random = random
    this.#timer = setTimeout(() => this.#strike(), 500)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    this.#proxy.set('both', { cutAfterBytes: Number.POSITIVE_INFINITY })
  }

  #strike(): void {
    const connections = [...this.#proxy.connections]
    if (connections.length > 0) {
      const connection = this.#random.pick(connections)
      const cutAfterBytes = this.#random.below(3_000)
      this.#random.pick([
        () => connection.cut(),
        () => connection.reset(),
        () => connection.set('toClient', { cutAfterBytes }),
        () => connection.set('toServer', { cutAfterBytes }),
        () => this.#proxy.reset(),
      ])()
      this.cuts++
    }
    this.#timer = setTimeout(() => this.#strike(), 200 + this.#random.below(1_500))
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

/**
 * A port that is free, and below those that the system gives to whoever connects: a client that connects again and again to a port on which
 * nothing listens may else be given that very port, and meet itself.
 */
async function freePort(random: Random): Promise<number> {
  for (;;) {
    const port = 20_000 + random.below(12_000)
    const listener = createServer().listen(port, '127.0.0.1')
    const isFree = await once(listener, 'listening').then(
      () => true,
      () => false,
    )
    listener.close()
    if (isFree) return port
  }
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
