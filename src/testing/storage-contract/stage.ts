/** What the suite's tests play on: one database, a clock that they set, and operations of which only what matters is said. */
import { randomUUID } from 'node:crypto'
import { expect } from 'vitest'
import { type ErrorBody, FanfareError } from '../../protocol/codes.ts'
import type { Args } from '../../protocol/commands.ts'
import type { ConversationId, MessageId, UserChannelId, UserId } from '../../protocol/ids.ts'
import type { Message, Metadata, RecordEvent, Timestamp, UserChannel } from '../../protocol/records.ts'
import type {
  Act,
  LogEntry,
  MessageChanges,
  NewConversation,
  NewMessage,
  NewUserChannel,
  Storage,
  StorageLimits,
  Written,
} from '../../storage/storage.ts'

/** A database of one test's own, which goes when the test ends. */
export interface OpenedStorage extends AsyncDisposable {
  readonly storage: Storage
  /** Closes the storage, and opens the same database again. */
  reopen(): Promise<Storage>
}

export type OpenStorage = (limits: StorageLimits) => Promise<OpenedStorage>

export const alice: UserId = 'user/alice'
export const bob: UserId = 'user/bob'
export const carol: UserId = 'user/carol'
export const dave: UserId = 'user/dave'

/** The latest page of anything that the tests make. */
export const all = 1_000_000

export class Stage {
  /** Milliseconds: what the next act takes as its time. Each act moves it on by a second. */
  now = Date.UTC(2026, 0, 1)
  storage: Storage
  readonly #opened: OpenedStorage

  constructor(opened: OpenedStorage) {
    this.#opened = opened
    this.storage = opened.storage
  }

  async reopen(): Promise<void> {
    this.storage = await this.#opened.reopen()
  }

  [Symbol.asyncDispose](): PromiseLike<void> {
    return this.#opened[Symbol.asyncDispose]()
  }

  act(actor: UserId, known = 0): Act {
    const at = this.now
    this.now += 1_000
    return { actor, at, known }
  }

  create(actor: UserId, participants: readonly UserId[], more: Partial<NewConversation> = {}) {
    return this.storage.conversations.create(this.act(actor), {
      id: newId('conversation'),
      participants,
      admins: [],
      title: null,
      metadata: {},
      distinct: false,
      clientId: null,
      ...more,
    })
  }

  /** Makes a conversation of which only the id matters. */
  async conversation(actor: UserId, participants: readonly UserId[]): Promise<ConversationId> {
    return (await this.create(actor, participants)).result.conversation.id
  }

  say(actor: UserId, conversation: ConversationId, body: string, more: Partial<NewMessage> = {}) {
    return this.storage.messages.create(this.act(actor), {
      id: newId('message'),
      conversation,
      body,
      metadata: {},
      attachment: null,
      clientId: null,
      ...more,
    })
  }

  /** Makes a message of which only the record matters. */
  async message(actor: UserId, conversation: ConversationId, body: string, more: Partial<NewMessage> = {}) {
    return (await this.say(actor, conversation, body, more)).result.message
  }

  edit(actor: UserId, message: MessageId, changes: Partial<MessageChanges>) {
    return this.storage.messages.edit(this.act(actor), message, {
      body: undefined,
      metadata: undefined,
      attachment: undefined,
      revision: undefined,
      clientId: null,
      ...changes,
    })
  }

  delete(actor: UserId, message: MessageId) {
    return this.storage.messages.delete(this.act(actor), message)
  }

  update(actor: UserId, conversation: ConversationId, title: string | null | undefined, metadata?: Metadata) {
    return this.storage.conversations.update(this.act(actor), conversation, title, metadata)
  }

  add(actor: UserId, conversation: ConversationId, ...users: UserId[]) {
    return this.storage.conversations.addParticipants(this.act(actor), conversation, users)
  }

  remove(actor: UserId, conversation: ConversationId, ...users: UserId[]) {
    return this.storage.conversations.removeParticipants(this.act(actor), conversation, users)
  }

