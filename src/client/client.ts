/** The chat object that applications hold: the names of the pubsub contract, and one call for each command (C1–C3). */
import { FanfareError } from '../protocol/codes.ts'
import type { Args, CommandName, ConversationView, ProfileChanges, Result } from '../protocol/commands.ts'
import type { EventFrame } from '../protocol/frames.ts'
import type { ConversationId, MessageId, UserId } from '../protocol/ids.ts'
import type {
  Conversation,
  GoneConversation,
  Message,
  Metadata,
  Timestamp,
  User,
  UserChannel,
  UserConversation,
} from '../protocol/records.ts'
import type { TypingState } from '../protocol/typing.ts'
import {
  bindTypingIndicator,
  type TypingBinding,
  type TypingBindingOptions,
  type TypingElement,
} from './bind-typing-indicator.ts'
import { callEach } from './callbacks.ts'
import { Connection, type ConnectionState } from './connection.ts'
import { type EventCallback, Events, type GapCallback, type ResetCallback } from './events.ts'
import { platform, type Signal, type WebSocketClass } from './platform.ts'
import type { Token } from './token.ts'
import { Typing, type TypingCallback } from './typing.ts'

/** What `createChat` takes. Only `url` and `token` must be given. */
export interface ChatOptions {
  /** The server's address, `https://chat.example.com` for instance; `wss://` does as well. */
  readonly url: string
  /** Who the user is, as the application's backend says it: a token, or a function that gets one. */
  readonly token: Token
  /**
   * A `chat.cursor` that was kept from before: events that came since are given out first (R), to the callbacks that are subscribed in the
   * same turn. None unless given.
   */
  readonly cursor?: string | null | undefined
  /** How many calls may wait for a connection or for their reply; the next one rejects with `rate_limited`. 1,000 unless given. */
  readonly queueLimit?: number | undefined
  /** The WebSocket class, the platform's own unless given. Node 20 has none: give it `ws`'s. */
  readonly WebSocket?: WebSocketClass | undefined
}

/** The last argument of every call. */
export interface CallOptions {
  /**
   * Rejects the call with the signal's reason. A call that still waits is then never sent; one that was sent is not sent again, and may be
   * done all the same.
   */
  readonly signal?: Signal | undefined
}

/** The last argument of a call that makes or edits a record. */
export interface SendOptions extends CallOptions {
  /**
   * An id of 1–128 characters that the application chose for this call; the SDK makes one unless given. The same call with the same id,
   * whenever it is made, does nothing again and gives the record as it is (M3). The message and its events carry it as their `client_id`, so
   * a line that is shown before the server has it is known again, whichever comes first, the event or the reply.
   */
  readonly client_id?: string | undefined
}

/** The last argument of the calls that make a conversation. */
export interface ConversationOptions extends SendOptions {
  /** Who besides the caller is an admin; they must be among the participants. */
  readonly admins?: readonly UserRef[] | undefined
  /** Gives the conversation that exactly these participants have already, if they have one so made. False unless given. */
  readonly distinct_by_participants?: boolean | undefined
}

/** A record or its id. */
export type ConversationRef = ConversationId | { readonly id: ConversationId }
/** A record or its id. */
export type MessageRef = MessageId | { readonly id: MessageId }
/** A record or its id, which is `user/` and the name that the application gave. */
export type UserRef = UserId | { readonly id: UserId }

/** What may be given as `Metadata`: any object that is no list, also one whose type is an interface and so has no index signature. */
type Fields = Metadata | (object & { readonly [Symbol.iterator]?: never })
/** Arguments of which those that are `Metadata` may be given as `Fields`. */
type Given<A> = { [K in keyof A]: Metadata extends A[K] ? A[K] | Fields : A[K] }

/** Called with what `chat.state` has become. */
export type StateCallback = (state: ConnectionState) => void

