/** Storage in PostgreSQL, which several nodes may share: operations run on a pool of connections, each in a transaction of its own. */
import { FanfareError } from '../protocol/codes.ts'
import type { MessageId, UserId } from '../protocol/ids.ts'
import { ask, type Client, Connections } from './postgres/connections.ts'
import { Trouble, toCaller } from './postgres/errors.ts'
import { nameOf, opened } from './postgres/opening.ts'
import { admitting, changesIn, plan, type Way } from './postgres/plan.ts'
import { type Isolation, transaction, Unanswered } from './postgres/transaction.ts'
import { AnswersInOrder, type Lanes, type Ticket, WaitingLines } from './postgres/turns.ts'
import { type Nouns, type Operations, operations } from './sql/operations.ts'
import type { Steps } from './sql/steps.ts'
import {
  DatabaseUnusable,
  type MessageStorage,
  type Storage,
  type StorageLimits,
  type StorageObserver,
  type UserChannelStorage,
} from './storage.ts'

/** So often an operation is tried again that another one was in the way of. */
const tries = 5
/** While the database fails, what has waited so long for those before it is not tried: one after another would wait as long again. */
const patienceMs = 5_000

/**
 * Opens the database at `url`, and makes its tables where they are missing. Rejects with `DatabaseUnusable` when it can't be reached or used,
 * or is of a newer version; then nothing was changed. What is asked for while the database is away is `unavailable`, and all goes on when it
 * is there again.
 */
export async function openPostgres(
  url: string,
  limits: StorageLimits,
  observer: StorageObserver,
): Promise<SharedStorage> {
  const connections = new Connections(url)
  const database = new PostgresDatabase(connections, operations(limits), observer)
  try {
    const name = await opened(url, nameOf)
    await connections.open()
    return {
      ...database.nouns(),
      name,
      // It is another one when the database comes back in another life.
      get epoch() {
        return connections.epoch
      },
      // Each operation has a connection of its own.
      inOrder: false,
      get position() {
        return connections.position
      },
      whenReplaced(begin) {
        connections.replaced = begin
      },
      close: () => database.close(),
    }
  } catch (error) {
    await connections.close()
    throw error instanceof Trouble ? new DatabaseUnusable(`PostgreSQL: ${error.message}`) : error
  }
}

/** Storage that several nodes share. */
export interface SharedStorage extends Storage {
  /** What all nodes know the database by among themselves. No client is told it. */
  readonly name: string
}

type AnyVerb = (...args: never[]) => Steps<unknown>

/** An operation that is under way. */
interface Asked<R> {
  /** In which database it was asked for. In another one it is neither done nor answered: what it was asked with is not of that. */
  readonly database: string
  /** Answers the caller at once, so that callers are told in the order in which it is called. */
  answer(result: R): void
}

class PostgresDatabase {
  readonly #connections: Connections
  readonly #operations: Operations
  readonly #observer: StorageObserver
  readonly #lines = new WaitingLines()
  readonly #answers = new AnswersInOrder()
  /** Whether the database has failed an operation, and done none since. */
  #failing = false
  #underWay = 0
  #whenIdle: (() => void) | null = null
  #closing: Promise<void> | null = null

  constructor(connections: Connections, operations: Operations, observer: StorageObserver) {
    this.#connections = connections
    this.#operations = operations
    this.#observer = observer
  }

