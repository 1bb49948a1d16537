/** The event log: what is written to it within the transaction of the change, and what is taken out of it again. */
import type { UserId } from '../../protocol/ids.ts'
import type { EventType, Message, RecordEvent } from '../../protocol/records.ts'
import type { LogEntry, Membership, Telling } from '../storage.ts'
import type { Database } from './database.ts'
import type { ConversationRow } from './rows.ts'

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

/**
 * Takes everything of a conversation out of the log up to `seq`, which tells of its end. What is left are the bare places where somebody
 * went before: he may not have been told yet.
 */
export function scrubConversation(db: Database, { key, id }: ConversationRow, seq: number): void {
  db.run(
    `DELETE FROM event WHERE conversation = ?1 AND seq < ?2
       AND seq NOT IN (SELECT to_seq FROM membership WHERE conversation = ?1 AND to_seq IS NOT NULL)`,
    key,
    seq,
  )
  db.run(
    `UPDATE event SET event_type = 'delete', record = ?, original = NULL WHERE conversation = ? AND seq < ?`,
    JSON.stringify({ id, deleted: true }),
    key,
    seq,
  )
  db.scrubbed = true
}

/**
 * Takes the oldest entries out of the log, `limit` at most, up to the first that is not from before `before`; says how many they were.
 * Who asks for them afterwards is told that they are past retention (R5).
 */
export function prune(db: Database, before: number, limit: number): number {
  const rows = db.all<{ position: number; at: number }>(
    'SELECT position, at FROM event ORDER BY position LIMIT ?',
    limit,
  )
  const kept = rows.findIndex(({ at }) => at >= before)
  const old = kept < 0 ? rows : rows.slice(0, kept)
  const last = old.at(-1)
  if (!last) return 0
  db.run('DELETE FROM event WHERE position <= ?', last.position)
  db.run('UPDATE pruned SET position = ?', last.position)
  db.run('DELETE FROM epoch WHERE number < (SELECT max(number) FROM epoch WHERE from_position < ?)', last.position)
  return old.length
}

/** The position of the last entry that was pruned; 0 where none was. */
export function prunedTo(db: Database): number {
  return (db.get<{ position: number }>('SELECT position FROM pruned') as { position: number }).position
}
