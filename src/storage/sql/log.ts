/** The event log: what is written to it within the transaction of the change, and what is taken out of it again. */
import type { UserId } from '../../protocol/ids.ts'
import type { EventType, Message, RecordEvent } from '../../protocol/records.ts'
import type { LogEntry, Membership, Telling } from '../storage.ts'
import type { ConversationRow } from './rows.ts'
import { all, endOfLog, get, lock, type Query, run, type Steps, scrubbed, type Value } from './steps.ts'

/**
 * Appends a message's event under the conversation's next seq, and does `beside` at the same time. The caller then writes both, and the
 * position, into the conversation.
 */
export function* appendMessageEvent(
  at: number,
  conversation: ConversationRow,
  membership: Membership,
  seq: number,
  event: EventType,
  record: Message,
  original: Message | null,
  beside: readonly Query[],
): Steps<LogEntry> {
  const text = `INSERT INTO event (at, event_type, record_type, conversation, seq, message_seq, original)
     VALUES ($1, $2, 'message', $3, $4, $5, $6)`
  const values = [at, event, conversation.key, seq, record.seq, original && JSON.stringify(original)]
  const [position] = (yield [{ wanted: 'position', text, values }, ...beside]) as [number]
  return {
    position,
    previous: conversation.last_position,
    place: { conversation: conversation.id, seq },
    membership,
    tellings: [
      { to: 'participants', data: { record_type: 'message', event_type: event, record, original_record: original } },
    ],
  }
}

/** Appends a conversation's own event in the same way. Whom it tells what is up to the caller (E5). */
export function* appendConversationEvent(
  at: number,
  conversation: ConversationRow,
  membership: Membership,
  seq: number,
  data: Extract<RecordEvent, { record_type: 'conversation' }>,
  tellings: readonly Telling[],
): Steps<LogEntry> {
  const position = yield* append(
    `INSERT INTO event (at, event_type, record_type, conversation, seq, record, original)
     VALUES ($1, $2, 'conversation', $3, $4, $5, $6)`,
    at,
    data.event_type,
    conversation.key,
    seq,
    JSON.stringify(data.record),
    data.original_record && JSON.stringify(data.original_record),
  )
  const previous = conversation.last_position
  return { position, previous, place: { conversation: conversation.id, seq }, membership, tellings }
}

/** Appends an event that concerns `user` alone (W4). */
export function* appendUserEvent(at: number, user: UserId, data: RecordEvent): Steps<LogEntry> {
  const position = yield* append(
    `INSERT INTO event (at, event_type, record_type, "user", record, original) VALUES ($1, $2, $3, $4, $5, $6)`,
    at,
    data.event_type,
    data.record_type,
    user,
    JSON.stringify(data.record),
    data.original_record && JSON.stringify(data.original_record),
  )
  return { position, previous: 0, place: null, membership: null, tellings: [{ to: [user], data }] }
}

function* append(text: string, ...values: Value[]): Steps<number> {
  return (yield { wanted: 'position', text, values }) as number
}

/** Takes a message's content out of every entry that holds it (E4). */
export function* scrubMessage(conversation: number, messageSeq: number): Steps<void> {
  const rows = yield* all<{ position: number; original: string }>(
    'SELECT position, original FROM event WHERE conversation = $1 AND message_seq = $2 AND original IS NOT NULL',
    conversation,
    messageSeq,
  )
  for (const { position, original } of rows) {
    const emptied: Message = { ...(JSON.parse(original) as Message), body: '', metadata: {}, attachment: null }
    yield* run('UPDATE event SET original = $1 WHERE position = $2', JSON.stringify(emptied), position)
  }
  yield* scrubbed()
}

/**
 * Takes everything of a conversation that ends out of the log, behind the place `after` up to `last`. What is left are the bare places where
 * somebody went before: he may not have been told yet.
 */
export function* scrubConversation({ key, id }: ConversationRow, after: number, last: number): Steps<void> {
  yield* run(
    `DELETE FROM event WHERE conversation = $1 AND seq > $2 AND seq <= $3
       AND seq NOT IN (SELECT to_seq FROM membership WHERE conversation = $1 AND to_seq IS NOT NULL)`,
    key,
    after,
    last,
  )
  yield* run(
    `UPDATE event SET event_type = 'delete', record = $1, original = NULL
     WHERE conversation = $2 AND seq > $3 AND seq <= $4`,
    JSON.stringify({ id, deleted: true }),
    key,
    after,
    last,
  )
  yield* scrubbed()
}

/**
 * Takes the oldest entries out of the log, `limit` at most, up to the first that is not from before `before`; says how many they were.
 * Who asks for them afterwards is told that they are past retention (R5). What is dated later than `now` says nothing of its age: it goes
 * with the first entry behind it that does, or the log would grow until that time has come.
 */
export function* prune(before: number, now: number, limit: number): Steps<number> {
  const end = yield* endOfLog()
  yield* lock('pruning')
  const rows = yield* all<{ position: number; at: number }>(
    'SELECT position, at FROM event WHERE position <= $1 ORDER BY position LIMIT $2',
    end,
    limit,
  )
  const kept = rows.findIndex(({ at }) => at >= before && at <= now)
  const passed = kept < 0 ? rows : rows.slice(0, kept)
  let old = passed.slice(0, passed.findLastIndex(({ at }) => at < before) + 1)
  if (kept < 0 && old.length < passed.length) {
    const next = yield* get<{ at: number }>(
      'SELECT at FROM event WHERE position > $1 AND position <= $2 AND at <= $3 ORDER BY position LIMIT 1',
      passed.at(-1)?.position ?? 0,
      end,
      now,
    )
    if (next && next.at < before) old = passed
  }
  const last = old.at(-1)
  if (!last) return 0
  yield* run('DELETE FROM event WHERE position <= $1', last.position)
  yield* run('UPDATE pruned SET position = $1', last.position)
  yield* run('DELETE FROM epoch WHERE number < (SELECT max(number) FROM epoch WHERE from_position < $1)', last.position)
  return old.length
}

/** The position of the last entry that was pruned; 0 where none was. */
export function* prunedTo(): Steps<number> {
  const { position } = (yield* get<{ position: number }>('SELECT position FROM pruned')) as { position: number }
  return position
}
