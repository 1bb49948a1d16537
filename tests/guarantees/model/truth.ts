/**
 * What is true at the server, kept by the plainest code that does what SPEC.md says: the files `true-…` do each operation of the storage
 * once more here, in the order in which they were committed, and `log` says what is to be told to whom.
 */
import { FanfareError } from '../../../src/protocol/codes.ts'
import type { ConversationId, MessageId, UserId } from '../../../src/protocol/ids.ts'
import type { Message, RecordEvent, User, UserChannel } from '../../../src/protocol/records.ts'
import type { Act } from '../../../src/storage/storage.ts'
import { type Entry, Log } from './log.ts'
import type { Talk } from './talk.ts'

export interface Channel {
  readonly userChannel: Required<UserChannel>
  readonly rotatedAt: number
  readonly revokedAt: number | null
}

/** Texts that stand in one message only begin and end with this, so that they are found wherever they come up. */
const canary = /~\d+~/g

export class Truth {
  readonly log = new Log()
  readonly talks = new Map<ConversationId, Talk>()
  readonly channels = new Map<UserId, Channel>()
  readonly profiles = new Map<UserId, User>()
  /** The message that each canary was written in. */
  readonly #written = new Map<string, { talk: Talk; message: MessageId }>()
  /** What each client_id stands for, by its user and command. */
  readonly #requests = new Map<string, ConversationId | MessageId>()
  /** What the operation under way has written to the log; the server says at which position. */
  #entry: Entry | null = null

  /** Writes an event of a conversation under the seq that it has reached. */
  append(at: number, talk: Talk, data: RecordEvent): void {
    if (data.record_type === 'message') this.#note(talk, data.record)
    this.#entry = { position: 0, at, talk, seq: talk.lastSeq, user: null, data }
  }

  /** Writes an event that concerns the actor alone, be it about a conversation or not. */
  appendFor({ actor, at }: Act, talk: Talk | null, data: RecordEvent): void {
    this.#entry = { position: 0, at, talk, seq: talk?.lastSeq ?? 0, user: actor, data }
  }

  /** What the last operation has written to the log, which the server has put at `position`; null where it has written nothing. */
  takeEntry(position: number): Entry | null {
    const entry = this.#entry
    this.#entry = null
    if (entry) {
      entry.position = position
      this.log.entries.push(entry)
      const { talk, data } = entry
      if (talk && data.record_type === 'message' && data.event_type === 'delete') this.log.scrub(talk, data.record.seq)
      if (talk?.deleted) this.log.forget(talk)
    }
    return entry
  }

  /** The first entry above `position` that has something to tell the user now, and must be told. */
  nextFor(user: UserId, position: number, isListener: boolean): Entry | undefined {
    return this.log.entries.find(
      (entry) =>
        entry.position > position &&
        this.log.tells(entry, user) &&
        !this.log.mayLack(entry, user) &&
        !(isListener && entry.data.record_type === 'user_channel'),
    )
  }

  /** The canaries in a text whose message is gone, or was never written. */
  goneIn(text: string): string[] {
    return [...text.matchAll(canary)].flatMap(([found]) => {
      const written = this.#written.get(found)
      const message = written?.talk.messages.find(({ id }) => id === written.message)
      return message && !message.deleted && !written?.talk.deleted ? [] : [found]
    })
  }

  /** What the client_id has made before; undefined where it comes for the first time, or there is none. */
  earlier(user: UserId, command: string, clientId: string | null): ConversationId | MessageId | undefined {
    return this.#requests.get(`${user} ${command} ${clientId}`)
  }

  remember(user: UserId, command: string, clientId: string | null, record: ConversationId | MessageId): void {
    if (clientId !== null) this.#requests.set(`${user} ${command} ${clientId}`, record)
  }

  /** The conversations that the user is in. */
  talksOf(user: UserId): Talk[] {
    return [...this.talks.values()].filter((talk) => talk.stay(user))
  }

  /** The conversation, for who is in it. */
  seat(user: UserId, id: ConversationId): Talk {
    const talk = this.talks.get(id)
    if (!talk?.stay(user)) throw new FanfareError('not_found', id)
    return talk
  }

  adminSeat(user: UserId, id: ConversationId): Talk {
    const talk = this.seat(user, id)
    if (!talk.stay(user)?.admin) throw new FanfareError('forbidden', id)
    return talk
  }

  /** The message, for who is in its conversation. */
  visible(user: UserId, id: MessageId): { talk: Talk; message: Message } {
    for (const talk of this.talksOf(user)) {
      const message = talk.messages.find((other) => other.id === id)
      if (message) return { talk, message }
    }
    throw new FanfareError('not_found', id)
  }

  #note(talk: Talk, { id, body }: Message): void {
    for (const [found] of body.matchAll(canary)) this.#written.set(found, { talk, message: id })
  }
}
