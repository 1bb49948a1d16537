/** A server that is killed under many sessions and started again: all come back at once, each with its cursor. */
import { WebSocket } from 'ws'
import { type Cpu, cpuOf } from '../../bench/procfs.ts'
import type { ConnectResult } from '../../src/protocol/commands.ts'
import { type PushFrame, type ReplyFrame, socketPath } from '../../src/protocol/frames.ts'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import { isEvent } from '../../src/testing/raw-session.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'
import { freePort } from './free-port.ts'
import { type ServerProcess, startServerProcess, tokenFor } from './server-process.ts'

export interface RestartReport {
  readonly sessions: number
  /** Sessions that went on from their cursor, and those that were told to begin anew. */
  readonly resumed: number
  readonly reloaded: number
  /** What was otherwise than it must be. */
  readonly problems: readonly string[]
  /** From the start of the new server's process until it listened, and from there until everybody had everything. */
  readonly startSeconds: number
  readonly resumeSeconds: number
  /** Of the new server, in all; null where the system does not tell. */
  readonly serverCpu: Cpu | null
}

const usersPerRoom = 10
/** So many messages are sent in each conversation before the server dies, and as many while everybody comes back. */
const messagesPerRoom = 3
const callsAtOnce = 50
const tryAgainMs = 50

export async function restart(sessions: number): Promise<RestartReport> {
  using folder = temporaryFolder()
  const data = folder.in('data')
  const port = await freePort()
  const people = await Promise.all(
    Array.from({ length: sessions }, async (_, index) => {
      const user: UserId = `user/${index}`
      return new Returner(user, await tokenFor(user))
    }),
  )
  using stack = new DisposableStack()
  for (const person of people) stack.defer(() => person.leave())
  const groups = Array.from({ length: Math.ceil(sessions / usersPerRoom) }, (_, index) =>
    people.slice(index * usersPerRoom, (index + 1) * usersPerRoom).map(({ user }) => user),
  )
  const rooms = new Map<ConversationId, UserId>()

  await using server = await startServerProcess(data, { port })
  await Promise.all(people.map((person) => person.connect(server.url)))
  await inTurn(groups, async ([host, ...participants]) => {
    const { conversation } = await server.must(host as UserId, 'create_conversation', { participants })
    rooms.set(conversation.id, host as UserId)
  })
  await sayEverywhere(server, rooms)
  await Promise.all(people.map((person) => person.reaches(1 + messagesPerRoom)))
  await server.kill()
  await Promise.all(people.map((person) => person.gone))

  const startedAt = performance.now()
  await using again = await startServerProcess(data, { port })
  const listeningAt = performance.now()
  const [greetings] = await Promise.all([
    Promise.all(people.map((person) => person.connect(again.url))),
    sayEverywhere(again, rooms),
  ])
  await Promise.all(people.map((person) => person.reaches(1 + 2 * messagesPerRoom)))
  const doneAt = performance.now()
  return {
    sessions,
    resumed: greetings.filter(({ resumed }) => resumed).length,
    reloaded: greetings.filter(({ resumed }) => !resumed).length,
    problems: people.flatMap(({ problems }) => problems),
    startSeconds: (listeningAt - startedAt) / 1_000,
    resumeSeconds: (doneAt - listeningAt) / 1_000,
    serverCpu: process.platform === 'linux' ? cpuOf(again.pid) : null,
  }
}

function sayEverywhere(server: ServerProcess, rooms: ReadonlyMap<ConversationId, UserId>): Promise<void> {
  return inTurn([...rooms], async ([conversation, host]) => {
    for (let count = 0; count < messagesPerRoom; count++) {
      await server.must(host, 'create_message', { conversation, body: `message ${count}` })
    }
  })
}

/** Does it for all, some at once. */
async function inTurn<T>(all: readonly T[], act: (one: T) => Promise<void>): Promise<void> {
  const left = all.values()
  const worker = async () => {
    for (const one of left) await act(one)
  }
  await Promise.all(Array.from({ length: callsAtOnce }, worker))
}

/** One user's session, and the one after it: a plain WebSocket that keeps its cursor. */
class Returner {
  readonly user: UserId
  readonly problems: string[] = []
  /** Resolves when its last session has ended. */
  gone: Promise<void> = Promise.resolve()
  readonly #token: string
  #webSocket: WebSocket | null = null
  #cursor: string | undefined
  #seq = 0
  #wake = () => {}

  constructor(user: UserId, token: string) {
    this.user = user
    this.#token = token
  }

  /** Begins a session, and goes on from the cursor if there is one. Where the server takes nobody just now it tries again. */
  async connect(url: string): Promise<ConnectResult> {
    for (;;) {
      const greeting = await this.#open(`${url.replace('http', 'ws')}${socketPath}`)
      if (greeting) return greeting
      await new Promise((resolve) => setTimeout(resolve, tryAgainMs))
    }
  }

  /** Resolves when the event with this `seq` has come. */
  async reaches(seq: number): Promise<void> {
    while (this.#seq < seq) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  leave(): void {
    this.#webSocket?.terminate()
  }

  /** Null where there is no session to be had. */
  #open(url: string): Promise<ConnectResult | null> {
    const webSocket = new WebSocket(url, { perMessageDeflate: false })
    this.#webSocket = webSocket
    const args = { token: this.#token, ...(this.#cursor !== undefined && { cursor: this.#cursor }) }
    webSocket.on('open', () => webSocket.send(JSON.stringify({ id: 1, command: 'connect', args })))
    webSocket.on('error', () => {})
    this.gone = new Promise((resolve) => webSocket.once('close', () => resolve()))
    return new Promise((resolve) => {
      webSocket.once('close', () => resolve(null))
      webSocket.on('message', (data) => {
        const frame = JSON.parse(data.toString()) as ReplyFrame | PushFrame
        if (!('id' in frame)) this.#push(frame)
        else if ('error' in frame) this.problems.push(`${this.user}: ${frame.error.message}`)
        else {
          const greeting = frame.result as ConnectResult
          this.#cursor ??= greeting.cursor
          resolve(greeting)
        }
      })
    })
  }

  /** There is one conversation, so what comes is gapless from the first to the last event. What is otherwise is told, and it goes on. */
  #push(frame: PushFrame): void {
    if (!isEvent(frame) || frame.seq !== this.#seq + 1) {
      this.problems.push(`${this.user} was pushed ${JSON.stringify(frame)} after ${this.#seq}`)
    }
    if (!isEvent(frame) || frame.seq === undefined) return
    this.#seq = frame.seq
    this.#cursor = frame.cursor
    this.#wake()
  }
}
