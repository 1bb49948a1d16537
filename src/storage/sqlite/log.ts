/** The event log: appending to it within the transaction of the change, and reading it back as one user saw it. */
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { Conversation, EventType, GoneConversation, Message, RecordEvent } from '../../protocol/records.ts'
import type { LogEntry, Membership, ReadEvent, Telling } from '../storage.ts'
import type { Database } from './database.ts'
import { type ConversationRow, type MessageRow, messageAt, messageRecord } from './rows.ts'

interface EventRow {
  position: number
  event_type: EventType
  record_type: 'message' | 'conversation'
  seq: number
  message_seq: number | null
  record: string | null
  original: string | null
}

/** Appends a message's event. `seq` is the conversation's next one, already taken. */
export function appendMessageEvent(
  db: Database,
  at: number,
  conversation: ConversationRow,
  membership: Membership,
  seq: number,
  event: EventType,
  record: Message,
  original: Message | null,
): LogEntry {
  const { lastInsertRowid } = db.run(
    `INSERT INTO event (at, event_type, record_type, conversation, seq, message_seq, original)
     VALUES (?, ?, 'message', ?, ?, ?, ?)`,
    at,
    event,
    conversation.key,
    seq,
    record.seq,
    original && JSON.stringify(original),
  )
  return {
    position: lastInsertRowid,
    place: { conversation: conversation.id, seq },
    membership,
    tellings: [
      { to: 'participants', data: { record_type: 'message', event_type: event, record, original_record: original } },
    ],
  }
}

/** Appends a conversation's event. Whom it tells what is up to the caller (E5). */
export function appendConversationEvent(
  db: Database,
  at: number,
  conversation: ConversationRow,
  membership: Membership,
  seq: number,
  data: Extract<RecordEvent, { record_type: 'conversation' }>,
  tellings: readonly Telling[],
): LogEntry {
  const { lastInsertRowid } = db.run(
    `INSERT INTO event (at, event_type, record_type, conversation, seq, record, original)
     VALUES (?, ?, 'conversation', ?, ?, ?, ?)`,
    at,
    data.event_type,
    conversation.key,
    seq,
    JSON.stringify(data.record),
    data.original_record && JSON.stringify(data.original_record),
  )
  return { position: lastInsertRowid, place: { conversation: conversation.id, seq }, membership, tellings }
}

/** Appends an event that concerns `user` alone (W4). */
export function appendUserEvent(db: Database, at: number, user: UserId, data: RecordEvent): LogEntry {
  const { lastInsertRowid } = db.run(
    `INSERT INTO event (at, event_type, record_type, user, record, original) VALUES (?, ?, ?, ?, ?, ?)`,
    at,
    data.event_type,
    data.record_type,
    user,
    JSON.stringify(data.record),
    data.original_record && JSON.stringify(data.original_record),
  )
  return { position: lastInsertRowid, place: null, membership: null, tellings: [{ to: [user], data }] }
}

/** Takes a message's content out of every entry that holds it (E4). */
export function scrubMessage(db: Database, conversation: number, messageSeq: number): void {
  db.run(
    `UPDATE event
     SET original = json_set(original, '$.body', '', '$.metadata', json('{}'), '$.attachment', json('null'))
     WHERE conversation = ? AND message_seq = ? AND original IS NOT NULL`,
    conversation,
    messageSeq,
  )
  db.scrubbed = true
}

/** Takes everything of a conversation out of the log up to `seq`, which tells of its end. */
export function scrubConversation(db: Database, conversation: number, seq: number): void {
  db.run('DELETE FROM event WHERE conversation = ? AND seq < ?', conversation, seq)
  db.scrubbed = true
}

/**
 * The events above `afterSeq` that `user` could see when they happened, oldest first. They are told as they were told to him then:
 * where he came, as `create`; where he left, as `delete` (E5).
 */
export function readEvents(
  db: Database,
  user: UserId,
  conversation: ConversationRow,
  afterSeq: number,
  limit: number,
): ReadEvent[] {
  const stays = db.all<{ from_seq: number; to_seq: number | null }>(
    'SELECT from_seq, to_seq FROM membership WHERE conversation = ? AND user = ? ORDER BY from_seq',
    conversation.key,
    user,
  )
  const events: ReadEvent[] = []
  for (const { from_seq: from, to_seq: to } of stays) {
    const rows = db.all<EventRow>(
      'SELECT * FROM event WHERE conversation = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?',
      conversation.key,
      Math.max(afterSeq + 1, from),
      to ?? conversation.last_seq,
      limit - events.length,
    )
    for (const row of rows) {
      events.push({
        position: row.position,
        place: { conversation: conversation.id, seq: row.seq },
        data:
          row.seq === to
            ? leaving(conversation.id)
            : row.record_type === 'message'
              ? messageEvent(db, conversation, row)
              : conversationEvent(row, row.seq === from),
      })
    }
  }
  return events
}

/** What is told to who leaves a conversation, or is removed from it. */
export function leaving(id: ConversationId): RecordEvent {
  return { record_type: 'conversation', event_type: 'delete', record: { id }, original_record: { id } }
}

function messageEvent(db: Database, conversation: ConversationRow, row: EventRow): RecordEvent {
  const next = db.get<{ original: string }>(
    `SELECT original FROM event
     WHERE conversation = ? AND message_seq = ? AND original IS NOT NULL AND position > ? ORDER BY position LIMIT 1`,
    conversation.key,
    row.message_seq,
    row.position,
  )
  return {
    record_type: 'message',
    event_type: row.event_type,
    record: next
      ? (JSON.parse(next.original) as Message)
      : messageRecord(messageAt(db, conversation.key, row.message_seq as number) as MessageRow, conversation.id),
    original_record: row.original === null ? null : (JSON.parse(row.original) as Message),
  }
}

function conversationEvent(row: EventRow, came: boolean): RecordEvent {
  return {
    record_type: 'conversation',
    event_type: came ? 'create' : row.event_type,
    record: JSON.parse(row.record as string) as Conversation | GoneConversation,
    original_record: came || row.original === null ? null : (JSON.parse(row.original) as Conversation),
  }
}
