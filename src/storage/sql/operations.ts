/** The seam's operations as steps, by noun: what each of them means, whatever database answers. */
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { GoneConversation } from '../../protocol/records.ts'
import type {
  EventStorage,
  EventsRead,
  Followed,
  FollowedEntry,
  LogPlace,
  Missed,
  Place,
  ReadEvent,
  Storage,
  StorageLimits,
} from '../storage.ts'
import { seat } from './access.ts'
import { conversations } from './conversations.ts'
import { prune } from './log.ts'
import { messages } from './messages.ts'
import { missedSince } from './missed.ts'
import { readMarkers } from './read-markers.ts'
import { readAt, readEvents, tellingsOf } from './replay.ts'
import { type AsSteps, all, endOfLog, run, type Steps } from './steps.ts'
import { userChannels, users } from './users.ts'

/** The seam's groups of operations, by noun. */
export type Nouns = Pick<Storage, 'conversations' | 'messages' | 'readMarkers' | 'events' | 'users' | 'userChannels'>

export type Operations = { readonly [Noun in keyof Nouns]: AsSteps<Nouns[Noun]> }

export function operations(limits: StorageLimits): Operations {
  return { conversations: conversations(limits), messages, readMarkers, events, users, userChannels }
}

interface FollowedRow {
  position: number
  /** Null where there is no conversation, or none any more. */
  id: ConversationId | null
  seq: number
  user: UserId | null
  record: string | null
}

/** A conversation that is gone has its id in what tells of its end. */
function followed({ position, id, seq, user, record }: FollowedRow): FollowedEntry {
  if (user !== null) return { position, place: null, user }
  const conversation = id ?? (JSON.parse(record as string) as GoneConversation).id
  return { position, place: { conversation, seq }, user }
}

const events: AsSteps<EventStorage> = {
  *list(
    actor: UserId,
    id: ConversationId,
    afterSeq: number,
    limit: number,
  ): Steps<(ReadEvent & { readonly place: Place })[]> {
    const { conversation } = yield* seat(actor, id)
    return yield* readEvents(actor, conversation, afterSeq, limit)
  },

  *missed(user: UserId, since: LogPlace): Steps<Missed | null> {
    const upTo = yield* endOfLog()
    return yield* missedSince(user, since, upTo)
  },

  *read(user: UserId, positions: readonly number[]): Steps<EventsRead | null> {
    return yield* readAt(user, positions)
  },

  *since(position: number, limit: number): Steps<Followed> {
    const end = yield* endOfLog()
    const rows = yield* all<FollowedRow>(
      `SELECT e.position, c.id, e.seq, e."user", e.record FROM event e LEFT JOIN conversation c ON c.key = e.conversation
       WHERE e.position > $1 AND e.position <= $2 ORDER BY e.position LIMIT $3`,
      position,
      end,
      limit,
    )
    // Who was once told of a place beyond the end was told all before it.
    const upTo = rows.length < limit ? Math.max(end, position) : (rows.at(-1)?.position ?? end)
    return { upTo, entries: rows.map(followed) }
  },

  tellings: tellingsOf,

  prune,

  *probe(): Steps<void> {
    yield* run('UPDATE heartbeat SET count = count + 1')
  },
}
