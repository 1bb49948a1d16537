/**
 * The seam between the engine and a database: the operations that the engine needs, grouped by noun.
 *
 * Every operation is one transaction, or a part of one that a savepoint keeps apart. It checks the caller's rights in that same
 * transaction, so that nothing can change between the check and the write, and rejects with a `FanfareError`; then nothing was
 * changed. A promise of an operation that writes resolves only when it is on disk.
 *
 * Promises resolve in the order of the log: of two operations on one conversation, the one with the lower `seq` first.
 *
 * Whoever may not see a thing gets `not_found`, the same as if it did not exist. Every adapter passes the suite in
 * `src/testing/storage-contract.ts`.
 */
import type { Args, ConversationView, ProfileChanges, Result } from '../protocol/commands.ts'
import type { Gap } from '../protocol/frames.ts'
import type { ConversationId, MessageId, UserChannelId, UserId } from '../protocol/ids.ts'
import type { Conversation, Metadata, RecordEvent, UserChannel } from '../protocol/records.ts'

/** What an adapter tells whoever watches over the server, by plain calls that return at once and never throw. */
export interface StorageObserver {
  /** So many operations were done together, in so long a time from their being sent to the database to its answer. */
  committed(operations: number, ms: number): void
  /** So many operations were not done, since nothing can be stored just now; nobody was told otherwise. */
  failed(operations: number, reason: string): void
}

/** The users who take part in a conversation as of one `version`; each change of participants makes a new version. */
export interface Membership {
  readonly version: number
  /** All of them, by user id. Left out where the caller has said that it knows this version. */
  readonly participants?: readonly UserId[]
}

/** One event as one part of its audience is told it (E5). */
export interface Telling {
  /** `'participants'`: all of the entry's membership. */
  readonly to: 'participants' | readonly UserId[]
  readonly data: RecordEvent
}

/** An entry of the event log, just committed. */
export interface LogEntry {
  /** Where it stands in the log; later entries stand higher. */
  readonly position: number
  /** The position of the entry before it in its conversation; 0 where there is none. */
  readonly previous: number
  /** Where it stands in its conversation; null for an event that concerns one user alone (W4). */
  readonly place: Place | null
  /** The participants as of this entry; null where `place` is. Of a deleted conversation there are none. */
  readonly membership: Membership | null
  readonly tellings: readonly Telling[]
  /** What the entry ends, where it is a rotation's (U6, U7). */
  readonly rotation?: Rotation
}

/** A user has a new channel name: who came by the old one goes, and where it revokes, who came by a token of before (U6, U7). */
export interface Rotation {
  readonly user: UserId
  /** When the new name was made (milliseconds). Each rotation of a user has a later one than the one before. */
  readonly rotatedAt: number
  readonly revoke: boolean
}

/** What an operation that writes gives back: its result, and its log entry unless nothing changed. */
export interface Written<R> {
  readonly result: R
  readonly entry: LogEntry | null
}

/** A record event as it is read back from the log by one user (M5, R2). */
export interface ReadEvent {
  readonly position: number
  /** Null for an event that concerns its user alone. */
  readonly place: Place | null
  readonly data: RecordEvent
}

/** Where an event stands in its conversation. */
export interface Place {
  readonly conversation: ConversationId
  readonly seq: number
}

/** A place in the log that a client was told of. */
export interface LogPlace {
  /** In which opening of which database: a copy that went its own way since is another one (R5). */
  readonly epoch: string
  readonly position: number
}

/** What a user missed (R2, R4). It is told in this order: `gaps`, `events`, the events at `positions`, `gapsAfter`. */
export interface Missed {
  /** Every entry up to here is in it. Where other nodes write too, some that were answered may stand beyond: they are asked for from here. */
  readonly upTo: number
  /** No cursor may go beyond this before `gapsAfter` is told: of what comes behind, something was left out. `upTo` where there is none. */
  readonly wholeTo: number
  /** What was left out of conversations where too much was missed. */
  readonly gaps: readonly Gap[]
  /** The first of the events, in the order of the log. */
  readonly events: readonly ReadEvent[]
  /** Where the others stand. */
  readonly positions: readonly number[]
  /** What was left out behind the events, where there were too many in all. */
  readonly gapsAfter: readonly Gap[]
}

/** An entry of the log as a node finds it that was not told of it. */
export interface FollowedEntry {
  readonly position: number
  /** Null where it concerns `user` alone. */
  readonly place: Place | null
  readonly user: UserId | null
}

/** What is in the log behind a place. */
export interface Followed {
  /** All entries up to here are among them: none will come any more that stands before it. */
  readonly upTo: number
  readonly entries: readonly FollowedEntry[]
}

