/** Watches one session: holds each frame, in the moment in which the server sends it, against what is true in that moment. */
import { isDeepStrictEqual } from 'node:util'
import { decodeCursor } from '../../../src/engine/cursor.ts'
import type { EventFrame, GapFrame, ReplyFrame, TypingFrame } from '../../../src/protocol/frames.ts'
import type { ConversationId, MessageId, UserId } from '../../../src/protocol/ids.ts'
import type { Message } from '../../../src/protocol/records.ts'
import { type TypingSet, typingExpiryMs } from '../../../src/protocol/typing.ts'
import { asJson, type Entry } from './log.ts'
import type { Talk } from './talk.ts'
import type { Truth } from './truth.ts'

type Pushed = EventFrame | TypingFrame | GapFrame

/** Who watches what: the session's user, and how it came. */
export interface Watched {
  readonly user: UserId
  /** The name that a listener came by; null for a session with a token. */
  readonly channel: string | null
  /** The cursor that it goes on from. */
  readonly since: string | null
  readonly now: () => number
  /**
   * How far its server, and how far all of them, say that they have heard of the log: of what came later they may not know yet (R1).
   * Infinite for one that is alone, which knows all.
   */
  readonly known: () => { readonly here: number; readonly everywhere: number }
  /** Told of each frame that ought not to have been sent. */
  readonly report: (violation: string) => void
}

export class Witness {
  readonly #truth: Truth
  readonly #watched: Watched
  /** Commands that have not been answered, by id. */
  readonly #asked = new Map<number, { command: string; args: Record<string, unknown>; text: string }>()
  /** Who types where, as the session was told, and since which seq its user takes part: who is added again watches no longer. */
  readonly #typing = new Map<ConversationId, { readonly set: TypingSet; readonly from: number | undefined }>()
  /** What is in the log above this is to be sent, or was; null until it is connected. */
  #base: number | null = null
  readonly #told = new Set<Entry>()
  /** The last place told in each conversation; of a server that is alone, in the log, for it tells all in the log's order. */
  readonly #reached = new Map<Talk | null, number>()
  /** Conversations that its user was told to be out of, and messages that he was told to be deleted. */
  readonly #out = new Set<ConversationId>()
  readonly #deleted = new Set<MessageId>()
  /** Whether so much has waited for it once that it may not have been told of typing (S6). */
  #mayMissTyping = false
  /** The rotation of its user's channel that it has come after, or has asked for. */
  #rotatedAt = 0

  constructor(truth: Truth, watched: Watched) {
    this.#truth = truth
    this.#watched = watched
  }

  asked(id: number, command: string, args: Record<string, unknown>): void {
    this.#asked.set(id, { command, args, text: JSON.stringify(args) })
  }

  get mayMissTyping(): boolean {
    return this.#mayMissTyping
  }

  fellBehind(): void {
    this.#mayMissTyping = true
  }

  sent(text: string): void {
    const frame = JSON.parse(text) as ReplyFrame | Pushed
    this.#requireSecrecy(text, frame)
    if ('id' in frame) this.#reply(frame)
    else if ('gap' in frame) this.#report('R4 less than 500 events were missed, and a gap was told', text)
    else if (frame.event === 'typing') this.#typed(frame, text)
    else this.#event(frame as EventFrame, text)
  }

  /** What was to be told and was not; null where there is nothing. */
  get lacking(): Entry | null {
    return this.#next(Number.POSITIVE_INFINITY) ?? null
  }

  /** The session has nothing more to come now: what was to be told must have been. */
  requireAllTold(): void {
    const next = this.lacking
    if (next) this.#report('R2, E3 a session that is up to date was never told of', JSON.stringify(next.data))
  }

