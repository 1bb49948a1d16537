/** The log as it should be, and what it has to tell whom: now, of what was then (E4, E5). */
import { isDeepStrictEqual } from 'node:util'
import type { EventFrame } from '../../../src/protocol/frames.ts'
import type { ConversationId, UserId } from '../../../src/protocol/ids.ts'
import type { Message, RecordEvent } from '../../../src/protocol/records.ts'
import type { Talk } from './talk.ts'

export interface Entry {
  /** Given by the server; the log's order. */
  position: number
  readonly at: number
  /** The conversation that it is of, or about. */
  readonly talk: Talk | null
  /** Its place there; of what concerns one user alone, the place that the conversation had reached. */
  readonly seq: number
  /** Whom alone it concerns; null for an event of a conversation. */
  readonly user: UserId | null
  /** As those are told it who neither come nor go by it. */
  data: RecordEvent
  /** What it told each one when it was committed. */
  first: ReadonlyMap<UserId, RecordEvent | null>
  /** The position at which content was last taken out of it; 0 where none was. */
  scrubbedAt: number
}

export class Log {
  entries: Entry[] = []
  /** The position of the last entry that was pruned. */
  prunedTo = 0
  /** Entries that are not to be had any more: a node that has not heard of it may still tell them. */
  #forgotten: Entry[] = []

  /** The position of the newest entry. */
  get position(): number {
    return this.entries.at(-1)?.position ?? this.prunedTo
  }

  /** The entry that a frame tells the user of. */
  toldBy({ conversation, seq, data }: EventFrame, user: UserId): Entry | undefined {
    return [...this.entries, ...this.#forgotten].find((entry) =>
      conversation === undefined
        ? entry.user === user && isDeepStrictEqual(asJson(entry.data), data)
        : !entry.user && entry.talk?.id === conversation && entry.seq === seq,
    )
  }

  /** What a server that has heard of the log up to `known` may tell the user of the entry: as it is now, or as it was at first. */
  mayTell(entry: Entry, user: UserId, known: number): RecordEvent[] {
    const changedAt = Math.max(entry.scrubbedAt, entry.talk?.movedAt.get(user) ?? 0)
    const told = [this.tells(entry, user), changedAt > known ? entry.first.get(user) : null]
    return told.filter((data) => data !== null && data !== undefined)
  }

  /** What the entry has to tell the user now; null where it must tell him nothing. */
  tells(entry: Entry, user: UserId): RecordEvent | null {
    const { talk, seq, data } = entry
    if (entry.user) return entry.user === user && (!talk || talk.stay(user)) ? data : null
    if (!talk) return null
    const stays = talk.stays(user)
    const stay = stays.find(({ from, to }) => seq >= from && seq <= to)
    const last = stays.at(-1)
    if (!stay || !last) return null
    // Of a conversation that is over for him he is told that alone.
    if (last.to !== Number.POSITIVE_INFINITY && seq !== last.to) return null
    if (seq === stay.to) return leaving(talk.id, talk.deleted && seq === talk.lastSeq)
    return seq === stay.from ? ({ ...data, event_type: 'create', original_record: null } as RecordEvent) : data
  }

  /**
   * Whether it may be left out for who comes back: it is from before he was added again, and so are its consequences, for he starts to
   * count anew then and reads the history.
   */
  mayLack(entry: Entry, user: UserId): boolean {
    const { talk, seq } = entry
    const stay = talk?.stay(user)
    return stay !== undefined && seq < stay.from
  }

  /** Takes a message's content out of every entry that holds it. */
  scrub(talk: Talk, messageSeq: number, position: number): void {
    for (const entry of this.entries) {
      const { data } = entry
      if (entry.talk !== talk || data.record_type !== 'message' || data.record.seq !== messageSeq) continue
      const original = data.original_record as Message | null
      entry.data = { ...data, record: emptied(data.record), original_record: original && emptied(original) }
      entry.scrubbedAt = position
    }
  }

  /** A conversation is over: what is left of it are the places where somebody went. */
  forget(talk: Talk): void {
    const ends = new Set(talk.everybody.flatMap((user) => talk.stays(user).map(({ to }) => to)))
    const isGone = (entry: Entry) => entry.talk === talk && !entry.user && !ends.has(entry.seq)
    this.#forgotten.push(...this.entries.filter(isGone))
    this.entries = this.entries.filter((entry) => !isGone(entry))
  }

  /** Says how many entries go. */
  prune(before: number, limit: number): number {
    const oldest = this.entries.slice(0, limit)
    const kept = oldest.findIndex(({ at }) => at >= before)
    const old = kept < 0 ? oldest : oldest.slice(0, kept)
    this.prunedTo = old.at(-1)?.position ?? this.prunedTo
    this.entries = this.entries.slice(old.length)
    return old.length
  }
}

export function emptied(message: Message): Message {
  return { ...message, body: '', metadata: {}, attachment: null }
}

/** As a client reads it. */
export function asJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}

function leaving(id: ConversationId, deleted: boolean): RecordEvent {
  const gone = deleted ? ({ id, deleted: true } as const) : { id }
  return { record_type: 'conversation', event_type: 'delete', record: gone, original_record: gone }
}
