/**
 * Every command with its arguments and its result: the types that the server's table is checked against and that the SDK calls by.
 * The rules are M1–M8, T1, T4, U5–U8 and S1–S5.
 */

import type { EventFrame } from './frames.ts'
import type { ConversationId, MessageId, SessionId, UserId } from './ids.ts'
import type {
  Conversation,
  GoneConversation,
  Message,
  Metadata,
  Timestamp,
  User,
  UserChannel,
  UserConversation,
} from './records.ts'
import type { TypingSet, TypingState } from './typing.ts'

/** What a session is told when it connects (S3). */
export interface ConnectResult {
  readonly user: UserId
  readonly session: SessionId
  readonly cursor: string
  readonly resumed: boolean
  /** When the token ends; null for a listener, which has none. */
  readonly expires_at: Timestamp | null
  readonly settings: {
    readonly typing_interval_ms: number
    readonly typing_expiry_ms: number
    readonly ping_interval_ms: number
    readonly max_frame_bytes: number
  }
}

/** A conversation as its participant sees it: the record, the participant's own side, and the latest message. */
export interface ConversationView {
  readonly conversation: Conversation
  readonly user_conversation: UserConversation
  readonly last_message: Message | null
}

/** A profile's fields that can be set; what is left out stays. */
export interface ProfileChanges {
  name?: string | null | undefined
  avatar_url?: string | null | undefined
  metadata?: Metadata | undefined
}

type Empty = { readonly [key: string]: never }

/** Command name → arguments and result. */
export interface Commands {
  connect: {
    args: { token?: string | undefined; channel?: string | undefined; cursor?: string | undefined }
    result: ConnectResult
  }
  refresh_token: { args: { token: string }; result: { expires_at: Timestamp } }
  ping: { args: Empty; result: { cursor: string } }

  get_user_channel: { args: Empty; result: { user_channel: UserChannel } }
  /** `user` is for the backend, which names anyone (U8). */
  rotate_user_channel: {
    args: { user?: UserId | undefined; revoke?: boolean | undefined }
    result: { user_channel: UserChannel }
  }

  create_conversation: {
    args: {
      participants: UserId[]
      title?: string | null | undefined
      metadata?: Metadata | undefined
      admins?: UserId[] | undefined
      distinct_by_participants?: boolean | undefined
      client_id?: string | undefined
    }
    result: { conversation: Conversation; created: boolean }
  }
  get_conversation: { args: { conversation: ConversationId }; result: ConversationView }
  get_conversations: {
    /** `before`: a conversation of the page before, or the `updated_at` to stay below. */
    args: { limit?: number | undefined; before?: string | undefined }
    result: { conversations: ConversationView[] }
  }
  update_conversation: {
    args: { conversation: ConversationId; title?: string | null | undefined; metadata?: Metadata | undefined }
    result: { conversation: Conversation }
  }
  /** What is left of it for who has left: `{id}`. */
  leave_conversation: { args: { conversation: ConversationId }; result: { conversation: GoneConversation } }
  /** `{id, deleted:true}`. */
  delete_conversation: { args: { conversation: ConversationId }; result: { conversation: GoneConversation } }
  add_participants: {
    args: { conversation: ConversationId; participants: UserId[] }
    result: { conversation: Conversation }
  }
  remove_participants: {
    args: { conversation: ConversationId; participants: UserId[] }
    /** `{id}` for who has removed himself too, and so may not see more of it. */
    result: { conversation: Conversation | GoneConversation }
  }
  add_admins: { args: { conversation: ConversationId; admins: UserId[] }; result: { conversation: Conversation } }
  remove_admins: { args: { conversation: ConversationId; admins: UserId[] }; result: { conversation: Conversation } }
  get_participants: {
    args: { conversation: ConversationId; limit?: number | undefined; after?: UserId | undefined }
    /** By user id; `admins` are those among them. */
    result: { participants: UserId[]; admins: UserId[] }
  }

  create_message: {
    args: {
      conversation: ConversationId
      body: string
      metadata?: Metadata | undefined
      attachment?: Metadata | null | undefined
      client_id?: string | undefined
    }
    result: { message: Message }
  }
  edit_message: {
    args: {
      message: MessageId
      body?: string | undefined
      metadata?: Metadata | undefined
      attachment?: Metadata | null | undefined
      revision?: number | undefined
      client_id?: string | undefined
    }
    result: { message: Message }
  }
  delete_message: { args: { message: MessageId }; result: { message: Message } }
  get_messages: {
    args: {
      conversation: ConversationId
      limit?: number | undefined
      before_seq?: number | undefined
      after_seq?: number | undefined
      before_time?: Timestamp | undefined
    }
    result: { messages: Message[] }
  }
  get_events: {
    args: { conversation: ConversationId; after_seq: number; limit?: number | undefined }
    result: { events: EventFrame[] }
  }

  mark_as_last_message_read: {
    args: { conversation: ConversationId; message: MessageId }
    result: { user_conversation: UserConversation }
  }
  get_unread_count: { args: Empty; result: { conversation: number; message: number } }

  update_user: { args: ProfileChanges; result: { user: User } }
  get_users: { args: { users: UserId[] }; result: { users: User[] } }

  typing: { args: { conversation: ConversationId; event: TypingState }; result: Empty }
  subscribe_typing: { args: { conversation: ConversationId }; result: { typing: TypingSet } }
  unsubscribe_typing: { args: { conversation: ConversationId }; result: Empty }

  create_token: {
    args: { user: UserId; ttl_seconds?: number | undefined }
    result: { token: string; expires_at: Timestamp }
  }
  put_user: { args: ProfileChanges & { user: UserId }; result: { user: User } }
  /** How many sessions were closed on this node. */
  disconnect_user: { args: { user: UserId }; result: { sessions: number } }
}

export type CommandName = keyof Commands
export type Args<N extends CommandName> = Commands[N]['args']
export type Result<N extends CommandName> = Commands[N]['result']
