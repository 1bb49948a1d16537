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
  /** The position in the log of the rotation that made it; 0 for the user's first. */
  since: number
}

/** The log gives an entry its place. */
const unplaced = { position: 0, first: new Map(), scrubbedAt: 0 }

/** Texts that stand in one message only begin and end with this, so that they are found wherever they come up. */
const canary = /~\d+~/g

export class Truth {
  readonly log = new Log()
  readonly talks = new Map<ConversationId, Talk>()
  readonly profiles = new Map<UserId, User>()
  /** The message that each canary was written in. */
  readonly #written = new Map<string, MessageId>()
  /** The position in the log at which each message was deleted, alone or with all of its conversation. */
  readonly #goneAt = new Map<MessageId, number>()
  /** All that each user has had. */
  readonly #channels = new Map<UserId, Channel[]>()
  /** What each client_id stands for, by its user and command. */
  readonly #requests = new Map<string, ConversationId | MessageId>()
  /** What the operation under way has written to the log; the server says at which position. */
  #entry: Entry | null = null

  /** Writes an event of a conversation under the seq that it has reached. */
  append(at: number, talk: Talk, data: RecordEvent): void {
    if (data.record_type === 'message') this.#note(data.record)
    this.#entry = { ...unplaced, at, talk, seq: talk.lastSeq, user: null, data }
  }

  /** Writes an event that concerns the actor alone, be it about a conversation or not. */
  appendFor({ actor, at }: Act, talk: Talk | null, data: RecordEvent): void {
    this.#entry = { ...unplaced, at, talk, seq: talk?.lastSeq ?? 0, user: actor, data }
  }

  /** What the last operation has written to the log, which the server has put at `position`; null where it has written nothing. */
  takeEntry(position: number): Entry | null {
    const entry = this.#entry
    this.#entry = null
    if (entry) {
      entry.position = position
      this.log.entries.push(entry)
      const { talk, data, user } = entry
      talk?.moved(position)
      const audience = user ? [user] : (talk?.everybody ?? [])
      entry.first = new Map(audience.map((one) => [one, this.log.tells(entry, one)]))
      const channel = user && data.record_type === 'user_channel' ? this.channel(user) : undefined
      if (channel) channel.since = position
      if (talk && data.record_type === 'message' && data.event_type === 'delete') {
        this.log.scrub(talk, data.record.seq, position)
        this.#goneAt.set(data.record.id, position)
      }
      if (talk?.deleted && !user) {
        for (const { id } of talk.messages) this.#goneAt.set(id, this.#goneAt.get(id) ?? position)
        this.log.forget(talk)
      }
    }
    return entry
  }

  /** The first entry above `position`, and not `told`, that has something to tell the user now, and must be told; of `talk` if given. */
  nextFor(
    user: UserId,
    position: number,
    told: ReadonlySet<Entry>,
    isListener: boolean,
    talk?: Talk | null,
  ): Entry | undefined {
    return this.log.entries.find(
      (entry) =>
        entry.position > position &&
        !told.has(entry) &&
        (talk === undefined || (entry.talk === talk && !entry.user)) &&
        this.log.tells(entry, user) &&
        !this.log.mayLack(entry, user) &&
        !(isListener && entry.data.record_type === 'user_channel'),
    )
  }

  /**
   * The canaries in a text whose message is gone, or was never written. A server that has heard of the log up to `known` may still send
   * those that were gone later, though not to a session that it has told so.
   */
  goneIn(text: string, known: number, toldGone: ReadonlySet<MessageId>): string[] {
    return [...text.matchAll(canary)].flatMap(([found]) => {
      const message = this.#written.get(found)
      if (!message) return [found]
      const goneAt = this.#goneAt.get(message)
      return goneAt === undefined || (goneAt > known && !toldGone.has(message)) ? [] : [found]
    })
  }

  /** The user's channels that a server which has heard of the log up to `known` may hold for the present one, the earliest first. */
  channelsSince(user: UserId, known: number): Channel[] {
    const all = this.#channels.get(user) ?? []
    return all.slice(
      Math.max(
        0,
        all.findLastIndex(({ since }) => since <= known),
      ),
    )
  }

  /** The user's present channel; undefined before anything has asked for it. */
  channel(user: UserId): Channel | undefined {
    return this.#channels.get(user)?.at(-1)
  }

  channelNamed(name: string): Channel | undefined {
    const all = [...this.#channels.keys()].map((user) => this.channel(user))
    return all.find((channel) => channel?.userChannel.name === name)
  }

  setChannel(user: UserId, channel: Omit<Channel, 'since'>): Channel {
    const since = this.#channels.has(user) ? Number.POSITIVE_INFINITY : 0
    const made = { ...channel, since }
    this.#channels.set(user, [...(this.#channels.get(user) ?? []), made])
    return made
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

  #note({ id, body }: Message): void {
    for (const [found] of body.matchAll(canary)) this.#written.set(found, id)
  }
}