/** The first of the events that were asked for, as many as are read at once. */
export interface EventsRead {
  readonly events: readonly ReadEvent[]
  /** How many of the positions were read; some may have had nothing to tell any more. */
  readonly read: number
}

/** Where an operation stands: who does it, when (milliseconds), and which version of the membership this node knows (0: none). */
export interface Act {
  readonly actor: UserId
  readonly at: number
  readonly known: number
}

export interface NewConversation {
  readonly id: ConversationId
  readonly participants: readonly UserId[]
  readonly admins: readonly UserId[]
  readonly title: string | null
  readonly metadata: Metadata
  readonly distinct: boolean
  readonly clientId: string | null
}

export interface NewMessage {
  readonly id: MessageId
  readonly conversation: ConversationId
  readonly body: string
  readonly metadata: Metadata
  readonly attachment: Metadata | null
  readonly clientId: string | null
}

/** What an edit changes; what is undefined stays. */
export interface MessageChanges {
  readonly body: string | undefined
  readonly metadata: Metadata | undefined
  readonly attachment: Metadata | null | undefined
  /** The revision that the editor saw; another one now is `conflict`. */
  readonly revision: number | undefined
  readonly clientId: string | null
}

export interface ConversationStorage {
  /** Creates it, or finds the one of the same participants (`distinct`) or of the same `clientId` (M1). */
  create(act: Act, draft: NewConversation): Promise<Written<Result<'create_conversation'>>>
  get(actor: UserId, conversation: ConversationId): Promise<ConversationView>
  /** Latest activity first, below `before`: a conversation's id, or milliseconds. */
  list(actor: UserId, limit: number, before: ConversationId | number | null): Promise<ConversationView[]>
  update(
    act: Act,
    conversation: ConversationId,
    title: string | null | undefined,
    metadata: Metadata | undefined,
  ): Promise<Written<{ conversation: Conversation }>>
  delete(act: Act, conversation: ConversationId): Promise<Written<Result<'delete_conversation'>>>
  addParticipants(
    act: Act,
    conversation: ConversationId,
    users: readonly UserId[],
  ): Promise<Written<Result<'add_participants'>>>
  /** An admin removes anyone, everybody else himself. */
  removeParticipants(
    act: Act,
    conversation: ConversationId,
    users: readonly UserId[],
  ): Promise<Written<Result<'remove_participants'>>>
  /** Makes participants admins, or takes that from them. */
  setAdmins(
    act: Act,
    conversation: ConversationId,
    users: readonly UserId[],
    admin: boolean,
  ): Promise<Written<Result<'add_admins'>>>
  /** By user id, above `after`. */
  participants(
    actor: UserId,
    conversation: ConversationId,
    limit: number,
    after: UserId | null,
  ): Promise<Result<'get_participants'>>
  /** All participants, for the server's own use; `not_found` when there is no such conversation. */
  membership(conversation: ConversationId): Promise<Membership>
}

export interface MessageStorage {
  /** Also moves the author's read marker, with no event (M6). */
  create(act: Act, draft: NewMessage): Promise<Written<Result<'create_message'>>>
  edit(act: Act, message: MessageId, changes: MessageChanges): Promise<Written<Result<'edit_message'>>>
  /** Leaves a tombstone and scrubs the content from the log (E4). */
  delete(act: Act, message: MessageId): Promise<Written<Result<'delete_message'>>>
  /** Newest first; oldest first where `range.after_seq` is given (M5). */
  list(
    actor: UserId,
    conversation: ConversationId,
    limit: number,
    range: Pick<Args<'get_messages'>, 'before_seq' | 'after_seq' | 'before_time'>,
  ): Promise<Result<'get_messages'>>
}

export interface ReadMarkerStorage {
  move(
    act: Act,
    conversation: ConversationId,
    message: MessageId,
  ): Promise<Written<Result<'mark_as_last_message_read'>>>
  unread(actor: UserId): Promise<Result<'get_unread_count'>>
}