  leave(actor: UserId, conversation: ConversationId) {
    return this.remove(actor, conversation, actor)
  }

  end(actor: UserId, conversation: ConversationId) {
    return this.storage.conversations.delete(this.act(actor), conversation)
  }

  read(actor: UserId, conversation: ConversationId, message: MessageId) {
    return this.storage.readMarkers.move(this.act(actor), conversation, message)
  }

  get(actor: UserId, conversation: ConversationId) {
    return this.storage.conversations.get(actor, conversation)
  }

  async messages(
    actor: UserId,
    conversation: ConversationId,
    range: Pick<Args<'get_messages'>, 'before_seq' | 'after_seq' | 'before_time'> = {},
    limit = all,
  ): Promise<readonly Message[]> {
    return (await this.storage.messages.list(actor, conversation, limit, range)).messages
  }

  /** What the user is told again of the conversation, above `afterSeq`. */
  async events(actor: UserId, conversation: ConversationId, afterSeq = 0, limit = all): Promise<RecordEvent[]> {
    return (await this.storage.events.list(actor, conversation, afterSeq, limit)).map(({ data }) => data)
  }

  async unread(actor: UserId, conversation: ConversationId): Promise<number> {
    return (await this.get(actor, conversation)).user_conversation.unread_count
  }

  async channel(user: UserId, name: string): Promise<Required<UserChannel>> {
    const fresh = this.fresh(name)
    return (await this.storage.userChannels.current(user, fresh)).userChannel
  }

  rotate(user: UserId, name: string, revoke = false) {
    const act = this.act(user)
    return this.storage.userChannels.rotate(act, { id: newId('user_channel'), name, at: act.at }, revoke)
  }

  fresh(name: string): NewUserChannel {
    return { id: newId('user_channel'), name, at: this.act(alice).at }
  }
}

/** No limits, so that a test says which one it is about. */
export async function openStage(open: OpenStorage, limits: Partial<StorageLimits> = {}): Promise<Stage> {
  return new Stage(await open({ maxParticipants: 0, maxConversationsPerUser: 0, ...limits }))
}

interface MadeIds {
  conversation: ConversationId
  message: MessageId
  user_channel: UserChannelId
}

export function newId<Kind extends keyof MadeIds>(kind: Kind): MadeIds[Kind] {
  return `${kind}/${randomUUID()}` as MadeIds[Kind]
}

export function time(at: number): Timestamp {
  return new Date(at).toISOString()
}

/** The entry of an operation that must have made one. */
export function entryOf({ entry }: Written<unknown>): LogEntry {
  expect(entry, 'the operation made no event').not.toBeNull()
  return entry as LogEntry
}

export function seqOf(written: Written<unknown>): number | undefined {
  return entryOf(written).place?.seq
}

/** Everyone whom the entry tells something, with what he is told, by user id. Nobody may be told twice. */
export function told(entry: LogEntry, known: readonly UserId[] = []): Record<UserId, RecordEvent> {
  const tellings = entry.tellings.flatMap(({ to, data }) =>
    (to === 'participants' ? (entry.membership?.participants ?? known) : to).map((user) => [user, data] as const),
  )
  const users = tellings.map(([user]) => user)
  expect(users, 'somebody is told twice').toEqual([...new Set(users)])
  return Object.fromEntries(tellings.toSorted(([a], [b]) => (a < b ? -1 : 1)))
}

/** What an operation was refused with. Anything that isn't an error of the contract is a fault, and fails the test. */
export async function refusal(operation: Promise<unknown>): Promise<ErrorBody> {
  const error = await operation.then(
    () => expect.fail('it was not refused'),
    (reason: unknown) => reason,
  )
  if (error instanceof FanfareError) return error.toJSON()
  throw error
}

export async function codeOf(operation: Promise<unknown>): Promise<string> {
  return (await refusal(operation)).code
}
