/** The records that clients see (E1). Keys are snake_case, as on the wire. */
import type { ConversationId, MessageId, UserChannelId, UserConversationId, UserId } from './ids.ts'

/** RFC 3339, UTC, milliseconds, `Z` (W8). */
export type Timestamp = string

/** What an application keeps beside a record. JSON of at most 8 KiB (section L), its numbers doubles (W9); the server never looks inside. */
export type Metadata = { readonly [key: string]: unknown }

/** A chat message. When `deleted`, it is a tombstone: `body` is empty, `metadata` is `{}` and `attachment` null (E4). */
export interface Message {
  readonly id: MessageId
  readonly conversation: ConversationId
  readonly created_by: UserId
  readonly created_at: Timestamp
  /** Moves with each edit and with the deletion. */
  readonly updated_at: Timestamp
  /** At most 16 KiB of UTF-8 (section L). */
  readonly body: string
  readonly metadata: Metadata
  /** What belongs to the message and lies elsewhere, in the application's own words; null where nothing does. */
  readonly attachment: Metadata | null
  /** The `seq` of its creation; it never changes (E2). */
  readonly seq: number
  /** 1, and one more with each edit and with the deletion. */
  readonly revision: number
  /** Null before the first edit. */
  readonly edited_at: Timestamp | null
  readonly edited_by: UserId | null
  readonly deleted: boolean
  /** What its author's client calls it: by that an application knows its own line again. Null where none was given. */
  readonly client_id: string | null
}

/** A conversation as each of its participants sees it. */
export interface Conversation {
  readonly id: ConversationId
  /** At most 1 KiB of UTF-8 (section L). */
  readonly title: string | null
  readonly metadata: Metadata
  /** The first 100 by user id; more come by `get_participants`. */
  readonly participants: readonly UserId[]
  /** The first 100 by user id. */
  readonly admins: readonly UserId[]
  readonly participant_count: number
  /** Whether it is the one conversation of exactly these participants (M1). */
  readonly distinct_by_participants: boolean
  /** The message created last, be it deleted since. */
  readonly last_message: MessageId | null
  /** The `seq` of the conversation's latest event of any kind (E2). */
  readonly last_seq: number
  readonly created_by: UserId
  readonly created_at: Timestamp
  /** Moves with each new message and each change of the conversation: what `get_conversations` orders by. */
  readonly updated_at: Timestamp
}

/** One user's side of a conversation; its events go to that user's own sessions only (E6). */
export interface UserConversation {
  readonly id: UserConversationId
  readonly user: UserId
  readonly conversation: ConversationId
  /** Others' messages behind the read marker that aren't deleted, counted to 100: 100 means 100 or more (M6). */
  readonly unread_count: number
  /** Null before anything was read. */
  readonly last_read_message: MessageId | null
  /** Never moves back. For one who was added later it starts at the `seq` of joining. */
  readonly last_read_seq: number
  readonly is_admin: boolean
}

/** A profile. Of somebody with whom one shares no conversation the fields are null and `metadata` is `{}` (M7). */
export interface User {
  readonly id: UserId
  readonly name: string | null
  readonly avatar_url: string | null
  readonly metadata: Metadata
  readonly updated_at: Timestamp | null
}

/** A user's private, rotatable channel (U1). In events it has no `name`, which only its owner gets, by asking (U5, U6). */
export interface UserChannel {
  readonly id: UserChannelId
  readonly user: UserId
  /** The secret by which one listens: 32 random bytes. */
  readonly name?: string
  readonly rotated_at: Timestamp
}

/** What is left of a conversation for who has left it, and of one that was deleted (E5). */
export interface GoneConversation {
  readonly id: ConversationId
  /** There where it was deleted for all. */
  readonly deleted?: true
}

/** Each record type with what stands in `record` and `original_record` of its events. */
export interface RecordTypes {
  message: Message
  conversation: Conversation | GoneConversation
  user_conversation: UserConversation
  user: User
  user_channel: UserChannel
}

/** What kind of record an event is about. */
export type RecordType = keyof RecordTypes
/** What happened to the record. */
export type EventType = 'create' | 'update' | 'delete'

/** What `subscribe` hands to its callback, and the `data` of a push: the same, key by key (W4). */
export type RecordEvent = {
  [T in RecordType]: {
    readonly record_type: T
    readonly event_type: EventType
    readonly record: RecordTypes[T]
    /** The record before the change for `update` and `delete`, null for `create` (E4). */
    readonly original_record: RecordTypes[T] | null
  }
}[RecordType]
