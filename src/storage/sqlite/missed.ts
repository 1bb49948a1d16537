/** What a user missed since a place in the log (R2, R4, R5): which entries, not yet what they tell. */
import type { Gap } from '../../protocol/frames.ts'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import { type LogPlace, type Missed, missedInAll, missedPerConversation } from '../storage.ts'
import type { Database } from './database.ts'
import { prunedTo } from './log.ts'
import { conversationOf, readAt, type Stay, staysOf } from './replay.ts'

/** Up to this many entries of the log's tail are always looked through; beyond it, only if they are fewer than the user's conversations. */
const shortTail = 200

interface Entry {
  readonly seq: number
  readonly position: number
}

/** One conversation's part in what was missed: the earliest entry first. */
interface Part {
  readonly id: ConversationId
  readonly entries: readonly Entry[]
  readonly gap: Gap | null
}

/** Null where the log can't go on from `since`: it is past retention, or no place of this database (R5). */
export function missedSince(db: Database, user: UserId, since: LogPlace): Missed | null {
  if (!holds(db, since)) return null
  const upTo = db.position
  const after = since.position
  const gone: number[] = []
  const parts: Part[] = []
  for (const key of conversationsWithNews(db, user, after, upTo)) {
    const stays = staysOf(db, key, user)
    const left = stays.at(-1)?.to_seq ?? null
    if (left === null) parts.push(partOf(db, key, stays, after))
    else gone.push(...entriesBetween(db, key, left, left, after, 1).map(({ position }) => position))
  }
  const users = db.all<{ position: number }>('SELECT position FROM event WHERE user = ? AND position > ?', user, after)
  const { told, gapsAfter, wholeTo } = firstOf(parts, upTo)
  const positions = [...told, ...gone, ...users.map(({ position }) => position)].sort((one, other) => one - other)
  const first = readAt(db, user, positions) ?? { events: [], read: 0 }
  return {
    upTo,
    wholeTo,
    gaps: parts.flatMap(({ gap }) => gap ?? []),
    events: first.events,
    positions: positions.slice(first.read),
    gapsAfter,
  }
}

/**
 * Whether all that came after this place is still in the log, and the place itself was ever in it. An epoch names places of earlier ones
 * too: who is told what he missed before a restart is told so by the server that runs since.
 */
function holds(db: Database, { epoch, position }: LogPlace): boolean {
  const found = db.get<{ to_position: number | null }>(
    `SELECT (SELECT from_position FROM epoch later WHERE later.number = epoch.number + 1) AS to_position
     FROM epoch WHERE name = ?`,
    epoch,
  )
  return found !== undefined && position >= prunedTo(db) && position <= (found.to_position ?? db.position)
}

/**
 * The user's conversations in which something happened since. A short tail of the log is looked through for them, or else each of his
 * conversations is asked: whichever is less, so that neither a long log nor many conversations cost more than they must.
 */
function conversationsWithNews(db: Database, user: UserId, after: number, upTo: number): number[] {
  const tail = upTo - after
  if (tail === 0) return []
  const isShort =
    tail <= shortTail ||
    db.get('SELECT 1 FROM membership WHERE user = ? LIMIT 1 OFFSET ?', user, Math.ceil(tail / 4)) !== undefined
  const sql = isShort
    ? `SELECT DISTINCT +e.conversation AS key FROM event e WHERE e.position > ?2 AND e.conversation IS NOT NULL
         AND EXISTS (SELECT 1 FROM membership m WHERE m.conversation = e.conversation AND m.user = ?1
           AND e.seq >= m.from_seq AND (m.to_seq IS NULL OR e.seq <= m.to_seq))`
    : `SELECT key FROM (
         SELECT m.conversation AS key, (SELECT e.position FROM event e
           WHERE e.conversation = m.conversation AND e.seq <= coalesce(m.to_seq, 9e15) ORDER BY e.seq DESC LIMIT 1) AS last
         FROM membership m WHERE m.user = ?1)
       WHERE last > ?2 GROUP BY key`
  return db.all<{ key: number }>(sql, user, after).map(({ key }) => key)
}

/** The latest entries after the position that he could see, and the gap before them if there are more. */
function partOf(db: Database, key: number, stays: readonly Stay[], after: number): Part {
  const { id, last_seq } = conversationOf(db, key) as { id: ConversationId; last_seq: number }
  const entries: Entry[] = []
  for (const { from_seq, to_seq } of [...stays].reverse()) {
    const wanted = missedPerConversation + 1 - entries.length
    if (wanted > 0) entries.push(...entriesBetween(db, key, from_seq, to_seq ?? last_seq, after, wanted))
  }
  entries.reverse()
  if (entries.length <= missedPerConversation) return { id, entries, gap: null }
  entries.shift()
  const before_seq = (entries[0] as Entry).seq
  return { id, entries, gap: { conversation: id, after_seq: firstMissed(db, key, stays, after) - 1, before_seq } }
}

/**
 * The latest of the entries from one seq to another that stand behind the position, the latest first. Positions rise with seq, so it stops
 * at the first that stands before; a query could not know that.
 */
function entriesBetween(db: Database, key: number, from: number, to: number, after: number, limit: number): Entry[] {
  const entries: Entry[] = []
  const rows = db.statement(
    'SELECT seq, position FROM event WHERE conversation = ? AND seq BETWEEN ? AND ? ORDER BY seq DESC LIMIT ?',
  )
  for (const row of rows.iterate(key, from, to, limit)) {
    const entry = row as unknown as Entry
    if (entry.position <= after) break
    entries.push(entry)
  }
  return entries
}

/** The seq of the first entry behind the position that he could see: found by halves, since positions rise with seq. */
function firstMissed(db: Database, key: number, stays: readonly Stay[], after: number): number {
  const at = (seq: number) =>
    db.get<Entry>(
      'SELECT seq, position FROM event WHERE conversation = ? AND seq >= ? ORDER BY seq LIMIT 1',
      key,
      seq,
    ) as Entry
  let low = 1
  let high = db.get<Entry>('SELECT seq FROM event WHERE conversation = ? ORDER BY seq DESC LIMIT 1', key)?.seq ?? 1
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const place = at(middle)
    if (place.position > after) high = middle
    else low = place.seq + 1
  }
  // What was pruned stands before the position, and has left no entry to stop at.
  const first = at(low).seq
  const stay = stays.find(({ to_seq }) => to_seq === null || to_seq >= first)
  return Math.max(first, stay?.from_seq ?? first)
}

/** The first of all entries in the order of the log, and of each conversation that has more a gap behind them. */
function firstOf(parts: readonly Part[], upTo: number): { told: number[]; gapsAfter: Gap[]; wholeTo: number } {
  const all = parts.flatMap(({ entries }) => entries.map(({ position }) => position)).sort((one, other) => one - other)
  const last = all[missedInAll - 1]
  if (last === undefined || all.length === missedInAll) return { told: all, gapsAfter: [], wholeTo: upTo }
  const gapsAfter = parts.flatMap(({ id, entries }) => {
    const cut = entries.filter(({ position }) => position > last)
    const [first] = cut
    const end = cut.at(-1)
    return first && end ? { conversation: id, after_seq: first.seq - 1, before_seq: end.seq + 1 } : []
  })
  return { told: all.slice(0, missedInAll), gapsAfter, wholeTo: last }
}
