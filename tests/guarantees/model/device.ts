/** A client that does what SPEC.md says and knows nothing else: it keeps what it reads, and goes on from where it was. */
import type { Args, CommandName, ConnectResult, ConversationView, Result } from '../../../src/protocol/commands.ts'
import type { EventFrame, PushFrame, ReplyFrame } from '../../../src/protocol/frames.ts'
import type { ConversationId, MessageId, UserId } from '../../../src/protocol/ids.ts'
import type {
  Conversation,
  Message,
  RecordEvent,
  User,
  UserChannel,
  UserConversation,
} from '../../../src/protocol/records.ts'
import type { TypingSet } from '../../../src/protocol/typing.ts'
import type { SocketPair } from '../../../src/testing/socket-pair.ts'
import type { Witness } from './witness.ts'

/** A conversation as the device holds it. */
interface Held {
  conversation: Conversation
  readonly messages: Map<MessageId, Message>
  lastReadSeq: number
}

interface Line {
  readonly pair: SocketPair
  readonly witness: Witness
}

export class Device {
  readonly user: UserId
  readonly name: string
  /** Of every push and greeting that it read, the latest last. */
  cursors: string[] = []
  /** Whether its session has begun and not ended. */
  online = false
  /** Who types where, of what it watches. */
  readonly typing = new Map<ConversationId, TypingSet>()
  readonly #report: (violation: string) => void
  #line: Line | null = null
  #textsRead = 0
  #lastId = 0
  #asked = new Map<number, { command: CommandName; args: object }>()

  readonly #held = new Map<ConversationId, Held>()
  /** The seq up to which each conversation was read, be it over or not. */
  readonly #reached = new Map<ConversationId, number>()
  #profile: User | null = null
  #channel: UserChannel | null = null
  /** What is still to be loaded. */
  #lacksList = true
  readonly #lacksHistory = new Set<ConversationId>()

  constructor(user: UserId, name: string, report: (violation: string) => void) {
    this.user = user
    this.name = name
    this.#report = (violation) => report(`${name} ${violation}`)
  }

  /** The wire that it is on; null where it is on none, or that has broken. */
  get line(): Line | null {
    return this.#line?.pair.ending ? null : this.#line
  }

  /** Whether it is up to date with nothing more to ask for. */
  get settled(): boolean {
    return this.online && !this.#lacksList && this.#lacksHistory.size === 0 && this.#asked.size === 0
  }

  get watched(): ConversationId[] {
    return [...this.typing.keys()]
  }

  /** Takes another wire; whatever was on the one before it reads no more. */
  connect(line: Line, proof: { token: string } | { channel: string }, cursor: string | null): void {
    this.#hangUp()
    this.#line = line
    this.say('connect', cursor === null ? proof : { ...proof, cursor })
  }

  say<N extends CommandName>(command: N, args: Args<N>): void {
    if (!this.line) return
    const id = ++this.#lastId
    this.#asked.set(id, { command, args })
    this.line.witness.asked(id, command, args as Record<string, unknown>)
    this.line.pair.say(JSON.stringify({ id, command, args }))
  }

  /** Reads what came on its wire. */
  read(): void {
    if (!this.#line) return
    const { texts, ending } = this.#line.pair
    while (this.#textsRead < texts.length) {
      const frame = JSON.parse(texts[this.#textsRead++] as string) as ReplyFrame | PushFrame
      if ('id' in frame) this.#reply(frame)
      else if ('gap' in frame) this.#report(`R4 was told of a gap: ${JSON.stringify(frame)}`)
      else if (frame.event !== 'typing') this.#event(frame)
      else for (const [id, set] of Object.entries(frame.data)) this.#type(id as ConversationId, set)
    }
    if (ending) this.#hangUp()
  }

  /** All that it holds, to be compared. */
  get state() {
    const conversations = [...this.#held.values()]
      .map((held) => ({ ...held, messages: [...held.messages.values()].sort((one, other) => one.seq - other.seq) }))
      .sort((one, other) => (one.conversation.id < other.conversation.id ? -1 : 1))
    return { conversations, profile: this.#profile, channel: this.#channel }
  }

  get conversations(): ConversationId[] {
    return [...this.#held.keys()]
  }

  /** Reads no more on its wire, and tells nobody. */
  abandon(): void {
    this.#hangUp()
  }

  #hangUp(): void {
    this.#line = null
    this.#textsRead = 0
    this.online = false
    this.#asked.clear()
    this.typing.clear()
  }

  #reply(reply: ReplyFrame): void {
    const asked = this.#asked.get(reply.id)
    this.#asked.delete(reply.id)
    const { command, args } = asked ?? { command: null, args: {} }
    const { conversation } = args as { conversation: ConversationId }
    const isWhole = command === 'get_messages' && !('after_seq' in args)
    if (!('result' in reply)) {
      // Who may not load it will be told that he has left, or was added again.
      if (isWhole) this.#lacksHistory.delete(conversation)
      return
    }
    const { result } = reply
    if (command === 'connect') this.#greeted(result as ConnectResult)
    if (command === 'ping') this.cursors.push((result as { cursor: string }).cursor)
    if (command === 'get_conversations') this.#listed(result as Result<'get_conversations'>)
    if (isWhole) this.#lacksHistory.delete(conversation)
    if (command === 'get_messages')
      for (const message of (result as { messages: Message[] }).messages) this.#putMessage(message)
    if (command === 'get_users') this.#putProfile((result as Result<'get_users'>).users[0] as User)
    if (command === 'get_user_channel') this.#putChannel((result as Result<'get_user_channel'>).user_channel)
    if (command === 'subscribe_typing') this.typing.set(conversation, {})
    if (command === 'subscribe_typing') this.#type(conversation, (result as { typing: TypingSet }).typing)
    if (command === 'unsubscribe_typing') this.typing.delete(conversation)
  }

  #greeted({ cursor, resumed, expires_at }: ConnectResult): void {
    this.online = true
    this.cursors.push(cursor)
    if (!resumed) this.#forget()
    // A listener may not ask for anything.
    if (expires_at === null) this.#lacksList = false
    if (this.#lacksList) {
      this.say('get_users', { users: [this.user] })
      this.say('get_user_channel', {})
      this.say('get_conversations', { limit: 200 })
    }
    for (const conversation of this.#lacksHistory) this.#load(conversation)
  }

  /** Nothing that it knows is known to hold any more (R5). */
  #forget(): void {
    this.#held.clear()
    this.#reached.clear()
    this.#lacksHistory.clear()
    this.#lacksList = true
  }

  #listed({ conversations }: { conversations: ConversationView[] }): void {
    this.#lacksList = false
    for (const { conversation, user_conversation } of conversations) {
      const reached = this.#reached.get(conversation.id) ?? 0
      if (reached > conversation.last_seq) continue
      const held = this.#held.get(conversation.id)
      this.#reached.set(conversation.id, conversation.last_seq)
      this.#held.set(conversation.id, {
        conversation,
        messages: held?.messages ?? new Map(),
        lastReadSeq: Math.max(held?.lastReadSeq ?? 0, user_conversation.last_read_seq),
      })
      this.#load(conversation.id)
    }
  }

