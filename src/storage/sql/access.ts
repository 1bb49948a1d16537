/** Who may: the checks that stand at the head of an operation, in its own transaction. */
import { FanfareError } from '../../protocol/codes.ts'
import type { ConversationId, MessageId, UserId } from '../../protocol/ids.ts'
import type { Membership } from '../storage.ts'
import type { ConversationRow, MembershipRow, MessageRow } from './rows.ts'
import { all, get, type Steps } from './steps.ts'

/** A conversation with the caller's own part in it. */
export interface Seat {
  readonly conversation: ConversationRow
  readonly membership: MembershipRow
}

/** The user's part in the conversation now, or undefined. */
export function membershipOf(conversation: number, user: UserId): Steps<MembershipRow | undefined> {
  return get<MembershipRow>(
    'SELECT * FROM membership WHERE conversation = $1 AND "user" = $2 AND to_seq IS NULL',
    conversation,
    user,
  )
}

/** The caller's seat, to read; `not_found` for who has none, as if the conversation did not exist. */
export function* seat(actor: UserId, id: ConversationId): Steps<Seat> {
  const conversation = yield* get<ConversationRow>('SELECT * FROM conversation WHERE id = $1', id)
  const membership = conversation && (yield* membershipOf(conversation.key, actor))
  return seated(conversation, membership, id)
}

/** The caller's seat in a conversation that nobody else changes until the operation ends. */
export function* heldSeat(actor: UserId, id: ConversationId): Steps<Seat> {
  const conversation = yield* get<ConversationRow>('SELECT * FROM conversation WHERE id = $1 FOR UPDATE', id)
  const membership = conversation && (yield* membershipOf(conversation.key, actor))
  return seated(conversation, membership, id)
}

/** The caller's seat, of which his own part is changed by nobody else until the operation ends. */
export function* ownSeat(actor: UserId, id: ConversationId): Steps<Seat> {
  const conversation = yield* get<ConversationRow>('SELECT * FROM conversation WHERE id = $1', id)
  const membership =
    conversation &&
    (yield* get<MembershipRow>(
      'SELECT * FROM membership WHERE conversation = $1 AND "user" = $2 AND to_seq IS NULL FOR UPDATE',
      conversation.key,
      actor,
    ))
  return seated(conversation, membership, id)
}

/** A seat in a conversation that nobody else changes until the operation ends, and it must be an admin's. */
export function* heldAdminSeat(actor: UserId, id: ConversationId): Steps<Seat> {
  const found = yield* heldSeat(actor, id)
  if (!found.membership.is_admin) throw new FanfareError('forbidden', `only an admin of ${id} may do this`)
  return found
}

/** A message that the caller may see, with his seat in its conversation. */
export function* visibleMessage(actor: UserId, id: MessageId): Steps<Seat & { message: MessageRow }> {
  const conversation = yield* get<ConversationRow>(conversationOfMessage, id)
  return yield* messageIn(conversation, actor, id)
}

/** The same, in a conversation that nobody else changes until the operation ends. */
export function* heldMessage(actor: UserId, id: MessageId): Steps<Seat & { message: MessageRow }> {
  const conversation = yield* get<ConversationRow>(`${conversationOfMessage} FOR UPDATE OF c`, id)
  return yield* messageIn(conversation, actor, id)
}

const conversationOfMessage = 'SELECT c.* FROM message m JOIN conversation c ON c.key = m.conversation WHERE m.id = $1'

/** The message is read last: another may have changed it while its conversation was waited for. */
function* messageIn(
  conversation: ConversationRow | undefined,
  actor: UserId,
  id: MessageId,
): Steps<Seat & { message: MessageRow }> {
  const membership = conversation && (yield* membershipOf(conversation.key, actor))
  const found = seated(conversation, membership, id)
  const message = yield* get<MessageRow>('SELECT * FROM message WHERE id = $1', id)
  return { ...found, message: message as MessageRow }
}

function seated(
  conversation: ConversationRow | undefined,
  membership: MembershipRow | undefined,
  id: ConversationId | MessageId,
): Seat {
  if (!conversation || !membership) throw new FanfareError('not_found', `there is no ${id} for you`)
  return { conversation, membership }
}

/** All who take part now, by user id. */
export function* participants(conversation: number): Steps<UserId[]> {
  const rows = yield* all<{ user: UserId }>(
    'SELECT "user" FROM membership WHERE conversation = $1 AND to_seq IS NULL ORDER BY "user"',
    conversation,
  )
  return rows.map(({ user }) => user)
}

/** The membership as the caller needs it: with the participants, unless it knows this version. */
export function* membership(conversation: ConversationRow, known: number): Steps<Membership> {
  const version = conversation.membership_version
  return version === known ? { version } : { version, participants: yield* participants(conversation.key) }
}
