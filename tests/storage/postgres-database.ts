/** The PostgreSQL server of a test file, and databases in it. */
import { afterAll, beforeAll } from 'vitest'
import { openPostgres } from '../../src/storage/postgres.ts'
import type { Storage, StorageLimits } from '../../src/storage/storage.ts'
import { type EmptyDatabase, findPostgres, type PostgresServer, startPostgres } from '../../src/testing/postgres.ts'
import { type OpenedStorage, Stage } from '../../src/testing/storage-contract/stage.ts'
import { loudly } from './disk.ts'
import { noLimits } from './sqlite-folder.ts'

const programs = findPostgres()
const reason = 'PostgreSQL is not installed: nothing of its adapter was tried'
if (!programs && process.env.CI) throw new Error(reason)
if (!programs) loudly(reason)

/** Whether there is none on this machine. That may be so at a developer's, and not where all of it must be proved. */
export const withoutPostgres = programs === null

/** Starts a server before the tests of the file that calls it, and ends it after them. */
export function postgresOfFile(): () => PostgresServer {
  let server: PostgresServer | undefined
  beforeAll(async () => {
    if (programs) server = await startPostgres(programs)
  }, 120_000)
  afterAll(async () => {
    await server?.[Symbol.asyncDispose]()
  })
  return () => server as PostgresServer
}

/** A database of one test's own, opened by as many nodes as the test wants. All are closed when it ends. */
export class PostgresDatabase implements AsyncDisposable {
  /** What the operator was told. */
  readonly troubles: string[] = []
  readonly server: PostgresServer
  readonly #database: EmptyDatabase
  readonly #opened: Storage[] = []

  private constructor(server: PostgresServer, database: EmptyDatabase) {
    this.server = server
    this.#database = database
  }

  static async create(server: PostgresServer): Promise<PostgresDatabase> {
    return new PostgresDatabase(server, await server.database())
  }

  get url(): string {
    return this.#database.url
  }

  async open(limits = noLimits): Promise<Storage> {
    const storage = await openPostgres(this.url, limits, {
      committed() {},
      failed: (_operations, reason) => this.troubles.push(reason),
    })
    this.#opened.push(storage)
    return storage
  }

  /** It is opened again in another life: the server was started anew meanwhile. */
  async opened(limits: StorageLimits = noLimits): Promise<OpenedStorage> {
    return {
      storage: await this.open(limits),
      reopen: async () => {
        await this.close()
        await this.server.restart()
        return this.open(limits)
      },
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    }
  }

  /** One more node on this database. */
  async stage(limits: StorageLimits = noLimits): Promise<Stage> {
    return new Stage(await this.opened(limits))
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((storage) => storage.close()))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
    await this.#database[Symbol.asyncDispose]()
  }
}
