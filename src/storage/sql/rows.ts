/** Rows as they stand in the tables, and the records made of them (E1). */
import {
  type ConversationId,
  type MessageId,
  type UserChannelId,
  type UserId,
  userConversationId,
} from '../../protocol/ids.ts'
import type {
  Conversation,
  Message,
  Metadata,
  Timestamp,
  User,
  UserChannel,
  UserConversation,
} from '../../protocol/records.ts'
import { all, get, type Steps } from './steps.ts'

export interface ConversationRow {
  key: number
  id: ConversationId
  title: string | null
  metadata: string
  distinct_key: string | null
  created_by: UserId
  created_at: number
  updated_at: number
  last_seq: number
  last_position: number
  last_message_seq: number | null
  participant_count: number
  membership_version: number
}

export interface MembershipRow {
  conversation: number
  user: UserId
  from_seq: number
  to_seq: number | null
  is_admin: number
  last_read_seq: number
}

export interface MessageRow {
  conversation: number
  seq: number
  id: MessageId
  created_by: UserId
  created_at: number
  updated_at: number
  body: string
  metadata: string
  attachment: string | null
  revision: number
  edited_at: number | null
  edited_by: UserId | null
  deleted: number
  client_id: string | null
}

export interface UserRow {
  id: UserId
  name: string | null
  avatar_url: string | null
  metadata: string
  updated_at: number
}

export interface UserChannelRow {
  user: UserId
  id: UserChannelId
  name: string
  rotated_at: number
  revoked_at: number | null
}

/** `participants` and `admins` of a record list at most this many (E1). */
const listedUsers = 100
/** Unread messages are counted to this many (M6). */
const countedUnread = 100

function timestamp(at: number): Timestamp {
  return new Date(at).toISOString()
}

function metadata(text: string): Metadata {
  return text === '{}' ? {} : (JSON.parse(text) as Metadata)
}

export function messageRecord(row: MessageRow, conversation: ConversationId): Message {
  return {
    id: row.id,
    conversation,
    created_by: row.created_by,
    created_at: timestamp(row.created_at),
    updated_at: timestamp(row.updated_at),
    body: row.body,
    metadata: metadata(row.metadata),
    attachment: row.attachment === null ? null : metadata(row.attachment),
    seq: row.seq,
    revision: row.revision,
    edited_at: row.edited_at === null ? null : timestamp(row.edited_at),
    edited_by: row.edited_by,
    deleted: row.deleted === 1,
    client_id: row.client_id,
  }
}

export function* conversationRecord(row: ConversationRow): Steps<Conversation> {
  const last = row.last_message_seq
  return {
    id: row.id,
    title: row.title,
    metadata: metadata(row.metadata),
    participants: yield* listed(row.key, 0),
    admins: yield* listed(row.key, 1),
    participant_count: row.participant_count,
    distinct_by_participants: row.distinct_key !== null,
    last_message: last === null ? null : ((yield* messageAt(row.key, last))?.id ?? null),
    last_seq: row.last_seq,
    created_by: row.created_by,
    created_at: timestamp(row.created_at),
    updated_at: timestamp(row.updated_at),
  }
}

function* listed(conversation: number, admins: 0 | 1): Steps<UserId[]> {
  const rows = yield* all<{ user: UserId }>(
    `SELECT "user" FROM membership
     WHERE conversation = $1 AND to_seq IS NULL AND is_admin >= $2 ORDER BY "user" LIMIT $3`,
    conversation,
    admins,
    listedUsers,
  )
  return rows.map(({ user }) => user)
}

export function messageAt(conversation: number, seq: number): Steps<MessageRow | undefined> {
  return get<MessageRow>('SELECT * FROM message WHERE conversation = $1 AND seq = $2', conversation, seq)
}

/** The query for how many messages somebody has not read (M6), where these three are found. */
export function unreadCount(conversation: string, lastReadSeq: string, user: string): string {
  return `SELECT count(*) AS count FROM (SELECT 1 FROM message WHERE conversation = ${conversation} AND seq > ${lastReadSeq}
    AND deleted = 0 AND created_by <> ${user} LIMIT ${countedUnread}) AS unread`
}

export function* userConversationRecord(id: ConversationId, row: MembershipRow): Steps<UserConversation> {
  const { conversation, last_read_seq, user } = row
  const unread = yield* get<{ count: number }>(unreadCount('$1', '$2', '$3'), conversation, last_read_seq, user)
  return {
    id: userConversationId(row.user, id),
    user: row.user,
    conversation: id,
    unread_count: unread?.count ?? 0,
    last_read_message: (yield* messageAt(row.conversation, row.last_read_seq))?.id ?? null,
    last_read_seq: row.last_read_seq,
    is_admin: row.is_admin === 1,
  }
}

/** The profile, or the empty one of somebody unknown: who is named exists (M7). */
export function userRecord(id: UserId, row: UserRow | undefined): User {
  return row
    ? {
        id,
        name: row.name,
        avatar_url: row.avatar_url,
        metadata: metadata(row.metadata),
        updated_at: timestamp(row.updated_at),
      }
    : { id, name: null, avatar_url: null, metadata: {}, updated_at: null }
}

export function userChannelRecord(row: UserChannelRow): Required<UserChannel> {
  return { id: row.id, user: row.user, name: row.name, rotated_at: timestamp(row.rotated_at) }
}
