/** Fills a database through the storage itself, before a server opens it: thousands of operations share a commit. */
import { encodeCursor } from '../src/engine/cursor.ts'
import { uuidv7 } from '../src/engine/ids.ts'
import type { ConversationId, UserId } from '../src/protocol/ids.ts'
import { openSqlite } from '../src/storage/sqlite.ts'
import type { Storage, StorageObserver } from '../src/storage/storage.ts'
import type { DataFolder } from './fanfare.ts'

/** A conversation, as much as one needs to know to write to it. */
export interface Filled {
  readonly id: ConversationId
  readonly author: UserId
  readonly version: number
}

/** Operations that are asked for at once. */
const batch = 2_000

export class Filling implements AsyncDisposable {
  readonly #storage: Storage
  #position: number

  private constructor(storage: Storage) {
    this.#storage = storage
    this.#position = storage.position
  }

  static async open(folder: DataFolder): Promise<Filling> {
    const limits = { maxParticipants: 0, maxConversationsPerUser: 0 }
    const observer: StorageObserver = { committed() {}, failed: (_operations, reason) => console.error(reason) }
    return new Filling(await openSqlite(folder.database, limits, observer))
  }

  /** Where the log stands now, as a client would be told. */
  get cursor(): string {
    return encodeCursor(this.#storage.epoch, this.#position)
  }

  /** Makes a conversation of each group; the first of a group is its creator. */
  conversations(groups: readonly (readonly UserId[])[]): Promise<Filled[]> {
    return inBatches(groups, async (participants) => {
      const author = participants[0]!
      const at = Date.now()
      const draft = { title: null, metadata: {}, admins: [], distinct: false, clientId: null }
      const { result, entry } = await this.#storage.conversations.create(
        { actor: author, at, known: 0 },
        { id: `conversation/${uuidv7(at)}`, participants, ...draft },
      )
      this.#position = Math.max(this.#position, entry!.position)
      return { id: result.conversation.id, author, version: entry!.membership!.version }
    })
  }

  /** Writes a message into each of these, one after another; one may be named often. */
  async messages(conversations: Iterable<Filled>): Promise<void> {
    await inBatches([...conversations], async ({ id, author, version }) => {
      const at = Date.now()
      const draft = { body: 'Hello', metadata: {}, attachment: null, clientId: null }
      const { entry } = await this.#storage.messages.create(
        { actor: author, at, known: version },
        { id: `message/${uuidv7(at)}`, conversation: id, ...draft },
      )
      this.#position = Math.max(this.#position, entry!.position)
    })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#storage.close()
  }
}

async function inBatches<T, R>(all: readonly T[], act: (one: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  for (let from = 0; from < all.length; from += batch) {
    results.push(...(await Promise.all(all.slice(from, from + batch).map(act))))
  }
  return results
}