/**
 * Connects to a Fanfare server, and stays connected until `close()`. Throws `invalid_argument` for an address that is none, and where
 * the platform has no WebSocket and none is given.
 *
 * ```ts
 * const chat = createChat({ url: 'https://chat.example.com', token: getToken })
 * chat.subscribe(({ record_type, event_type, record }) => console.log(record_type, event_type, record))
 * const { conversation } = await chat.createDirectConversation('user/bob')
 * await chat.createMessage(conversation, 'Hello!')
 *
 * async function getToken() {
 *   const reply = await fetch('/chat-token')
 *   if (reply.status === 401) return null // nobody is logged in any more: the chat ends
 *   if (!reply.ok) throw new Error(`no token: ${reply.status}`) // it is asked again
 *   return reply.text()
 * }
 * ```
 */
export function createChat(options: ChatOptions): Chat {
  return new Chat(options)
}

/**
 * One user's chat. Made by `createChat`.
 *
 * Each call sends one command. It gives what the reply holds: the thing itself where that is one (a message, a list of messages), the whole
 * result where it is several (`{conversation, created}`). It rejects with a `FanfareError`, whose `code` is one of the contract's.
 *
 * A connection that breaks is tried again until there is one (`state`, `onState`), and the chat goes on where it was:
 *
 * - Calls go out in the order in which they were made. Without a connection they wait for one, `queueLimit` of them at most. One that has
 *   no reply when the connection breaks goes out again, and is done once: what makes or edits a record has a `client_id` for that. Only
 *   `rotateUserChannel` is not repeated: it rejects with `unavailable`, and may have been done.
 * - Of the calls that change one conversation or send to it (or that change one message, or the profile) one at a time is on its way, so
 *   their order holds whatever happens to one of them. One that the server answers with `rate_limited` goes out again when the server says, one with
 *   `unavailable` up to five times more, within a minute; all behind it wait meanwhile.
 * - Events that were missed come to the callbacks first, in order and once (`subscribe`). What cannot be had any more is told (`onGap`,
 *   `onReset`).
 *
 * After `close()`, or when the state became `closed`, every call rejects; what was on its way then may have been done.
 */
export class Chat {
  readonly #connection: Connection
  readonly #typing: Typing
  readonly #events: Events
  readonly #stateCallbacks = new Set<StateCallback>()
  readonly #bindings = new Map<TypingBinding, ConversationId>()

  constructor({ url, token, cursor, WebSocket = platform.WebSocket, queueLimit = 1_000 }: ChatOptions) {
    if (!/^(http|ws)s?:\/\//.test(url)) {
      throw new FanfareError(
        'invalid_argument',
        `url must begin with http://, https://, ws:// or wss://, not "${url}".`,
      )
    }
    if (!WebSocket) {
      throw new FanfareError(
        'invalid_argument',
        'There is no WebSocket here. Give a class, that of the package ws for instance.',
      )
    }
    this.#connection = new Connection(
      { url, token, WebSocket, queueLimit },
      {
        cursor: () => this.#events.cursor,
        reached: (reached) => this.#events.reached(reached),
        reset: () => this.#events.reset(),
        connected: () => this.#typing.connected(),
        disconnected: () => this.#typing.disconnected(),
        event: (frame) => {
          this.#typing.event(frame)
          this.#events.receive(frame)
        },
        gap: (gap) => this.#events.receiveGap(gap),
        typing: (data) => this.#typing.receive(data),
        state: (state) => callEach(this.#stateCallbacks, state, () => state === this.state),
      },
    )
    this.#events = new Events(this.#connection, cursor ?? undefined)
    this.#typing = new Typing(this.#connection)
  }

  /** How the chat is connected now: the same object until it changes. */
  get state(): ConnectionState {
    return this.#connection.state
  }

  /** Calls `callback` at each change of `state`, until the function that is returned is called. */
  onState(callback: StateCallback): () => void {
    this.#stateCallbacks.add(callback)
    return () => this.#stateCallbacks.delete(callback)
  }

  /** Who the token says that this is; null before there was a session. */
  get user(): UserId | null {
    return this.#connection.user
  }

  /**
   * Where this chat stands, to be kept and given to `createChat` later; null before there was a session. All at or before it has been given
   * to the callbacks: in a callback it is behind the event at hand. So while something that is missing is fetched, it stays before that.
   */
  get cursor(): string | null {
    return this.#events.cursor ?? null
  }