  #load(conversation: ConversationId): void {
    this.#lacksHistory.add(conversation)
    this.say('get_messages', { conversation, limit: 200 })
  }

  #event(frame: EventFrame): void {
    this.cursors.push(frame.cursor)
    const { data, conversation, seq } = frame
    if (conversation === undefined || seq === undefined) {
      if (data.record_type === 'user_conversation') this.#mark(data.record)
      if (data.record_type === 'user') this.#putProfile(data.record)
      if (data.record_type === 'user_channel') this.#putChannel(data.record)
      return
    }
    const reached = this.#reached.get(conversation) ?? 0
    if (seq <= reached) return
    if (data.record_type === 'conversation' && data.event_type === 'delete') this.#left(conversation, seq)
    else if (data.record_type === 'conversation' && data.event_type === 'create') this.#joined(conversation, frame)
    else this.#changed(conversation, seq, data)
  }

  #changed(conversation: ConversationId, seq: number, data: RecordEvent): void {
    const held = this.#held.get(conversation)
    const reached = this.#reached.get(conversation) ?? 0
    if (!held) return
    if (seq !== reached + 1) this.#report(`E3 went from ${reached} to ${seq} in ${conversation}`)
    this.#reached.set(conversation, seq)
    if (data.record_type === 'conversation') {
      held.conversation = data.record as Conversation
    } else {
      const message = data.record as Message
      held.conversation = { ...held.conversation, last_seq: seq }
      this.#putMessage(message)
      if (data.event_type === 'create') this.#heard(held, message)
    }
  }

  #left(conversation: ConversationId, seq: number): void {
    this.#reached.set(conversation, seq)
    this.#held.delete(conversation)
    this.#lacksHistory.delete(conversation)
    this.typing.delete(conversation)
  }

  #joined(id: ConversationId, { data, seq = 0 }: EventFrame): void {
    this.#reached.set(id, seq)
    this.#held.set(id, { conversation: data.record as Conversation, messages: new Map(), lastReadSeq: seq })
    if (seq > 1) this.#load(id)
  }

  /** What a new message changes besides, with no event of its own (E2, M6). */
  #heard(held: Held, { id, created_at, created_by, seq }: Message): void {
    held.conversation = { ...held.conversation, last_message: id, updated_at: created_at }
    if (created_by === this.user) held.lastReadSeq = Math.max(held.lastReadSeq, seq)
  }

  #mark({ conversation, last_read_seq: seq }: UserConversation): void {
    const held = this.#held.get(conversation)
    if (held) held.lastReadSeq = Math.max(held.lastReadSeq, seq)
  }

  #putMessage(message: Message): void {
    const messages = this.#held.get(message.conversation)?.messages
    if ((messages?.get(message.id)?.revision ?? 0) < message.revision) messages?.set(message.id, message)
  }

  #putProfile(user: User): void {
    if ((user.updated_at ?? '') >= (this.#profile?.updated_at ?? '')) this.#profile = user
  }

  #putChannel({ id, user, rotated_at }: UserChannel): void {
    if (rotated_at >= (this.#channel?.rotated_at ?? '')) this.#channel = { id, user, rotated_at }
  }

  #type(conversation: ConversationId, set: TypingSet): void {
    const typing = Object.entries(set).filter(([, { event }]) => event !== 'finished')
    if (this.typing.has(conversation)) this.typing.set(conversation, Object.fromEntries(typing))
  }
}
