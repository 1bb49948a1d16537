/** Who writes and reads on all nodes at once through their faults, by the SDK; what is held in the end is in `../crash/verdict.ts`. */
import { WebSocket } from 'ws'
import type { WebSocketClass } from '../../../src/client/platform.ts'
import type { ConversationId, UserId } from '../../../src/protocol/ids.ts'
import { Random } from '../../../src/testing/random.ts'
import { Author, type Rooms, throughChat, type Voice } from '../crash/author.ts'
import { Reader } from '../crash/reader.ts'
import { type History, hasAll, readHistory, readRooms, verdict } from '../crash/verdict.ts'
import type { ClusterNode } from './cluster.ts'

/** So slow that nobody misses 500 events of a conversation while he is away, of which he would be told by a gap alone (R4). */
const breathMs = 100
/** Where the rest takes longer something has stopped. */
const patienceMs = 40_000
/** Work of so many messages goes before a fault, and comes after it. */
const messagesAround = 40

/** What a node may tell its operator of a fault as an error. */
export interface Complaint {
  readonly says: RegExp
  readonly because: string
}

export interface Reckoning {
  /** What was otherwise than it must be; nothing, it is hoped. */
  readonly problems: readonly string[]
  readonly messages: number
  /** From the repair on, until everything was acknowledged and every reader had all of it. */
  readonly secondsToWhole: number
}

/**
 * Does `fault`, which resolves when it is repaired, while an author and a reader of each node, and others of all, go on. What nodes complain
 * of meanwhile is a problem too, but for what is `expected`.
 */
export async function underLoad(
  nodes: readonly ClusterNode[],
  seed: number,
  fault: () => Promise<void>,
  expected: readonly Complaint[],
): Promise<Reckoning> {
  using stack = new DisposableStack()
  const run = crypto.randomUUID().slice(0, 8)
  const people = (kind: string) => nodes.map((_, index): UserId => `user/${kind}-${run}-${index}`)
  const writing = people('author')
  const reading = people('reader')
  const rooms: Rooms = { people: [...writing, ...reading], byTitle: new Map() }
  const chats = rooms.people.map((user, index) => {
    const node = nodes[index % nodes.length] as ClusterNode
    return stack.use(new Reader(node.url, user, roaming(nodes, index)))
  })
  await Promise.all(chats.map((chat) => chat.connected()))

  let stopped = false
  stack.defer(() => {
    stopped = true
  })
  const authors = writing.map((user, index) => {
    const { chat } = chats[index] as Reader
    return new Author(user, breathing(throughChat(chat)), new Random(seed + index), rooms)
  })
  const written = Promise.all(authors.map((author) => author.write(() => stopped)))
  written.catch(() => {})
  const acknowledged = () => authors.reduce((sum, author) => sum + author.acknowledged, 0)
  const work = async () => {
    const wanted = acknowledged() + messagesAround
    await until(() => acknowledged() >= wanted)
  }

  await work()
  await fault()
  const repairedAt = performance.now()
  await work()
  stopped = true
  await Promise.race([written, pause(patienceMs)])
  const [witness] = reading as [UserId]
  const [node] = nodes as [ClusterNode]
  const found = await readRooms(node.server, witness)
  const histories = new Map<ConversationId, History>()
  for (const id of found.keys()) histories.set(id, await readHistory(node.server, witness, id))
  await until(() => chats.every((chat) => hasAll(chat, histories)))
  const secondsToWhole = (performance.now() - repairedAt) / 1_000
  const problems = [...verdict(rooms, found, histories, authors, chats), ...unexpected(nodes, expected)]
  return { problems, messages: acknowledged(), secondsToWhole }
}

/** What nodes have complained of since this was asked last, but for what is `expected`. */
export function unexpected(nodes: readonly ClusterNode[], expected: readonly Complaint[] = []): string[] {
  const complaints = nodes.flatMap((node) => node.complaints().map((line) => `${node.url} complained: ${line}`))
  return complaints.filter((line) => !expected.some(({ says }) => says.test(line)))
}

/** Stands in for a name with several addresses, or for a load balancer: each attempt to connect goes to the next node. */
function roaming(nodes: readonly ClusterNode[], first: number): WebSocketClass {
  let next = first
  return class extends WebSocket {
    constructor(url: string) {
      const { host } = new URL((nodes[next++ % nodes.length] as ClusterNode).url)
      const there = new URL(url)
      there.host = host
      super(there.href)
    }
  }
}

/** Waits a little before each message; those that are sent at once still go in their order. */
function breathing(voice: Voice): Voice {
  return {
    ...voice,
    async createMessage(...args) {
      await pause(breathMs)
      return voice.createMessage(...args)
    },
  }
}

/** Until that holds, or for a while: what is missing then is told by the verdict. */
async function until(holds: () => boolean): Promise<void> {
  for (const end = performance.now() + patienceMs; !holds() && performance.now() < end; ) await pause(20)
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
