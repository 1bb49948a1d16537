/** Who may: the checks that stand at the head of an operation, in its own transaction. */
import { FanfareError } from '../../protocol/codes.ts'
import type { ConversationId, MessageId, UserId } from '../../protocol/ids.ts'
import type { Membership } from '../storage.ts'
import type { Database } from './database.ts'
import type { ConversationRow, MembershipRow, MessageRow } from './rows.ts'

/** A conversation with the caller's own part in it. */
export interface Seat {
  readonly conversation: ConversationRow
  readonly membership: MembershipRow
}

/** The user's part in the conversation now, or undefined. */
export function membershipOf(db: Database, conversation: number, user: UserId): MembershipRow | undefined {
  return db.get<MembershipRow>(
    'SELECT * FROM membership WHERE conversation = ? AND user = ? AND to_seq IS NULL',
    conversation,
    user,
  )
}

/** The caller's seat; `not_found` for who has none, as if the conversation did not exist. */
export function seat(db: Database, actor: UserId, id: ConversationId): Seat {
  const conversation = db.get<ConversationRow>('SELECT * FROM conversation WHERE id = ?', id)
  const membership = conversation && membershipOf(db, conversation.key, actor)
  if (!membership) throw new FanfareError('not_found', `there is no ${id} for you`)
  return { conversation, membership }
}

/** The caller's seat, which must be an admin's. */
export function adminSeat(db: Database, actor: UserId, id: ConversationId): Seat {
  const found = seat(db, actor, id)
  if (!found.membership.is_admin) throw new FanfareError('forbidden', `only an admin of ${id} may do this`)
  return found
}

/** A message that the caller may see, with his seat in its conversation. */
export function visibleMessage(db: Database, actor: UserId, id: MessageId): Seat & { message: MessageRow } {
  const message = db.get<MessageRow>('SELECT * FROM message WHERE id = ?', id)
  const conversation =
    message && db.get<ConversationRow>('SELECT * FROM conversation WHERE key = ?', message.conversation)
  const membership = conversation && membershipOf(db, conversation.key, actor)
  if (!membership) throw new FanfareError('not_found', `there is no ${id} for you`)
  return { conversation, membership, message }
}

/** All who take part now, by user id. */
export function participants(db: Database, conversation: number): UserId[] {
  return db
    .all<{ user: UserId }>(
      'SELECT user FROM membership WHERE conversation = ? AND to_seq IS NULL ORDER BY user',
      conversation,
    )
    .map(({ user }) => user)
}

/** The membership as the caller needs it: with the participants, unless it knows this version. */
export function membership(db: Database, conversation: ConversationRow, known: number): Membership {
  const version = conversation.membership_version
  return version === known ? { version } : { version, participants: participants(db, conversation.key) }
}
