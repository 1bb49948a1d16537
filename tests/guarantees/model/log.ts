/** The log as it should be, and what it has to tell whom: now, of what was then (E4, E5). */
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
}

export class Log {
  entries: Entry[] = []
  /** The position of the last entry that was pruned. */
  prunedTo = 0

  /** The position of the newest entry. */
  get position(): number {
    return this.entries.at(-1)?.position ?? this.prunedTo
  }

  at(position: number): Entry | undefined {
    return this.entries.find((entry) => entry.position === position)
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
  scrub(talk: Talk, messageSeq: number): void {
    for (const entry of this.entries) {
      const { data } = entry
      if (entry.talk !== talk || data.record_type !== 'message' || data.record.seq !== messageSeq) continue
      const original = data.original_record as Message | null
      entry.data = { ...data, record: emptied(data.record), original_record: original && emptied(original) }
    }
  }

  /** A conversation is over: what is left of it are the places where somebody went. */
  forget(talk: Talk): void {
    const ends = new Set(talk.everybody.flatMap((user) => talk.stays(user).map(({ to }) => to)))
    this.entries = this.entries.filter((entry) => entry.talk !== talk || entry.user || ends.has(entry.seq))
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

function leaving(id: ConversationId, deleted: boolean): RecordEvent {
  const gone = deleted ? ({ id, deleted: true } as const) : { id }
  return { record_type: 'conversation', event_type: 'delete', record: gone, original_record: gone }
}
