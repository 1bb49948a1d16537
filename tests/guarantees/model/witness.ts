/** Watches one session: holds each frame, in the moment in which the server sends it, against what is true in that moment. */
import { isDeepStrictEqual } from 'node:util'
import { decodeCursor } from '../../../src/engine/cursor.ts'
import type { EventFrame, GapFrame, ReplyFrame, TypingFrame } from '../../../src/protocol/frames.ts'
import type { ConversationId, UserId } from '../../../src/protocol/ids.ts'
import type { Message } from '../../../src/protocol/records.ts'
import { type TypingSet, typingExpiryMs } from '../../../src/protocol/typing.ts'
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
  /** Whether its queue may grow so long that it is not told of typing any more (S6). */
  readonly mayMissTyping: boolean
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
  /** Everything up to here was sent; null until it is connected. */
  #position: number | null = null
  /** The rotation of its user's channel that it has come after, or has asked for. */
  #rotatedAt = 0

  constructor(truth: Truth, watched: Watched) {
    this.#truth = truth
    this.#watched = watched
  }

  asked(id: number, command: string, args: Record<string, unknown>): void {
    this.#asked.set(id, { command, args, text: JSON.stringify(args) })
  }

  sent(text: string): void {
    const frame = JSON.parse(text) as ReplyFrame | Pushed
    this.#requireSecrecy(text, frame)
    if ('id' in frame) this.#reply(frame)
    else if ('gap' in frame) this.#report('R4 less than 500 events were missed, and a gap was told', text)
    else if (frame.event === 'typing') this.#typed(frame, text)
    else this.#event(frame as EventFrame, text)
  }

  /** The session has nothing more to come now: what was to be told must have been. */
  requireAllTold(): void {
    if (this.#position === null) return
    const next = this.#next()
    if (next) this.#report('R2, E3 a session that is up to date was never told of', JSON.stringify(next.data))
  }

  #report(what: string, text: string): void {
    this.#watched.report(`${what}: ${this.#watched.user} ${text}`)
  }

  get #channel() {
    return this.#truth.channels.get(this.#watched.user)
  }

  #next() {
    const { user, channel } = this.#watched
    return this.#truth.nextFor(user, this.#position ?? 0, channel !== null)
  }

  #requireSecrecy(text: string, frame: ReplyFrame | Pushed): void {
    const { user, channel } = this.#watched
    for (const canary of this.#truth.goneIn(text)) this.#report(`E4 ${canary} is gone and was sent`, text)
    const current = this.#channel
    const isGreeting = 'id' in frame && this.#asked.get(frame.id)?.command === 'connect'
    if (channel !== null && !isGreeting && channel !== current?.userChannel.name) {
      this.#report('U6 a listener heard something by an old name', text)
    }
    if (this.#position !== null && !('id' in frame) && (current?.revokedAt ?? 0) > this.#rotatedAt) {
      this.#report('U7 a session heard something after it was revoked', text)
    }
    if ('error' in frame || isFarewell(frame)) return
    for (const [id] of text.matchAll(/conversation\/[0-9a-f-]{36}/g)) {
      const talk = this.#truth.talks.get(id as ConversationId)
      if (!talk?.stay(user)) this.#report('E5 something was sent of a conversation that he is not in', text)
    }
  }

  #reply(reply: ReplyFrame): void {
    const asked = this.#asked.get(reply.id)
    this.#asked.delete(reply.id)
    if (!asked) this.#report('W3 a command was answered twice, or never given', JSON.stringify(reply))
    if (!asked || !('result' in reply)) return
    const result = reply.result as { cursor: string; typing: TypingSet; resumed: boolean }
    const conversation = asked.args.conversation as ConversationId
    if (asked.command === 'connect') this.#connected(result)
    if (asked.command === 'rotate_user_channel') this.#rotatedAt = this.#channel?.rotatedAt ?? 0
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
    this.#position = positionOf(cursor)
    this.#rotatedAt = this.#channel?.rotatedAt ?? 0
  }

  /** Everything at or before a cursor was sent (R1). */
  #reach(cursor: string, text: string): void {
    const position = positionOf(cursor)
    const next = this.#next()
    if (next && next.position <= position)
      this.#report(`R1 ${next.position} is not sent, and the cursor promises it`, text)
    this.#position = Math.max(this.#position ?? 0, position)
  }

  #event(frame: EventFrame, text: string): void {
    const { user, channel } = this.#watched
    const position = positionOf(frame.cursor)
    const entry = this.#truth.log.at(position)
    const told = entry && this.#truth.log.tells(entry, user)
    if (!entry || !told) {
      this.#report('E5, U2 an event was sent to who may not see it, or that never was', text)
      return
    }
    const place = entry.user ? {} : { conversation: entry.talk?.id, seq: entry.seq }
    const expected = { event: told.event_type, data: told, ...place, cursor: frame.cursor }
    if (!isDeepStrictEqual(frame, JSON.parse(JSON.stringify(expected)))) {
      this.#report(`E3, E4, W4 an event was not told as ${JSON.stringify(expected)}`, text)
    }
    if (position <= (this.#position ?? 0)) this.#report('R2, E3 an event came twice, or late', text)
    const next = this.#next()
    if (next && next.position < position) this.#report(`R2, E3 ${JSON.stringify(next.data)} was passed over by`, text)
    this.#position = position
    if (channel !== null && told.record_type === 'user_channel')
      this.#report('U6 a listener heard of the channel', text)
    if (told.record_type === 'message') this.#message(told.record as Message, told.event_type, text)
  }

  #message(message: Message, event: string, text: string): void {
    for (const { text: asked } of this.#asked.values()) {
      if (message.body !== '' && asked.includes(message.body)) this.#report('E3 an event came before its reply', text)
    }
    const typing = this.#toldOf(message.conversation)?.[message.created_by]
    if (
      event === 'create' &&
      !this.#watched.mayMissTyping &&
      typing &&
      typing.event !== 'finished' &&
      typing.at < message.created_at
    ) {
      this.#report('T2 a message came before the end of its author’s typing', text)
    }
  }

  #typed({ data }: TypingFrame, text: string): void {
    const { user, now } = this.#watched
    for (const [id, set] of Object.entries(data) as [ConversationId, TypingSet][]) {
      if (!this.#toldOf(id)) this.#report('T4 typing was sent to who does not watch it', text)
      this.#watches(id, set)
      if (user in set) this.#report('T4 somebody was sent his own typing', text)
      for (const [typist, { event, at }] of Object.entries(set)) {
        if (event === 'finished') continue
        if (!this.#truth.talks.get(id)?.stay(typist as UserId)) this.#report('T2 who has left is typing', text)
        if (now() - Date.parse(at) >= typingExpiryMs) this.#report('T2 a lease that has run out is typing', text)
      }
    }
  }

  #watches(conversation: ConversationId, set: TypingSet): void {
    this.#typing.set(conversation, { set, from: this.#stayIn(conversation) })
  }

  /** Who types there by what it was last told; undefined where it does not watch. */
  #toldOf(conversation: ConversationId): TypingSet | undefined {
    const told = this.#typing.get(conversation)
    return told?.from === this.#stayIn(conversation) ? told?.set : undefined
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