export interface EventStorage {
  /**
   * The conversation's events above `afterSeq` that `actor` could see then and may see now, oldest first (M5). `conflict` where the first
   * of them are past retention.
   */
  list(
    actor: UserId,
    conversation: ConversationId,
    afterSeq: number,
    limit: number,
  ): Promise<(ReadEvent & { readonly place: Place })[]>
  /** What `user` missed since `since` (R2); null where the log can't go on from there (R5). */
  missed(user: UserId, since: LogPlace): Promise<Missed | null>
  /**
   * The events at these positions, in their order, that `user` could see then and may see now. Of a conversation that he has left it is
   * his leaving alone. Null where pruning has come before it.
   */
  read(user: UserId, positions: readonly number[]): Promise<EventsRead | null>
  /** The entries behind `position`, in the order of the log, the first `limit` of them. */
  since(position: number, limit: number): Promise<Followed>
  /**
   * What the entry at this position told, and whom, who came or went with it too: of those who were told it then all who may see it now.
   * Nothing where it is gone.
   */
  tellings(position: number): Promise<(Telling & { readonly to: readonly UserId[] })[]>
  /**
   * Takes the oldest entries out of the log that are from before `before` (milliseconds), `limit` at most; says how many they were. One that
   * is dated later than `now`, by a clock that was ahead, is as old as the next that is not.
   */
  prune(before: number, now: number, limit: number): Promise<number>
  /** Writes as a commit does, and changes nothing: resolves when something can be stored. */
  probe(): Promise<void>
}

export interface UserStorage {
  put(act: Act, changes: ProfileChanges): Promise<Written<Result<'update_user'>>>
  /** In the order asked for. What `viewer` may not see is as if it were empty (M7). */
  get(viewer: UserId, users: readonly UserId[]): Promise<Result<'get_users'>>
}

/** A channel that is made if there is none yet (U1). */
export interface NewUserChannel {
  readonly id: UserChannelId
  readonly name: string
  readonly at: number
}

/** A user's channel as it is now. */
export interface CurrentUserChannel {
  readonly userChannel: Required<UserChannel>
  /** When it was last rotated, or made (milliseconds). */
  readonly rotatedAt: number
  /** When it was last rotated with `revoke` (milliseconds); null when it never was (U7). */
  readonly revokedAt: number | null
}

/** What a session begins with, all of one moment. */
export interface Admitted extends CurrentUserChannel {
  /** What it missed since the place that it named. Null where it named none, or one that the log can't go on from (R5). */
  readonly missed: Missed | null
}

export interface UserChannelStorage {
  /** The user's current channel; made of `fresh` when there is none yet (U1). */
  current(user: UserId, fresh: NewUserChannel): Promise<CurrentUserChannel>
  /** The same; null where there is none yet. */
  find(user: UserId): Promise<CurrentUserChannel | null>
  /** The same as `current` for a session that begins, with what it missed since `since` (R2). */
  admit(user: UserId, fresh: NewUserChannel, since: LogPlace | null): Promise<Admitted>
  /** The same for whoever knows the name of a current channel; null when it is nobody's (U4). */
  admitListener(name: string, since: LogPlace | null): Promise<Admitted | null>
  /** Gives the channel the name of `fresh`, and with `revoke` puts an end to the tokens of before (U6, U7). */
  rotate(act: Act, fresh: NewUserChannel, revoke: boolean): Promise<Written<Result<'rotate_user_channel'>>>
}

export interface Storage {
  readonly conversations: ConversationStorage
  readonly messages: MessageStorage
  readonly readMarkers: ReadMarkerStorage
  readonly events: EventStorage
  readonly users: UserStorage
  readonly userChannels: UserChannelStorage
  /**
   * The name of the log's present epoch, which is a part of every place in it (`LogPlace`). Another one begins when the database is opened, or
   * when its server comes back.
   */
  readonly epoch: string
  /** The position of the latest entry when the database was opened, or took the place of the one before. */
  readonly position: number
  /** Whether all is answered in the order of the log: then what is read holds whatever was answered before it. */
  readonly inOrder: boolean
  /**
   * From now on `begin` is called each time that another database has taken the place of this one, so that no place in the log holds any more
   * (R5). It is called once `epoch` and `position` are those of the new one, and before anything is done in it. What was asked for before
   * and not answered is `unavailable`.
   */
  whenReplaced(begin: () => void): void
  /** Commits what was asked for before, then closes. What is asked for afterwards is `unavailable`. */
  close(): Promise<void>
}

/** Of what was missed in one conversation the latest are told, this many; a gap is told of the others (R4). */
export const missedPerConversation = 500
/** Of all that was missed in conversations the first are told, this many; then only gaps (R4). */
export const missedInAll = 10_000

/** Limits that must be checked inside a transaction (section L); 0 turns one off. */
export interface StorageLimits {
  readonly maxParticipants: number
  readonly maxConversationsPerUser: number
}

/** The database can't be used. The message is for the operator: what is wrong, what was kept, what to do. */
export class DatabaseUnusable extends Error {
  override readonly name = 'DatabaseUnusable'
}
