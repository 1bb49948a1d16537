/** A data folder of one test's own. The databases opened in it are closed, and all is taken away, when the test ends. */
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { openSqlite } from '../../src/storage/sqlite.ts'
import type { Storage, StorageLimits } from '../../src/storage/storage.ts'
import { type OpenedStorage, Stage } from '../../src/testing/storage-contract/stage.ts'

export const noLimits: StorageLimits = { maxParticipants: 0, maxConversationsPerUser: 0 }

export class SqliteFolder implements AsyncDisposable {
  readonly path = mkdtempSync(join(tmpdir(), 'fanfare-storage-'))
  readonly file = join(this.path, 'fanfare.db')
  /** What the operator was told of its databases. */
  readonly troubles: string[] = []
  readonly #opened: Storage[] = []

  async open(limits = noLimits): Promise<Storage> {
    const storage = await openSqlite(this.file, limits, {
      committed() {},
      failed: (_operations, reason) => this.troubles.push(reason),
    })
    this.#opened.push(storage)
    return storage
  }

  async opened(limits = noLimits): Promise<OpenedStorage> {
    return {
      storage: await this.open(limits),
      reopen: async () => {
        await this.close()
        return this.open(limits)
      },
      [Symbol.asyncDispose]: () => this[Symbol.asyncDispose](),
    }
  }

  /** A stage on the database of this folder. Who ends it takes the folder away. */
  async stage(limits = noLimits): Promise<Stage> {
    return new Stage(await this.opened(limits))
  }

  async close(): Promise<void> {
    await Promise.all(this.#opened.map((storage) => storage.close()))
  }

  /** The bytes of every file in it, by name. */
  bytes(): Record<string, Buffer> {
    return Object.fromEntries(readdirSync(this.path).map((name) => [name, readFileSync(join(this.path, name))]))
  }

  /** The files in which any of `texts` stands. */
  holding(...texts: readonly string[]): string[] {
    return Object.entries(this.bytes()).flatMap(([name, bytes]) =>
      texts.some((text) => bytes.includes(text)) ? [name] : [],
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
    rmSync(this.path, { recursive: true, force: true })
  }
}
