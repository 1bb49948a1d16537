/** The seam's operations as steps, by noun: what each of them means, whatever database answers. */
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type {
  EventStorage,
  EventsRead,
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
import { readAt, readEvents } from './replay.ts'
import { type AsSteps, endOfLog, run, type Steps } from './steps.ts'
import { userChannels, users } from './users.ts'

/** The seam's groups of operations, by noun. */
export type Nouns = Pick<Storage, 'conversations' | 'messages' | 'readMarkers' | 'events' | 'users' | 'userChannels'>

export type Operations = { readonly [Noun in keyof Nouns]: AsSteps<Nouns[Noun]> }

export function operations(limits: StorageLimits): Operations {
  return { conversations: conversations(limits), messages, readMarkers, events, users, userChannels }
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

  prune,

  *probe(): Steps<void> {
    yield* run('UPDATE heartbeat SET count = count + 1')
  },
}
