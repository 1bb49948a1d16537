/** How far each participant has read (M6, E6), as SQLite keeps it. */

import { FanfareError } from '../../protocol/codes.ts'
import type { Result } from '../../protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../protocol/ids.ts'
import type { Act, Written } from '../storage.ts'
import { seat } from './access.ts'
import type { Database } from './database.ts'
import { appendUserEvent } from './log.ts'
import { type MembershipRow, unreadCount, userConversationRecord } from './rows.ts'

export class SqliteReadMarkers {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  move(act: Act, id: ConversationId, message: MessageId): Written<Result<'mark_as_last_message_read'>> {
    const { conversation, membership } = seat(this.#db, act.actor, id)
    const found = this.#db.get<{ seq: number }>(
      'SELECT seq FROM message WHERE id = ? AND conversation = ?',
      message,
      conversation.key,
    )
    if (!found) throw new FanfareError('not_found', `there is no ${message} in ${id}`)
    const original = userConversationRecord(this.#db, id, membership)
    if (found.seq <= membership.last_read_seq) return { result: { user_conversation: original }, entry: null }
    this.#db.run(
      'UPDATE membership SET last_read_seq = ? WHERE conversation = ? AND user = ? AND to_seq IS NULL',
      found.seq,
      conversation.key,
      act.actor,
    )
    const record = userConversationRecord(this.#db, id, { ...membership, last_read_seq: found.seq })
    const entry = appendUserEvent(this.#db, act.at, act.actor, {
      record_type: 'user_conversation',
      event_type: 'update',
      record,
      original_record: original,
    })
    return { result: { user_conversation: record }, entry }
  }

  unread(actor: UserId): Result<'get_unread_count'> {
    // Only where a message was created behind the marker is there anything to count.
    const rows = this.#db.all<MembershipRow>(
      `SELECT m.* FROM membership m JOIN conversation c ON c.key = m.conversation
       WHERE m.user = ? AND m.to_seq IS NULL AND c.last_message_seq > m.last_read_seq`,
      actor,
    )
    const counts = rows.map((row) => unreadCount(this.#db, row)).filter((count) => count > 0)
    return { conversation: counts.length, message: counts.reduce((sum, count) => sum + count, 0) }
  }
}