  nouns(): Nouns {
    const nouns = Object.entries(this.#operations as unknown as Record<string, Record<string, AnyVerb>>)
    const ways = plan as unknown as Record<string, Record<string, Way<never[]>>>
    const ready = nouns.map(([noun, verbs]) => [
      noun,
      Object.fromEntries(
        Object.entries(verbs).map(([verb, steps]) => {
          const way = ways[noun]?.[verb] as Way<never[]>
          return [verb, (...args: never[]) => this.#do(way.lanes(...args), way.isolation, () => steps(...args))]
        }),
      ),
    ])
    return this.#withChanges(this.#withListeners(Object.fromEntries(ready) as Nouns))
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#underWay > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve
      })
    }
    await this.#connections.close()
  }

  /** Whose lane a listener's admission belongs in is known only when the name has been looked up; it is looked up again then. */
  #withListeners(nouns: Nouns): Nouns {
    const { admitListener } = this.#operations.userChannels
    const { isolation } = plan.userChannels.admitListener
    const text = 'SELECT "user" FROM user_channel WHERE name = $1'
    const admit: UserChannelStorage['admitListener'] = (name, since) =>
      this.#answered(async (asked) => {
        const [channel] = await this.#use(asked, (client) => ask<{ user: UserId }>(client, text, name))
        const steps = () => admitListener(name, since)
        if (channel) await this.#inLanes(admitting(channel.user), () => this.#tried(isolation, steps, asked))
        else asked.answer(null)
      })
    return { ...nouns, userChannels: { ...nouns.userChannels, admitListener: admit } }
  }

  /** Which conversation a message is in is known only when it has been looked up, and that when all is done that its actor asked for before. */
  #withChanges(nouns: Nouns): Nouns {
    const { messages } = this.#operations
    const ways = plan.messages
    const text = 'SELECT conversation FROM message WHERE id = $1'
    const change = <R>(lanes: Lanes, isolation: Isolation, message: MessageId, steps: () => Steps<R>): Promise<R> =>
      this.#answered((asked) =>
        this.#inLanes(lanes, async () => {
          const [found] = await this.#use(asked, (client) => ask<{ conversation: number }>(client, text, message))
          const changes = changesIn(found?.conversation ?? null)
          await this.#inLanes(changes, () => this.#tried(isolation, steps, asked))
        }),
      )
    const edit: MessageStorage['edit'] = (...args) =>
      change(ways.edit.lanes(...args), ways.edit.isolation, args[1], () => messages.edit(...args))
    const remove: MessageStorage['delete'] = (...args) =>
      change(ways.delete.lanes(...args), ways.delete.isolation, args[1], () => messages.delete(...args))
    return { ...nouns, messages: { ...nouns.messages, edit, delete: remove } }
  }

  #do<R>(lanes: Lanes, isolation: Isolation, steps: () => Steps<R>): Promise<R> {
    return this.#answered((asked) => this.#inLanes(lanes, () => this.#tried(isolation, steps, asked)))
  }

  /** The promise that a caller gets. */
  #answered<R>(work: (asked: Asked<R>) => Promise<void>): Promise<R> {
    return new Promise((resolve, reject) => {
      if (this.#closing) return reject(new FanfareError('unavailable', 'the storage is closed'))
      this.#underWay++
      const { database } = this.#connections
      const answer = (result: R) => {
        if (database === this.#connections.database) resolve(result)
        else reject(new FanfareError('unavailable', elsewhere))
      }
      work({ database, answer })
        .catch((error: unknown) => {
          if (error instanceof Trouble && error.isOutside) this.#observer.failed(1, `PostgreSQL: ${error.message}`)
          reject(toCaller(error, error instanceof Unanswered ? unanswered : undefined))
        })
        .finally(() => {
          this.#underWay--
          if (this.#underWay === 0) this.#whenIdle?.()
        })
    })
  }

  #inLanes(lanes: Lanes, work: () => Promise<void>): Promise<void> {
    const askedAt = performance.now()
    return this.#lines.run(lanes, async () => {
      if (this.#failing && performance.now() - askedAt > patienceMs) {
        throw new Trouble(new Error('it has failed those before, which this one waited for'))
      }
      await work()
    })
  }

  async #tried<R>(isolation: Isolation, steps: () => Steps<R>, asked: Asked<R>): Promise<void> {
    for (let left = tries; ; left--) {
      try {
        return await this.#once(isolation, steps(), asked)
      } catch (error) {
        if (!(error instanceof Trouble && error.isPassing) || left === 1) throw error
      }
    }
  }

  async #once<R>(isolation: Isolation, steps: Steps<R>, asked: Asked<R>): Promise<void> {
    const { database } = asked
    let ticket: Ticket | undefined
    const logging = {
      asked: () => {
        ticket = this.#answers.enter()
      },
      placed: (position: number) => {
        if (ticket) this.#answers.place(ticket, position)
      },
      reached: (position: number) => this.#connections.told(database, position),
    }
    try {
      const begunAt = performance.now()
      const result = await this.#use(asked, (client) => transaction(client, isolation, steps, logging))
      this.#failing = false
      this.#observer.committed(1, performance.now() - begunAt)
      if (ticket?.entry) this.#connections.told(database, ticket.entry.position)
      await this.#answers.committed(ticket, () => asked.answer(result))
    } catch (error) {
      if (ticket) this.#answers.leave(ticket)
      throw error
    }
  }

  async #use<R>({ database }: Asked<never>, work: (client: Client) => Promise<R>): Promise<R> {
    try {
      return await this.#connections.use(database, work)
    } catch (error) {
      if (error instanceof Trouble && error.isOutside) this.#failing = true
      throw error
    }
  }
}

/** What the caller of an operation gets that was done in a database which is not there any more. */
const elsewhere = 'another database has taken the place of the one that this was asked of: nothing was stored in it'

/** What the caller of an operation gets whose commit was not answered. */
const unanswered =
  'the database went away while it stored this, so nobody knows whether it did; asked again with the same client_id it is done once'
