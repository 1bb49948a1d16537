/** The storage seam as it runs inside the worker: the same operations, each synchronous. */
import { FanfareError } from '../../protocol/codes.ts'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { EventStorage, EventsRead, LogPlace, Missed, Place, ReadEvent, Storage } from '../storage.ts'
import { seat } from './access.ts'
import { SqliteConversations } from './conversations.ts'
import type { Database } from './database.ts'
import { prune } from './log.ts'
import { SqliteMessages } from './messages.ts'
import { missedSince } from './missed.ts'
import { SqliteReadMarkers } from './read-markers.ts'
import { readAt, readEvents } from './replay.ts'
import { SqliteUserChannels, SqliteUsers } from './users.ts'

type Sync<Group> = {
  [Name in keyof Group]: Group[Name] extends (...args: infer A) => Promise<infer R> ? (...args: A) => R : never
}

/** The seam's groups of operations, by noun. */
export type Nouns = Pick<Storage, 'conversations' | 'messages' | 'readMarkers' | 'events' | 'users' | 'userChannels'>

export type Operations = { [Noun in keyof Nouns]: Sync<Nouns[Noun]> }

class SqliteEvents implements Sync<EventStorage> {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  list(actor: UserId, conversation: ConversationId, afterSeq: number, limit: number): (ReadEvent & { place: Place })[] {
    return readEvents(this.#db, actor, seat(this.#db, actor, conversation).conversation, afterSeq, limit)
  }

  missed(user: UserId, since: LogPlace): Missed | null {
    return missedSince(this.#db, user, since)
  }

  read(user: UserId, positions: readonly number[]): EventsRead | null {
    return readAt(this.#db, user, positions)
  }

  prune(before: number, limit: number): number {
    return prune(this.#db, before, limit)
  }

  probe(): void {
    this.#db.touch()
  }
}

export function operations(db: Database): Operations {
  return {
    conversations: new SqliteConversations(db),
    messages: new SqliteMessages(db),
    readMarkers: new SqliteReadMarkers(db),
    events: new SqliteEvents(db),
    users: new SqliteUsers(db),
    userChannels: new SqliteUserChannels(db),
  }
}

/** What an operation failed with, as it goes to the other thread. A fault that is no `FanfareError` keeps only its text. */
export type Failure = { readonly code: 'fault'; readonly message: string } | ReturnType<FanfareError['toJSON']>

export function failure(error: unknown): Failure {
  if (error instanceof FanfareError) return error.toJSON()
  return { code: 'fault', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}
