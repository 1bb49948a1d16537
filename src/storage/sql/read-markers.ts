/** How far each participant has read (M6, E6). */
import { FanfareError } from '../../protocol/codes.ts'
import type { Result } from '../../protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../protocol/ids.ts'
import type { Act, ReadMarkerStorage, Written } from '../storage.ts'
import { ownSeat } from './access.ts'
import { appendUserEvent } from './log.ts'
import { unreadCount, userConversationRecord } from './rows.ts'
import { type AsSteps, all, get, run, type Steps } from './steps.ts'

export const readMarkers: AsSteps<ReadMarkerStorage> = {
  *move(act: Act, id: ConversationId, message: MessageId): Steps<Written<Result<'mark_as_last_message_read'>>> {
    const { conversation, membership } = yield* ownSeat(act.actor, id)
    const found = yield* get<{ seq: number }>(
      'SELECT seq FROM message WHERE id = $1 AND conversation = $2',
      message,
      conversation.key,
    )
    if (!found) throw new FanfareError('not_found', `there is no ${message} in ${id}`)
    const original = yield* userConversationRecord(id, membership)
    if (found.seq <= membership.last_read_seq) return { result: { user_conversation: original }, entry: null }
    yield* run(
      'UPDATE membership SET last_read_seq = $1 WHERE conversation = $2 AND "user" = $3 AND to_seq IS NULL',
      found.seq,
      conversation.key,
      act.actor,
    )
    const record = yield* userConversationRecord(id, { ...membership, last_read_seq: found.seq })
    const entry = yield* appendUserEvent(act.at, act.actor, {
      record_type: 'user_conversation',
      event_type: 'update',
      record,
      original_record: original,
    })
    return { result: { user_conversation: record }, entry }
  },

  *unread(actor: UserId): Steps<Result<'get_unread_count'>> {
    // Only where a message was created behind the marker is there anything to count.
    const rows = yield* all<{ count: number }>(
      `SELECT (${unreadCount('m.conversation', 'm.last_read_seq', 'm."user"')}) AS count
       FROM membership m JOIN conversation c ON c.key = m.conversation
       WHERE m."user" = $1 AND m.to_seq IS NULL AND c.last_message_seq > m.last_read_seq`,
      actor,
    )
    const counts = rows.map(({ count }) => count).filter((count) => count > 0)
    return { conversation: counts.length, message: counts.reduce((sum, count) => sum + count, 0) }
  },
}