  /** Ends the connection, the bindings and everything that waits: calls reject with `unavailable`. Calling it again does nothing. */
  close(): void {
    for (const binding of this.#bindings.keys()) binding.unbind()
    this.#connection.close()
  }

  /**
   * Calls `callback` with each record event that comes from now on: those of the user's conversations, and those of the user's own.
   *
   * Those of a conversation come once, in order, none left out, whatever happens to connections. Where one is missing the later ones of its
   * conversation wait until it was fetched; those of other conversations do not. Events of the user's own (`user_conversation`,
   * `user_channel`, `user`) come at least once.
   *
   * A callback that is subscribed twice is called once. One that throws does no harm to others. Returns a function that unsubscribes it.
   */
  subscribe(callback: EventCallback): () => void {
    this.#events.callbacks.add(callback)
    return () => this.unsubscribe(callback)
  }

  /** Ends what `subscribe` began, for one callback, or without one for all. */
  unsubscribe(callback?: EventCallback): void {
    if (callback) this.#events.callbacks.delete(callback)
    else this.#events.callbacks.clear()
  }

  /**
   * Calls `callback` with `{conversation, after_seq, before_seq}` when events of a conversation are missing and cannot be fetched, because
   * the server keeps them no longer or fails: those between the two, neither included. The events behind come after it. The messages are
   * there all the same: `getMessages(conversation, {after_seq, before_seq})`. What was missed of a conversation that its `delete` ends is
   * not told. Returns a function that ends it.
   */
  onGap(callback: GapCallback): () => void {
    this.#events.gapCallbacks.add(callback)
    return () => this.#events.gapCallbacks.delete(callback)
  }

  /**
   * Calls `callback` when a session could not go on from the cursor, because it is too old or the server's data are others. What happened
   * meanwhile is not told: get anew whatever is shown. Events from then on come as usual. Returns a function that ends it.
   */
  onReset(callback: ResetCallback): () => void {
    this.#events.resetCallbacks.add(callback)
    return () => this.#events.resetCallbacks.delete(callback)
  }

  /**
   * Tells the others in a conversation that the user types (`begin`), rests (`pause`) or is done (`finished`). Nobody answers, and without
   * a connection it is dropped. While typing goes on, say `begin` once a second; what is not said again for five ends. An application
   * seldom calls this: `bindTypingIndicator` does.
   */
  sendTypingIndicator(conversation: ConversationRef, state: TypingState): void {
    this.#connection.send('typing', { conversation: idOf(conversation), event: state })
  }

  /**
   * Calls `callback` with who is typing in a conversation, oneself excepted: now, and at each change. It gets the whole set,
   * `{"user/id": {event, at}}`, at most 20 users; who has just finished is in it once as `finished`, and who is not in it isn't typing. The
   * set empties when the connection is lost or the user leaves the conversation, and by this machine's clock where an end fails to come.
   * Where the conversation is not the user's the callback isn't called; the server is asked again in the next session, and when the user is
   * added to the conversation. Of more than 100 conversations the last wait, until others are unsubscribed.
   * Returns a function that unsubscribes the callback.
   */
  subscribeTypingIndicator(conversation: ConversationRef, callback: TypingCallback): () => void {
    this.#typing.subscribe(idOf(conversation), callback)
    return () => this.unsubscribeTypingIndicator(conversation, callback)
  }

  /** Ends what `subscribeTypingIndicator` began in a conversation, for one callback, or without one for all. */
  unsubscribeTypingIndicator(conversation: ConversationRef, callback?: TypingCallback): void {
    this.#typing.unsubscribe(idOf(conversation), callback)
  }

  /**
   * Sends the typing indicator for what is written into an `<input>`, a `<textarea>` or a `contenteditable` element: `begin` at the first
   * change and at most once a second while typing goes on, `pause` after 3 s without a change, `finished` when the element is emptied or
   * left, when the page is, when `createMessage` sends to the conversation, and at the end. Returns a function that ends it.
   */
  bindTypingIndicator(
    conversation: ConversationRef,
    element: TypingElement,
    options?: TypingBindingOptions,
  ): () => void {
    const id = idOf(conversation)
    const typist = {
      send: (state: TypingState) => this.sendTypingIndicator(id, state),
      intervalMs: () => this.#connection.settings.typing_interval_ms,
    }
    const binding = bindTypingIndicator(element, typist, options)
    this.#bindings.set(binding, id)
    return () => {
      this.#bindings.delete(binding)
      binding.unbind()
    }
  }

  /**
   * Makes a conversation of the caller, who becomes an admin, and `participants`: 10,000 at most, a `title` of at most 1 KiB (null unless
   * given), and `metadata` of at most 8 KiB (`{}` unless given). The operator may have set other limits, here and elsewhere; what passes
   * one is `too_large`. `created` is false where
   * `distinct_by_participants` found the one that there is, and where the call went out again because its first reply was lost. Errors:
   * `invalid_argument`, `too_large`, `forbidden` where only the application's backend makes conversations.
   */
  createConversation(
    participants: readonly UserRef[],
    title?: string | null,
    metadata?: Fields,
    options: ConversationOptions = {},
  ): Promise<{ conversation: Conversation; created: boolean }> {
    const { admins, distinct_by_participants, client_id, signal } = options
    const args = {
      participants: idsOf(participants),
      title,
      metadata,
      admins: admins && idsOf(admins),
      distinct_by_participants,
      client_id: client_id ?? newClientId(),
    }
    return this.#connection.call('create_conversation', args, { signal })
  }

  /**
   * Gives the one conversation of the caller and `user` alone, and makes it if there is none yet: `createConversation` with
   * `distinct_by_participants`. A conversation that was there keeps its title and metadata.
   */
  createDirectConversation(
    user: UserRef,
    title?: string | null,
    metadata?: Fields,
    options?: SendOptions,
  ): Promise<{ conversation: Conversation; created: boolean }> {
    return this.createConversation([user], title, metadata, { ...options, distinct_by_participants: true })
  }

  /** Gives a conversation, the caller's own side of it, and its latest message. Errors: `not_found`. */
  getConversation(conversation: ConversationRef, options?: CallOptions): Promise<ConversationView> {
    return this.#connection.call('get_conversation', { conversation: idOf(conversation) }, options)
  }

  /**
   * Gives the caller's conversations, latest activity first: a page of at most `limit`, from the one after `before`, which is the last
   * conversation of the page before, or an `updated_at` to stay below. A page has 50 unless given, and at most 200. Errors:
   * `invalid_argument`.
   */
  getConversations(
    page: { readonly limit?: number | undefined; readonly before?: ConversationRef | Timestamp | undefined } = {},
    options?: CallOptions,
  ): Promise<ConversationView[]> {
    const before = page.before && idOf<string>(page.before)
    return this.#pick('get_conversations', 'conversations', { ...page, before }, options)
  }

  /** Changes a conversation's title or metadata; what is left out stays. Errors: `not_found`, `forbidden` to who is no admin, `too_large`. */
  updateConversation(
    conversation: ConversationRef,
    changes: Given<Omit<Args<'update_conversation'>, 'conversation'>>,
    options?: CallOptions,
  ): Promise<Conversation> {
    return this.#pick('update_conversation', 'conversation', { ...changes, conversation: idOf(conversation) }, options)
  }

  /** Leaves a conversation, and gives what is left of it: `{id}`. Errors: `not_found`. */
  leaveConversation(conversation: ConversationRef, options?: CallOptions): Promise<GoneConversation> {
    return this.#pick('leave_conversation', 'conversation', { conversation: idOf(conversation) }, options)
  }

  /** Deletes a conversation for all who are in it, and gives `{id, deleted: true}`. Errors: `not_found`, `forbidden` to who is no admin. */
  deleteConversation(conversation: ConversationRef, options?: CallOptions): Promise<GoneConversation> {
    return this.#pick('delete_conversation', 'conversation', { conversation: idOf(conversation) }, options)
  }

  /**
   * Adds participants, who may read all that was written before. Who is there already stays so. Errors: `not_found`, `forbidden` to who is
   * no admin, `conflict` in a distinct conversation, `too_large`.
   */
  addParticipants(
    conversation: ConversationRef,
    participants: readonly UserRef[],
    options?: CallOptions,
  ): Promise<Conversation> {
    const args = { conversation: idOf(conversation), participants: idsOf(participants) }
    return this.#pick('add_participants', 'conversation', args, options)
  }

  /**
   * Removes participants, who get nothing of the conversation any more. Gives `{id}` to who removed himself too. Errors: `not_found`,
   * `forbidden` to who is no admin and removes somebody else.
   */
  removeParticipants(
    conversation: ConversationRef,
    participants: readonly UserRef[],
    options?: CallOptions,
  ): Promise<Conversation | GoneConversation> {
    const args = { conversation: idOf(conversation), participants: idsOf(participants) }
    return this.#pick('remove_participants', 'conversation', args, options)
  }

  /** Makes participants admins. Errors: `not_found`, `forbidden` to who is no admin, `invalid_argument` for who takes no part. */
  addAdmins(conversation: ConversationRef, admins: readonly UserRef[], options?: CallOptions): Promise<Conversation> {
    const args = { conversation: idOf(conversation), admins: idsOf(admins) }
    return this.#pick('add_admins', 'conversation', args, options)
  }

  /** Makes admins plain participants. Errors: `not_found`, `forbidden` to who is no admin. */
  removeAdmins(
    conversation: ConversationRef,
    admins: readonly UserRef[],
    options?: CallOptions,
  ): Promise<Conversation> {
    const args = { conversation: idOf(conversation), admins: idsOf(admins) }
    return this.#pick('remove_admins', 'conversation', args, options)
  }

  /**
   * Gives a page of a conversation's participants by user id, from the one after `after`, and who of them is an admin. A page has 50 unless
   * `limit` says otherwise, and at most 200. Errors: `not_found`, `invalid_argument`.
   */
  getParticipants(
    conversation: ConversationRef,
    page: { readonly limit?: number | undefined; readonly after?: UserRef | undefined } = {},
    options?: CallOptions,
  ): Promise<{ participants: UserId[]; admins: UserId[] }> {
    const args = { ...page, after: page.after && idOf(page.after), conversation: idOf(conversation) }
    return this.#connection.call('get_participants', args, options)
  }

  /**
   * Sends a message, and gives it as it stands on the server's disk. Its `body` has at most 16 KiB of UTF-8, `metadata` (`{}` unless given)
   * and `attachment` (null unless given) at most 8 KiB each. The bound inputs of the conversation are `finished` by it. Without a
   * connection it waits for one; it is there once, however often it had to be sent. Errors: `not_found`, `invalid_argument`, `too_large`,
   * `rate_limited` when too many calls wait, `unavailable` when the server could not do it for long.
   */
  createMessage(
    conversation: ConversationRef,
    body: string,
    metadata?: Fields,
    attachment?: Fields | null,
    options?: SendOptions,
  ): Promise<Message> {
    const id = idOf(conversation)
    for (const [binding, bound] of this.#bindings) if (bound === id) binding.finish()
    const args = { conversation: id, body, metadata, attachment, client_id: options?.client_id ?? newClientId() }
    return this.#pick('create_message', 'message', args, options)
  }

  /**
   * Changes a message of one's own: its body, or with an object whatever it names of `body`, `metadata` and `attachment`. With the `revision` that one has seen, the message is only
   * changed if nobody did so since. Errors: `not_found`, `forbidden` to others than the author, `conflict` (a stale `revision`, or a
   * deleted message), `too_large`.
   */
  editMessage(
    message: MessageRef,
    changes: string | Given<Omit<Args<'edit_message'>, 'message' | 'client_id'>>,
    options?: SendOptions,
  ): Promise<Message> {
    const changed = typeof changes === 'string' ? { body: changes } : changes
    const args = { ...changed, message: idOf(message), client_id: options?.client_id ?? newClientId() }
    return this.#pick('edit_message', 'message', args, options)
  }

  /** Deletes a message, one's own or as an admin any, and gives its tombstone, also if it was deleted before. Errors: `not_found`, `forbidden`. */
  deleteMessage(message: MessageRef, options?: CallOptions): Promise<Message> {
    return this.#pick('delete_message', 'message', { message: idOf(message) }, options)
  }

  /**
   * Gives a page of a conversation's messages, tombstones included: newest first, with `after_seq` oldest first. `before_seq` and
   * `after_seq` are a message's `seq`, not included, and `before_time` is a time. A page has 50 messages unless `limit` says
   * otherwise, and at most 200. Errors: `not_found`, `invalid_argument`.
   */
  getMessages(
    conversation: ConversationRef,
    page: Omit<Args<'get_messages'>, 'conversation'> = {},
    options?: CallOptions,
  ): Promise<Message[]> {
    return this.#pick('get_messages', 'messages', { ...page, conversation: idOf(conversation) }, options)
  }

  /**
   * Gives the record events of a conversation after `after_seq`, oldest first, as they were pushed. A page has 50 unless `limit` says
   * otherwise, and at most 200. Errors: `not_found`, `invalid_argument`, `conflict` where the server does not keep them any more: then get
   * the messages.
   */
  getEvents(
    conversation: ConversationRef,
    page: Omit<Args<'get_events'>, 'conversation'>,
    options?: CallOptions,
  ): Promise<EventFrame[]> {
    return this.#pick('get_events', 'events', { ...page, conversation: idOf(conversation) }, options)
  }

  /** Moves the caller's read marker to a message; it never moves back. Errors: `not_found`. */
  markAsLastMessageRead(
    conversation: ConversationRef,
    message: MessageRef,
    options?: CallOptions,
  ): Promise<UserConversation> {
    const args = { conversation: idOf(conversation), message: idOf(message) }
    return this.#pick('mark_as_last_message_read', 'user_conversation', args, options)
  }

  /** Gives how many conversations have something unread, and how many messages are; 100 of a conversation means 100 or more. */
  getUnreadCount(options?: CallOptions): Promise<{ conversation: number; message: number }> {
    return this.#connection.call('get_unread_count', {}, options)
  }

  /**
   * Changes the caller's own profile; what is left out stays. A `name` has at most 1 KiB, an `avatar_url` 2 KiB, `metadata` 8 KiB. Errors:
   * `invalid_argument` where nothing is given, `too_large`.
   */
  updateUser(changes: Given<ProfileChanges>, options?: CallOptions): Promise<User> {
    return this.#pick('update_user', 'user', changes, options)
  }

  /** Gives the profiles of at most 100 users; those of users with whom the caller shares no conversation are empty. Errors: `too_large`. */
  getUsers(users: readonly UserRef[], options?: CallOptions): Promise<User[]> {
    return this.#pick('get_users', 'users', { users: idsOf(users) }, options)
  }

  /** Gives the caller's own user channel with its `name`, which is a secret: who holds it can listen. */
  getUserChannel(options?: CallOptions): Promise<UserChannel> {
    return this.#pick('get_user_channel', 'user_channel', {}, options)
  }

  /**
   * Gives the user channel a new name, so that who holds only the old one is cut off; sessions with a token go on. With `revoke` all other
   * sessions of the user are closed, and tokens that were made before are refused ("log out everywhere"): a chat whose `token` is a
   * function asks it for a new one. False unless given. Errors: `unavailable`, after which it may have been done: it is not repeated when
   * the connection breaks before the reply.
   */
  rotateUserChannel(
    { revoke }: { readonly revoke?: boolean | undefined } = {},
    options?: CallOptions,
  ): Promise<UserChannel> {
    return this.#pick('rotate_user_channel', 'user_channel', { revoke }, options)
  }

  async #pick<N extends CommandName, K extends keyof Result<N>>(
    command: N,
    key: K,
    args: Args<N>,
    options: CallOptions | undefined,
  ): Promise<Result<N>[K]> {
    const result = await this.#connection.call(command, args, options)
    return result[key]
  }
}

/**
 * The time, then 96 random bits. Later ones sort later, so that a server's index of them grows at its end and isn't written all over.
 * `crypto.randomUUID` is not there in pages without https.
 */
function newClientId(): string {
  const bytes = platform.crypto.getRandomValues(new Uint8Array(12))
  return Date.now().toString(36) + Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** What is neither is left for the server to refuse. */
function idOf<I extends string>(ref: I | { readonly id: I }): I {
  return (ref as { readonly id?: I })?.id ?? (ref as I)
}

/** What is no list is left for the server to refuse. */
function idsOf(refs: readonly UserRef[]): UserId[] {
  return refs?.map?.(idOf<UserId>) ?? refs
}
