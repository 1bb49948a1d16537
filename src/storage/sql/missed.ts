/** What a user missed since a place in the log (R2, R4, R5): which entries, not yet what they tell. */
import type { Gap } from '../../protocol/frames.ts'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import { type LogPlace, type Missed, missedInAll, missedPerConversation } from '../storage.ts'
import { prunedTo } from './log.ts'
import { conversationOf, readAt, type Stay, staysOf } from './replay.ts'
import type { ConversationRow } from './rows.ts'
import { all, get, type Steps, together } from './steps.ts'

/** Up to this many entries of the log's tail are always looked through; beyond it, only if they are fewer than the user's conversations. */
const shortTail = 200

/** Places in the log: behind the first one, up to and with the last. */
interface Range {
  readonly after: number
  readonly upTo: number
}

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

/**
 * What stands behind `since` up to `upTo`, where the log is whole. Null where the log can't go on from `since`: it is past retention, or no
 * place of this database (R5).
 */
export function* missedSince(user: UserId, since: LogPlace, upTo: number): Steps<Missed | null> {
  if (!(yield* holds(since))) return null
  // Who was once told of a place beyond `upTo` was told all before it.
  const range: Range = { after: since.position, upTo: Math.max(upTo, since.position) }
  const keys = yield* conversationsWithNews(user, range)
  const stays = yield* together(keys.map((key) => staysOf(key, user)))
  const gone: Steps<Entry[]>[] = []
  const here: Steps<Part>[] = []
  for (const [index, key] of keys.entries()) {
    const his = stays[index] as Stay[]
    const left = his.at(-1)?.to_seq ?? null
    if (left === null) here.push(partOf(key, his, range))
    else gone.push(entriesBetween(key, left, left, range, 1))
  }
  const parts = yield* together(here)
  const { told, gapsAfter, wholeTo } = firstOf(parts, range.upTo)
  const others = [...(yield* together(gone)).flat(), ...(yield* ownEntries(user, range))]
  const positions = [...told, ...others.map(({ position }) => position)].sort((one, other) => one - other)
  const first = (yield* readAt(user, positions)) ?? { events: [], read: 0 }
  return {
    upTo: range.upTo,
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
function* holds({ epoch, position }: LogPlace): Steps<boolean> {
  const found = yield* get<{ to_position: number | null }>(
    `SELECT (SELECT from_position FROM epoch later WHERE later.number = epoch.number + 1) AS to_position
     FROM epoch WHERE name = $1`,
    epoch,
  )
  if (!found) return false
  const pruned = yield* prunedTo()
  const last = yield* get<{ position: number | null }>('SELECT max(position) AS position FROM event')
  return position >= pruned && position <= (found.to_position ?? last?.position ?? pruned)
}

/**
 * The user's conversations in which something happened since. A short tail of the log is looked through for them, or else each of his
 * conversations is asked: whichever is less, so that neither a long log nor many conversations cost more than they must.
 */
function* conversationsWithNews(user: UserId, { after, upTo }: Range): Steps<number[]> {
  const tail = upTo - after
  if (tail === 0) return []
  const many = 'SELECT 1 AS found FROM membership WHERE "user" = $1 LIMIT 1 OFFSET $2'
  const isShort = tail <= shortTail || (yield* get(many, user, Math.ceil(tail / 4))) !== undefined
  const text = isShort
    ? `SELECT DISTINCT +e.conversation AS key FROM event e
       WHERE e.position > $2 AND e.position <= $3 AND e.conversation IS NOT NULL
         AND EXISTS (SELECT 1 FROM membership m WHERE m.conversation = e.conversation AND m."user" = $1
           AND e.seq >= m.from_seq AND (m.to_seq IS NULL OR e.seq <= m.to_seq))
       ORDER BY key`
    : `SELECT DISTINCT key FROM (
         SELECT m.conversation AS key, (SELECT e.position FROM event e
           WHERE e.conversation = m.conversation AND e.seq <= coalesce(m.to_seq, ${Number.MAX_SAFE_INTEGER})
             AND e.position <= $3 ORDER BY e.seq DESC LIMIT 1) AS last
         FROM membership m WHERE m."user" = $1) AS his
       WHERE last > $2 ORDER BY key`
  return (yield* all<{ key: number }>(text, user, after, upTo)).map(({ key }) => key)
}

function ownEntries(user: UserId, { after, upTo }: Range): Steps<{ position: number }[]> {
  return all('SELECT position FROM event WHERE "user" = $1 AND position > $2 AND position <= $3', user, after, upTo)
}

/** The latest entries in the range that he could see, and the gap before them if there are more. */
function* partOf(key: number, stays: readonly Stay[], range: Range): Steps<Part> {
  const { id, last_seq } = (yield* conversationOf(key)) as ConversationRow
  const entries: Entry[] = []
  for (const { from_seq, to_seq } of [...stays].reverse()) {
    const wanted = missedPerConversation + 1 - entries.length
    if (wanted > 0) entries.push(...(yield* entriesBetween(key, from_seq, to_seq ?? last_seq, range, wanted)))
  }
  entries.reverse()
  if (entries.length <= missedPerConversation) return { id, entries, gap: null }
  entries.shift()
  const before_seq = (entries[0] as Entry).seq
  const after_seq = (yield* firstMissed(key, stays, range.after)) - 1
  return { id, entries, gap: { conversation: id, after_seq, before_seq } }
}

/**
 * The latest of the entries from one seq to another that stand in the range, the latest first. Positions rise with seq, so it stops at the
 * first that stands before the range; a query could not know that, so it asks for a few, and then for more.
 */
function* entriesBetween(key: number, from: number, to: number, range: Range, limit: number): Steps<Entry[]> {
  const entries: Entry[] = []
  let size = Math.min(limit, 16)
  for (let last = to; ; size = Math.min(limit, size * 8)) {
    const rows = yield* all<Entry>(
      'SELECT seq, position FROM event WHERE conversation = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq DESC LIMIT $4',
      key,
      from,
      last,
      size,
    )
    for (const entry of rows) {
      if (entry.position <= range.after || entries.length === limit) return entries
      if (entry.position <= range.upTo) entries.push(entry)
    }
    const lowest = rows.at(-1)
    if (!lowest || rows.length < size) return entries
    last = lowest.seq - 1
  }
}

/** The seq of the first entry behind the position that he could see: found by halves, since positions rise with seq. */
function* firstMissed(key: number, stays: readonly Stay[], after: number): Steps<number> {
  const at = function* (seq: number) {
    const text = 'SELECT seq, position FROM event WHERE conversation = $1 AND seq >= $2 ORDER BY seq LIMIT 1'
    return (yield* get<Entry>(text, key, seq)) as Entry
  }
  const last = 'SELECT seq FROM event WHERE conversation = $1 ORDER BY seq DESC LIMIT 1'
  let low = 1
  let high = (yield* get<{ seq: number }>(last, key))?.seq ?? 1
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const place = yield* at(middle)
    if (place.position > after) high = middle
    else low = place.seq + 1
  }
  // What was pruned stands before the position, and has left no entry to stop at.
  const first = (yield* at(low)).seq
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
