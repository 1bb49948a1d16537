/** The log as one user saw it: what could be seen then and may be seen now, told as it was told to him then (E5). */
import { FanfareError } from '../../protocol/codes.ts'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { Conversation, EventType, GoneConversation, Message, RecordEvent } from '../../protocol/records.ts'
import type { EventsRead, Place, ReadEvent } from '../storage.ts'
import type { Database } from './database.ts'
import { prunedTo } from './log.ts'
import { type ConversationRow, type MessageRow, messageAt, messageRecord } from './rows.ts'

interface EventRow {
  position: number
  event_type: EventType
  record_type: RecordEvent['record_type']
  conversation: number | null
  seq: number
  message_seq: number | null
  user: UserId | null
  record: string | null
  original: string | null
}

/** One time that a user took part, from the event that brought him to the one that took him away. */
export interface Stay {
  readonly from_seq: number
  /** Null while he takes part. */
  readonly to_seq: number | null
}

/** About this many characters of records are read at once, so that whoever asks need not hold more. */
const readAtOnce = 128 * 1024

/** When the user took part in a conversation, the earliest first. */
export function staysOf(db: Database, conversation: number, user: UserId): Stay[] {
  return db.all<Stay>(
    'SELECT from_seq, to_seq FROM membership WHERE conversation = ? AND user = ? ORDER BY from_seq',
    conversation,
    user,
  )
}

/** The events above `afterSeq`, oldest first. `conflict` where the first that he could see is past retention (M5). */
export function readEvents(
  db: Database,
  user: UserId,
  conversation: ConversationRow,
  afterSeq: number,
  limit: number,
): (ReadEvent & { place: Place })[] {
  const stays = staysOf(db, conversation.key, user)
  const events: (ReadEvent & { place: Place })[] = []
  for (const stay of stays) {
    const from = Math.max(afterSeq + 1, stay.from_seq)
    const to = stay.to_seq ?? conversation.last_seq
    if (events.length === limit || from > to) continue
    const rows = db.all<EventRow>(
      'SELECT * FROM event WHERE conversation = ? AND seq BETWEEN ? AND ? ORDER BY seq LIMIT ?',
      conversation.key,
      from,
      to,
      limit - events.length,
    )
    if (rows[0]?.seq !== from) {
      throw new FanfareError(
        'conflict',
        `events of ${conversation.id} after ${from - 1} are not kept any more: reload it`,
      )
    }
    for (const row of rows) events.push(read(row, conversation.id, told(db, conversation, row, stay)))
  }
  return events
}

/** The events at these positions, as many as are read at once; null where pruning has come before it. */
export function readAt(db: Database, user: UserId, positions: readonly number[]): EventsRead | null {
  if ((positions[0] ?? Number.POSITIVE_INFINITY) <= prunedTo(db)) return null
  const places = new Map<number, { row: ConversationRow | undefined; stays: Stay[] }>()
  const events: ReadEvent[] = []
  let count = 0
  let size = 0
  for (const position of positions) {
    if (size >= readAtOnce) break
    count++
    const row = db.get<EventRow>('SELECT * FROM event WHERE position = ?', position)
    if (!row) continue
    let event: ReadEvent | null
    if (row.conversation === null) {
      event = row.user === user ? ownEvent(db, user, row) : null
    } else {
      let place = places.get(row.conversation)
      if (!place) {
        place = { row: conversationOf(db, row.conversation), stays: staysOf(db, row.conversation, user) }
        places.set(row.conversation, place)
      }
      event = visible(db, place.row, place.stays, row)
    }
    if (!event) continue
    events.push(event)
    size += JSON.stringify(event).length
  }
  return { events, read: count }
}

/** What is told to who leaves a conversation, or is removed from it. */
export function leaving(id: ConversationId): RecordEvent {
  return { record_type: 'conversation', event_type: 'delete', record: { id }, original_record: { id } }
}

export function conversationOf(db: Database, key: number): ConversationRow | undefined {
  return db.get<ConversationRow>('SELECT * FROM conversation WHERE key = ?', key)
}

/** The event, if he could see it then and may see it now; of a conversation that he has left only that he did. */
function visible(
  db: Database,
  conversation: ConversationRow | undefined,
  stays: readonly Stay[],
  row: EventRow,
): ReadEvent | null {
  const last = stays.at(-1)
  const stay = stays.find(({ from_seq: from, to_seq: to }) => row.seq >= from && row.seq <= (to ?? row.seq))
  if (!last || !stay || (last.to_seq !== null && row.seq !== last.to_seq)) return null
  if (conversation) return read(row, conversation.id, told(db, conversation, row, stay))
  const gone = JSON.parse(row.record as string) as GoneConversation
  // Who went before it was deleted was told of his own going alone: of that entry `scrubConversation` has left the bare place.
  return read(row, gone.id, row.original !== null ? conversationEvent(row, false) : leaving(gone.id))
}

function read(row: EventRow, conversation: ConversationId, data: RecordEvent): ReadEvent & { place: Place } {
  return { position: row.position, place: { conversation, seq: row.seq }, data }
}

function told(db: Database, conversation: ConversationRow, row: EventRow, { from_seq, to_seq }: Stay): RecordEvent {
  if (row.seq === to_seq) return leaving(conversation.id)
  return row.record_type === 'message'
    ? messageEvent(db, conversation, row)
    : conversationEvent(row, row.seq === from_seq)
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

/** An event that concerns its user alone; what he had read in a conversation that he has left is told no more (E5). */
function ownEvent(db: Database, user: UserId, row: EventRow): ReadEvent | null {
  const data = {
    record_type: row.record_type,
    event_type: row.event_type,
    record: JSON.parse(row.record as string),
    original_record: row.original === null ? null : JSON.parse(row.original),
  } as RecordEvent
  if (data.record_type === 'user_conversation' && !takesPart(db, user, data.record.conversation)) return null
  return { position: row.position, place: null, data }
}

function takesPart(db: Database, user: UserId, conversation: ConversationId): boolean {
  const found = db.get(
    `SELECT 1 FROM conversation c JOIN membership m ON m.conversation = c.key AND m.user = ? AND m.to_seq IS NULL
     WHERE c.id = ?`,
    user,
    conversation,
  )
  return found !== undefined
}
