/**
 * Several nodes in one process for one test: engines on one database, and between them a broker in memory that loses, keeps back and
 * carries what the test says. Their clock is in the test's hand.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Broker, Publication, Topic } from '../broker/broker.ts'
import { defaultConfig, defaultLimits } from '../engine/config.ts'
import { Engine } from '../engine/engine.ts'
import { Tokens } from '../engine/tokens.ts'
import { openSqlite } from '../storage/sqlite.ts'
import type { Storage } from '../storage/storage.ts'
import { FakeClock } from './clock.ts'
import { noRates } from './no-rates.ts'
import { SocketPair } from './socket-pair.ts'
import { type TestEngine, unobserved } from './start-engine.ts'

/** What lies between the nodes. */
export class Link {
  /** What is on its way, and to which node. */
  readonly waiting: { readonly to: MemoryBroker; readonly text: string }[] = []
  /** Whether a publication is lost on its way. */
  loses: (publication: Publication) => boolean = () => false
  /** Whether the nodes have a connection to it, as their brokers say. */
  connected = true
  readonly brokers: MemoryBroker[] = []

  /** Carries what waits, the last to come first if `backwards`. */
  carry(backwards = false): void {
    const carried = this.waiting.splice(0)
    for (const { to, text } of backwards ? carried.reverse() : carried) to.receive(JSON.parse(text) as Publication)
  }
}

class MemoryBroker implements Broker {
  readonly alone = false
  readonly #link: Link
  readonly #topics = new Map<Topic, number>()
  receive: (publication: Publication) => void = () => {}

  constructor(link: Link) {
    this.#link = link
    link.brokers.push(this)
  }

  get connected(): boolean {
    return this.#link.connected
  }

  async start(receive: (publication: Publication) => void): Promise<void> {
    this.receive = receive
  }

  subscribe(topic: Topic): void {
    this.#topics.set(topic, (this.#topics.get(topic) ?? 0) + 1)
  }

  unsubscribe(topic: Topic): void {
    const count = this.#topics.get(topic) ?? 0
    if (count > 1) this.#topics.set(topic, count - 1)
    else this.#topics.delete(topic)
  }

  publish(publication: Publication, topics: readonly Topic[] | null): void {
    if (this.#link.loses(publication)) return
    const text = JSON.stringify(publication)
    for (const to of this.#link.brokers) {
      if (to !== this && (topics === null || topics.some((topic) => to.#topics.has(topic)))) {
        this.#link.waiting.push({ to, text })
      }
    }
  }

  async close(): Promise<void> {
    this.receive = () => {}
  }
}

export interface TestNodes extends AsyncDisposable {
  readonly nodes: readonly Pick<TestEngine, 'engine' | 'open' | 'token'>[]
  readonly link: Link
  readonly clock: FakeClock
  readonly faults: readonly unknown[]
  /** Resolves when all nodes have done what they have begun. */
  quiet(): Promise<void>
}

/** Starts `count` nodes that end with their scope. */
export async function startNodes(count: number): Promise<TestNodes> {
  const folder = await mkdtemp(join(tmpdir(), 'fanfare-'))
  const clock = new FakeClock()
  const faults: unknown[] = []
  const link = new Link()
  const opened = await openSqlite(
    join(folder, 'fanfare.db'),
    { maxParticipants: 0, maxConversationsPerUser: 0 },
    { committed() {}, failed: (_operations, reason) => faults.push(reason) },
  )
  const watched = new Watched(opened)
  const trust = { secret: 'token-secret-of-a-test-32-bytes-long', jwksUrl: null, issuer: null, audiences: [] }
  const engines: Engine[] = []
  for (let number = 0; number < count; number++) {
    engines.push(
      await Engine.start({
        config: { ...defaultConfig, listeners: true, limits: { ...defaultLimits, ...noRates } },
        clock,
        storage: watched.storage,
        broker: new MemoryBroker(link),
        tokens: new Tokens(trust, clock, (_doing, error) => faults.push(error)),
        observer: { ...unobserved, fault: (_doing, error) => faults.push(error) },
      }),
    )
  }
  return {
    nodes: engines.map((engine) => ({
      engine,
      open(address = '127.0.0.1') {
        const pair = new SocketPair()
        pair.begin(engine.open(pair, address, null))
        return pair
      },
      token: async (user) => (await engine.tokens.create(user, 3_600)).token,
    })),
    link,
    clock,
    faults,
    quiet: () => watched.quiet(),
    async [Symbol.asyncDispose]() {
      for (const engine of engines) await engine.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** What the nodes ask of their database, as the test watches it. */
class Watched {
  readonly storage: Storage
  #underWay = 0

  constructor(storage: Storage) {
    const nouns = Object.entries(storage).map(([noun, value]) => [
      noun,
      typeof value === 'object' ? this.#watch(value) : value,
    ])
    // Tests keep back answers, as connections of their own would.
    this.storage = { ...(Object.fromEntries(nouns) as unknown as Storage), inOrder: false }
  }

  /** Resolves when nothing is asked any more, and nothing more is asked because of what was answered. */
  async quiet(): Promise<void> {
    for (let calm = 0; calm < 3; calm++) {
      await new Promise((resolve) => setImmediate(resolve))
      if (this.#underWay > 0) calm = -1
    }
  }

  #watch(group: object): object {
    const operations = Object.entries(group).map(([verb, operation]) => [
      verb,
      async (...args: unknown[]) => {
        this.#underWay++
        try {
          return await (operation as (...args: unknown[]) => Promise<unknown>)(...args)
        } finally {
          this.#underWay--
        }
      },
    ])
    return Object.fromEntries(operations)
  }
}
