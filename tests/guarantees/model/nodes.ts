/** Several nodes of a scenario: engines in this process on one real PostgreSQL, with a real NATS between them. */
import { openNats } from '../../../src/broker/nats.ts'
import { openPostgres } from '../../../src/storage/postgres.ts'
import type { Storage } from '../../../src/storage/storage.ts'
import { type NatsServer, startNats } from '../../../src/testing/nats.ts'
import { findPostgres, type PostgresServer, startPostgres } from '../../../src/testing/postgres.ts'
import { startEngine } from '../../../src/testing/start-engine.ts'
import { Between } from './carried.ts'
import { type StartServers, serversOf } from './servers.ts'

/** What the nodes of many scenarios share, each with a database and subjects of its own. */
export class Ground implements AsyncDisposable {
  readonly #postgres: PostgresServer
  readonly #nats: NatsServer
  #scenarios = 0

  private constructor(postgres: PostgresServer, nats: NatsServer) {
    this.#postgres = postgres
    this.#nats = nats
  }

  /** Starts both programs. They end with its scope. */
  static async start(): Promise<Ground> {
    const programs = findPostgres()
    if (!programs) throw new Error('PostgreSQL is not installed')
    await using stack = new AsyncDisposableStack()
    const ground = new Ground(stack.use(await startPostgres(programs)), stack.use(await startNats()))
    stack.move()
    return ground
  }

  /** So many nodes. */
  nodes(count: number): StartServers {
    return async (options) => {
      await using stack = new AsyncDisposableStack()
      const { url } = stack.use(await this.#postgres.database())
      const prefix = `scenario.${++this.#scenarios}`
      const between = new Between()
      const turns = new Turns()
      const started = []
      for (let node = 0; node < count; node++) {
        started.push(
          stack.use(
            await startEngine({
              ...options,
              openStorage: async (...given) => turns.of(await openPostgres(url, ...given)),
              openBroker: () =>
                between.broker(
                  node,
                  openNats(this.#nats.url, prefix, (trouble) => between.troubles.push(trouble)),
                ),
            }),
          ),
        )
      }
      const all = stack.move()
      return Object.assign(serversOf(started, between), { [Symbol.asyncDispose]: () => all.disposeAsync() })
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#nats[Symbol.asyncDispose]()
    await this.#postgres[Symbol.asyncDispose]()
  }
}

/**
 * Lets the nodes ask the database one after the other, so that its answers come in the order in which it has done what was asked: the truth
 * does it once more in that order. What transactions do to each other is tried in tests/storage and by the cluster.
 */
class Turns {
  #last: Promise<unknown> = Promise.resolve()

  of(storage: Storage): Storage {
    const nouns = Object.entries(storage).map(([noun, verbs]) => [
      noun,
      typeof verbs === 'object' && verbs !== null ? this.#noun(verbs) : verbs,
    ])
    return Object.fromEntries(nouns)
  }

  #noun(verbs: Record<string, (...args: never[]) => Promise<unknown>>) {
    return Object.fromEntries(
      Object.entries(verbs).map(([verb, ask]) => [
        verb,
        (...args: never[]) => {
          const answer = this.#last.then(() => ask(...args))
          this.#last = answer.catch(() => {})
          return answer
        },
      ]),
    )
  }
}