  #report(what: string, text: string): void {
    this.#watched.report(`${what}: ${this.#watched.user} ${text}`)
  }

  get #isAlone(): boolean {
    return this.#watched.known().here === Number.POSITIVE_INFINITY
  }

  /** The first entry up to `position` that was not told and must be, of one conversation or of all. */
  #next(position: number, talk?: Talk | null): Entry | undefined {
    if (this.#base === null) return undefined
    const { user, channel } = this.#watched
    const next = this.#truth.nextFor(user, this.#base, this.#told, channel !== null, talk)
    return next && next.position <= position ? next : undefined
  }

  #requireSecrecy(text: string, frame: ReplyFrame | Pushed): void {
    const { user, channel } = this.#watched
    // A reply is of the moment in which the database has answered.
    const known = 'id' in frame ? Number.POSITIVE_INFINITY : this.#watched.known().here
    for (const canary of this.#truth.goneIn(text, known, this.#deleted)) {
      this.#report(`E4 ${canary} is gone and was sent`, text)
    }
    const channels = this.#truth.channelsSince(user, known)
    const isGreeting = 'id' in frame && this.#asked.get(frame.id)?.command === 'connect'
    if (channel !== null && !isGreeting && !channels.some(({ userChannel }) => userChannel.name === channel)) {
      this.#report('U6 a listener heard something by an old name', text)
    }
    if (this.#base !== null && !('id' in frame) && (channels[0]?.revokedAt ?? 0) > this.#rotatedAt) {
      this.#report('U7 a session heard something after it was revoked', text)
    }
    if ('error' in frame || isFarewell(frame)) return
    for (const [id] of text.matchAll(/conversation\/[0-9a-f-]{36}/g) as Iterable<[ConversationId]>) {
      if (!this.#mayHear(id, known)) this.#report('E5 something was sent of a conversation that he is not in', text)
      if (this.#out.has(id) && 'event' in frame && frame.event !== 'create') {
        this.#report('E5 something was sent of a conversation that he was told to be out of', text)
      }
    }
  }

  #mayHear(conversation: ConversationId, known: number): boolean {
    const { user } = this.#watched
    const talk = this.#truth.talks.get(conversation)
    return talk?.stay(user) !== undefined || (talk?.movedAt.get(user) ?? 0) > known
  }

  #reply(reply: ReplyFrame): void {
    const asked = this.#asked.get(reply.id)
    this.#asked.delete(reply.id)
    if (!asked) this.#report('W3 a command was answered twice, or never given', JSON.stringify(reply))
    if (!asked || !('result' in reply)) return
    const result = reply.result as { cursor: string; typing: TypingSet; resumed: boolean }
    const conversation = asked.args.conversation as ConversationId
    if (asked.command === 'connect') this.#connected(result)
    if (asked.command === 'rotate_user_channel') this.#rotatedAt = this.#rotation
    if (asked.command === 'ping') this.#reach(result.cursor, JSON.stringify(reply))
    if (asked.command === 'subscribe_typing') this.#watches(conversation, result.typing)
    if (asked.command === 'unsubscribe_typing') this.#typing.delete(conversation)
  }

  #connected({ cursor, resumed }: { cursor: string; resumed: boolean }): void {
    const { since } = this.#watched
    const goesOn = since !== null && positionOf(since) >= this.#truth.log.prunedTo
    if (resumed !== goesOn) this.#report(`R3, R5 resumed:${resumed}`, since ?? 'without a cursor')
    if (resumed && positionOf(cursor) !== positionOf(since ?? cursor))
      this.#report(`S3 ${since} was answered by`, cursor)
    // Who begins anew reads what is in the log by now from records; among others a server is behind with it.
    this.#base = resumed || this.#isAlone ? positionOf(cursor) : this.#truth.log.position
    this.#rotatedAt = this.#rotation
  }

  get #rotation(): number {
    return this.#truth.channel(this.#watched.user)?.rotatedAt ?? 0
  }

  /** Everything at or before a cursor was sent (R1). */
  #reach(cursor: string, text: string): void {
    const position = positionOf(cursor)
    const next = this.#next(position)
    if (next) this.#report(`R1 ${next.position} is not sent, and the cursor promises it`, text)
    if (this.#isAlone) this.#base = Math.max(this.#base ?? 0, position)
  }

  #event(frame: EventFrame, text: string): void {
    const { user, channel, known } = this.#watched
    const entry = this.#truth.log.toldBy(frame, user)
    const told = entry ? this.#truth.log.mayTell(entry, user, known().here) : []
    if (!entry || told.length === 0) {
      this.#report('E5, U2 an event was sent to who may not see it, or that never was', text)
      return
    }
    const place = entry.user ? {} : { conversation: entry.talk?.id, seq: entry.seq }
    const expected = told.map((data) => asJson({ event: data.event_type, data, ...place, cursor: frame.cursor }))
    if (!expected.some((one) => isDeepStrictEqual(frame, one))) {
      this.#report(`E3, E4, W4 an event was not told as ${JSON.stringify(expected)}`, text)
    }
    this.#inOrder(entry, frame.cursor, text)
    this.#reach(frame.cursor, text)
    const { data, conversation } = frame
    if (data.record_type === 'conversation' && conversation) {
      if (data.event_type === 'delete') this.#out.add(conversation)
      if (data.event_type === 'create') this.#out.delete(conversation)
    }
    if (channel !== null && data.record_type === 'user_channel')
      this.#report('U6 a listener heard of the channel', text)
    if (data.record_type !== 'message') return
    if (data.event_type === 'delete') this.#deleted.add(data.record.id)
    this.#message(data.record as Message, data.event_type, text)
  }

  /** Each event comes once, and none is passed over: one server alone tells all in the order of the log, several each conversation. */
  #inOrder(entry: Entry, cursor: string, text: string): void {
    const { position, seq, user } = entry
    const isAlone = this.#isAlone
    const talk = isAlone ? null : entry.talk
    const place = isAlone ? position : seq
    if (this.#told.has(entry)) this.#report('R2, E3 an event came twice', text)
    this.#told.add(entry)
    if (isAlone && positionOf(cursor) !== position) this.#report(`R1 the cursor is not that of ${position}`, text)
    // What concerns a user alone is a state that only moves forward, and so harmless when it comes late (W4).
    if (user && !isAlone) return
    const reached = Math.max(this.#reached.get(talk) ?? 0, isAlone ? (this.#base ?? 0) : 0)
    if (place <= reached) this.#report('R2, E3 an event came late', text)
    this.#reached.set(talk, place)
    const next = this.#next(position - 1, isAlone ? undefined : talk)
    if (next) this.#report(`R2, E3 ${JSON.stringify(next.data)} was passed over by`, text)
  }

  #message(message: Message, event: string, text: string): void {
    for (const { text: asked } of this.#asked.values()) {
      if (message.body !== '' && asked.includes(message.body)) this.#report('E3 an event came before its reply', text)
    }
    const typing = this.#toldOf(message.conversation)?.[message.created_by]
    if (
      event === 'create' &&
      !this.#mayMissTyping &&
      typing &&
      typing.event !== 'finished' &&
      typing.at < message.created_at
    ) {
      this.#report('T2 a message came before the end of its author’s typing', text)
    }
  }

  #typed({ data }: TypingFrame, text: string): void {
    const { user, now } = this.#watched
    // A node that falls silent is waited for, by those whom it has told last (T2).
    const longestMs = this.#isAlone ? typingExpiryMs : 2 * typingExpiryMs
    for (const [id, set] of Object.entries(data) as [ConversationId, TypingSet][]) {
      if (!this.#toldOf(id)) this.#report('T4 typing was sent to who does not watch it', text)
      this.#watches(id, set)
      if (user in set) this.#report('T4 somebody was sent his own typing', text)
      for (const [typist, { event, at }] of Object.entries(set)) {
        if (event === 'finished') continue
        if (this.#hasLongLeft(typist as UserId, id, at)) this.#report('T2 who has left is typing', text)
        if (now() - Date.parse(at) >= longestMs) this.#report('T2 a lease that has run out is typing', text)
      }
    }
  }

  /**
   * Whether he has gone, and everybody knows it. Among several nodes what was typed before, or on one that had a second to hear of it, may
   * be told late, by a broker that is late with its end too.
   */
  #hasLongLeft(typist: UserId, conversation: ConversationId, typedAt: string): boolean {
    const talk = this.#truth.talks.get(conversation)
    if (talk?.stay(typist)) return false
    const movedAt = talk?.movedAt.get(typist) ?? 0
    const left = this.#truth.log.entries.find(({ position }) => position === movedAt)
    return (
      this.#isAlone || (movedAt <= this.#watched.known().everywhere && Date.parse(typedAt) > (left?.at ?? 0) + 1_000)
    )
  }

  #watches(conversation: ConversationId, set: TypingSet): void {
    this.#typing.set(conversation, { set, from: this.#stayIn(conversation) })
  }

  /** Who types there by what it was last told; undefined where it does not watch. */
  #toldOf(conversation: ConversationId): TypingSet | undefined {
    const told = this.#typing.get(conversation)
    const { user, known } = this.#watched
    const movedAt = this.#truth.talks.get(conversation)?.movedAt.get(user) ?? 0
    return told?.from === this.#stayIn(conversation) || movedAt > known().here ? told?.set : undefined
  }

  #stayIn(conversation: ConversationId): number | undefined {
    return this.#truth.talks.get(conversation)?.stay(this.#watched.user)?.from
  }
}

/** Whether a frame says of a conversation no more than that it is over. */
function isFarewell(frame: ReplyFrame | Pushed): boolean {
  const gone = (value: unknown) =>
    Object.entries(value as object).every(([key, said]) => key === 'id' || (key === 'deleted' && said === true))
  if ('result' in frame) {
    const { conversation, ...others } = frame.result as { conversation?: unknown }
    return conversation !== undefined && Object.keys(others).length === 0 && gone(conversation)
  }
  if (!('data' in frame) || !('record_type' in frame.data)) return false
  const { record_type, event_type, record, original_record } = frame.data as EventFrame['data']
  return record_type === 'conversation' && event_type === 'delete' && gone(record) && gone(original_record)
}

/** The position that a cursor of this server names. */
function positionOf(cursor: string): number {
  const place = decodeCursor(cursor)
  if (!place) throw new Error(`${cursor} is no cursor`)
  return place.position
}
