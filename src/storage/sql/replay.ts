/** The log as one user saw it: what could be seen then and may be seen now, told as it was told to him then (E5). */
import { FanfareError } from '../../protocol/codes.ts'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { Conversation, EventType, GoneConversation, Message, RecordEvent } from '../../protocol/records.ts'
import type { EventsRead, Place, ReadEvent, Telling } from '../storage.ts'
import { prunedTo } from './log.ts'
import { type ConversationRow, type MessageRow, messageAt, messageRecord } from './rows.ts'
import { all, get, type Steps, together } from './steps.ts'

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
/** Entries that are looked up together: few, for of large ones most are not wanted yet. */
const lookedUpAtOnce = 16

/** When the user took part in a conversation, the earliest first. */
export function staysOf(conversation: number, user: UserId): Steps<Stay[]> {
  return all<Stay>(
    'SELECT from_seq, to_seq FROM membership WHERE conversation = $1 AND "user" = $2 ORDER BY from_seq',
    conversation,
    user,
  )
}

/** The events above `afterSeq`, oldest first. `conflict` where the first that he could see is past retention (M5). */
export function* readEvents(
  user: UserId,
  conversation: ConversationRow,
  afterSeq: number,
  limit: number,
): Steps<(ReadEvent & { place: Place })[]> {
  const stays = yield* staysOf(conversation.key, user)
  const events: (ReadEvent & { place: Place })[] = []
  for (const stay of stays) {
    const from = Math.max(afterSeq + 1, stay.from_seq)
    const to = stay.to_seq ?? conversation.last_seq
    if (events.length === limit || from > to) continue
    const rows = yield* all<EventRow>(
      'SELECT * FROM event WHERE conversation = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq LIMIT $4',
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
    const data = yield* together(rows.map((row) => told(conversation, row, stay)))
    for (const [index, row] of rows.entries()) events.push(read(row, conversation.id, data[index] as RecordEvent))
  }
  return events
}

/** A conversation, which may be gone, and when the user took part in it. */
interface Part {
  readonly conversation: ConversationRow | undefined
  readonly stays: readonly Stay[]
}

/** The events at these positions, as many as are read at once; null where pruning has come before it. */
export function* readAt(user: UserId, positions: readonly number[]): Steps<EventsRead | null> {
  if ((positions[0] ?? Number.POSITIVE_INFINITY) <= (yield* prunedTo())) return null
  const parts = new Map<number, Part>()
  const events: ReadEvent[] = []
  let count = 0
  let size = 0
  for (let from = 0; from < positions.length; from += lookedUpAtOnce) {
    const some = positions.slice(from, from + lookedUpAtOnce)
    const rows = (yield* together(some.map(entryAt))).flatMap((row) => row ?? [])
    const keys = new Set(rows.flatMap(({ conversation }) => conversation ?? []))
    const unknown = [...keys].filter((key) => !parts.has(key))
    const found = yield* together(unknown.map((key) => partOf(key, user)))
    for (const [index, key] of unknown.entries()) parts.set(key, found[index] as Part)
    const read = yield* together(rows.map((row) => eventFor(user, row, parts)))
    const byPosition = new Map(rows.map(({ position }, index) => [position, read[index]]))
    for (const position of some) {
      if (size >= readAtOnce) return { events, read: count }
      count++
      const event = byPosition.get(position)
      if (!event) continue
      events.push(event)
      size += JSON.stringify(event).length
    }
  }
  return { events, read: count }
}

function entryAt(position: number): Steps<EventRow | undefined> {
  return get<EventRow>('SELECT * FROM event WHERE position = $1', position)
}

function* partOf(key: number, user: UserId): Steps<Part> {
  return { conversation: yield* conversationOf(key), stays: yield* staysOf(key, user) }
}

/** What the entry tells the user; null for nothing. */
function* eventFor(user: UserId, row: EventRow, parts: ReadonlyMap<number, Part>): Steps<ReadEvent | null> {
  if (row.conversation === null) return row.user === user ? yield* ownEvent(user, row) : null
  return yield* visible(parts.get(row.conversation) as Part, row)
}

/** What the entry told, to all at once of whom each would read the same of it with `readAt`. */
export function* tellingsOf(position: number): Steps<(Telling & { to: readonly UserId[] })[]> {
  const row = yield* entryAt(position)
  if (!row) return []
  if (row.conversation === null) {
    const user = row.user as UserId
    const event = yield* ownEvent(user, row)
    return event ? [{ to: [user], data: event.data }] : []
  }
  const conversation = yield* conversationOf(row.conversation)
  const stays = yield* all<Stay & { user: UserId; left_seq: number | null }>(
    `SELECT "user", from_seq, to_seq, CASE WHEN to_seq IS NOT NULL THEN (SELECT last.to_seq FROM membership last
       WHERE last.conversation = m.conversation AND last."user" = m."user" ORDER BY last.from_seq DESC LIMIT 1) END AS left_seq
     FROM membership m WHERE conversation = $1 AND from_seq <= $2 AND (to_seq IS NULL OR to_seq >= $2) ORDER BY "user"`,
    row.conversation,
    row.seq,
  )
  const seen = stays.filter(({ left_seq }) => isSeen(row, left_seq))
  const parts = [
    seen.filter(({ to_seq }) => row.seq === to_seq),
    seen.filter(({ from_seq, to_seq }) => row.seq !== from_seq && row.seq !== to_seq),
    seen.filter(({ from_seq }) => row.seq === from_seq),
  ]
  const tellings: (Telling & { to: readonly UserId[] })[] = []
  for (const part of parts) {
    const [stay] = part
    if (stay) tellings.push({ to: part.map(({ user }) => user), data: yield* told(conversation, row, stay) })
  }
  return tellings
}

/** What is told to who leaves a conversation, or is removed from it. */
export function leaving(id: ConversationId): RecordEvent {
  return { record_type: 'conversation', event_type: 'delete', record: { id }, original_record: { id } }
}

export function conversationOf(key: number): Steps<ConversationRow | undefined> {
  return get<ConversationRow>('SELECT * FROM conversation WHERE key = $1', key)
}

/** The event, if he could see it then and may see it now; of a conversation that he has left only that he did. */
function* visible({ conversation, stays }: Part, row: EventRow): Steps<ReadEvent | null> {
  const stay = stays.find(({ from_seq: from, to_seq: to }) => row.seq >= from && row.seq <= (to ?? row.seq))
  if (!stay || !isSeen(row, stays.at(-1)?.to_seq ?? null)) return null
  const data = yield* told(conversation, row, stay)
  return read(row, conversation?.id ?? (data.record as GoneConversation).id, data)
}

/** Whether the entry may be seen now by one whose last stay has ended with `leftSeq`; null: by one who takes part. */
function isSeen(row: EventRow, leftSeq: number | null): boolean {
  return leftSeq === null || row.seq === leftSeq
}

function read(row: EventRow, conversation: ConversationId, data: RecordEvent): ReadEvent & { place: Place } {
  return { position: row.position, place: { conversation, seq: row.seq }, data }
}

function* told(
  conversation: ConversationRow | undefined,
  row: EventRow,
  { from_seq, to_seq }: Stay,
): Steps<RecordEvent> {
  if (!conversation) {
    const { id } = JSON.parse(row.record as string) as GoneConversation
    // Who went before it was deleted was told of his own going alone: of that entry `scrubConversation` has left the bare place.
    return row.original !== null ? conversationEvent(row, false) : leaving(id)
  }
  if (row.seq === to_seq) return leaving(conversation.id)
  return row.record_type === 'message'
    ? yield* messageEvent(conversation, row)
    : conversationEvent(row, row.seq === from_seq)
}

function* messageEvent(conversation: ConversationRow, row: EventRow): Steps<RecordEvent> {
  const next = yield* get<{ original: string }>(
    `SELECT original FROM event
     WHERE conversation = $1 AND message_seq = $2 AND original IS NOT NULL AND position > $3 ORDER BY position LIMIT 1`,
    conversation.key,
    row.message_seq,
    row.position,
  )
  return {
    record_type: 'message',
    event_type: row.event_type,
    record: next
      ? (JSON.parse(next.original) as Message)
      : messageRecord((yield* messageAt(conversation.key, row.message_seq as number)) as MessageRow, conversation.id),
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
function* ownEvent(user: UserId, row: EventRow): Steps<ReadEvent | null> {
  const data = {
    record_type: row.record_type,
    event_type: row.event_type,
    record: JSON.parse(row.record as string),
    original_record: row.original === null ? null : JSON.parse(row.original),
  } as RecordEvent
  if (data.record_type === 'user_conversation' && !(yield* takesPart(user, data.record.conversation))) return null
  return { position: row.position, place: null, data }
}

function* takesPart(user: UserId, conversation: ConversationId): Steps<boolean> {
  const found = yield* get(
    `SELECT 1 AS found FROM conversation c
     JOIN membership m ON m.conversation = c.key AND m."user" = $1 AND m.to_seq IS NULL WHERE c.id = $2`,
    user,
    conversation,
  )
  return found !== undefined
}
