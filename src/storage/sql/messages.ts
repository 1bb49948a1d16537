/** Messages (M3–M5). */
import { FanfareError } from '../../protocol/codes.ts'
import type { Args, Result } from '../../protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../protocol/ids.ts'
import type { EventType, Message } from '../../protocol/records.ts'
import type { Act, MessageChanges, MessageStorage, NewMessage, Written } from '../storage.ts'
import { heldMessage, heldSeat, membership, type Seat, seat, visibleMessage } from './access.ts'
import { claimRequest } from './client-requests.ts'
import { appendMessageEvent, scrubMessage } from './log.ts'
import { type ConversationRow, type MessageRow, messageAt, messageRecord } from './rows.ts'
import { type AsSteps, all, get, run, type Steps } from './steps.ts'

type WrittenMessage = Written<{ message: Message }>

export const messages: AsSteps<MessageStorage> = {
  *create(act: Act, draft: NewMessage): Steps<WrittenMessage> {
    const earlier = yield* claimRequest(act.actor, 'create_message', draft.clientId, draft.id)
    if (earlier) return unchanged(yield* visibleMessage(act.actor, earlier))

    const { conversation } = yield* heldSeat(act.actor, draft.conversation)
    const seq = conversation.last_seq + 1
    const last =
      conversation.last_message_seq === null
        ? undefined
        : yield* messageAt(conversation.key, conversation.last_message_seq)
    // A clock that was set back must not put a later message before an earlier one.
    const at = Math.max(act.at, last?.created_at ?? 0)
    const row: MessageRow = {
      conversation: conversation.key,
      seq,
      id: draft.id,
      created_by: act.actor,
      created_at: at,
      updated_at: at,
      body: draft.body,
      metadata: JSON.stringify(draft.metadata),
      attachment: draft.attachment && JSON.stringify(draft.attachment),
      revision: 1,
      edited_at: null,
      edited_by: null,
      deleted: 0,
      client_id: draft.clientId,
    }
    yield* run(
      `INSERT INTO message (conversation, seq, id, created_by, created_at, updated_at, body, metadata, attachment,
         revision, edited_at, edited_by, deleted, client_id)
       VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1, NULL, NULL, 0, $10)`,
      row.conversation,
      row.seq,
      row.id,
      row.created_by,
      row.created_at,
      row.updated_at,
      row.body,
      row.metadata,
      row.attachment,
      row.client_id,
    )
    yield* run(
      'UPDATE membership SET last_read_seq = $1 WHERE conversation = $2 AND "user" = $3 AND to_seq IS NULL',
      seq,
      conversation.key,
      act.actor,
    )
    const record = messageRecord(row, conversation.id)
    const known = yield* membership(conversation, act.known)
    const entry = yield* appendMessageEvent(act.at, conversation, known, seq, 'create', record, null)
    yield* run(
      'UPDATE conversation SET last_seq = $1, last_message_seq = $1, last_position = $2, updated_at = $3 WHERE key = $4',
      seq,
      entry.position,
      Math.max(conversation.updated_at, act.at),
      conversation.key,
    )
    return { result: { message: record }, entry }
  },

  *edit(act: Act, id: MessageId, changes: MessageChanges): Steps<WrittenMessage> {
    const earlier = yield* claimRequest(act.actor, 'edit_message', changes.clientId, id)
    if (earlier) return unchanged(yield* visibleMessage(act.actor, earlier))

    const { conversation, message: row } = yield* heldMessage(act.actor, id)
    if (row.created_by !== act.actor) throw new FanfareError('forbidden', `only the author of ${id} may edit it`)
    if (row.deleted) throw new FanfareError('conflict', `${id} was deleted`)
    if (changes.revision !== undefined && changes.revision !== row.revision) {
      throw new FanfareError('conflict', `${id} has been changed since: it is at revision ${row.revision}`, {
        revision: row.revision,
      })
    }
    const original = messageRecord(row, conversation.id)
    const edited: MessageRow = {
      ...row,
      body: changes.body ?? row.body,
      metadata: changes.metadata === undefined ? row.metadata : JSON.stringify(changes.metadata),
      attachment:
        changes.attachment === undefined ? row.attachment : changes.attachment && JSON.stringify(changes.attachment),
      revision: row.revision + 1,
      updated_at: Math.max(act.at, row.updated_at),
      edited_at: act.at,
      edited_by: act.actor,
    }
    yield* change(edited)
    return yield* written(act, conversation, 'update', messageRecord(edited, conversation.id), original)
  },

  *delete(act: Act, id: MessageId): Steps<WrittenMessage> {
    const found = yield* heldMessage(act.actor, id)
    const { conversation, message: row } = found
    if (row.created_by !== act.actor && !found.membership.is_admin) {
      throw new FanfareError('forbidden', `only the author of ${id} or an admin may delete it`)
    }
    if (row.deleted) return unchanged(found)
    const scrubbed: MessageRow = { ...row, body: '', metadata: '{}', attachment: null }
    const updatedAt = Math.max(act.at, row.updated_at)
    const tombstone: MessageRow = { ...scrubbed, deleted: 1, revision: row.revision + 1, updated_at: updatedAt }
    yield* change(tombstone)
    yield* scrubMessage(conversation.key, row.seq)
    const original = messageRecord(scrubbed, conversation.id)
    return yield* written(act, conversation, 'delete', messageRecord(tombstone, conversation.id), original)
  },

  *list(
    actor: UserId,
    id: ConversationId,
    limit: number,
    range: Pick<Args<'get_messages'>, 'before_seq' | 'after_seq' | 'before_time'>,
  ): Steps<Result<'get_messages'>> {
    const { conversation } = yield* seat(actor, id)
    let below = range.before_seq ?? Number.MAX_SAFE_INTEGER
    if (range.before_time !== undefined) {
      below = Math.min(below, yield* seqAtTime(conversation, Date.parse(range.before_time)))
    }
    const order = range.after_seq === undefined ? 'DESC' : 'ASC'
    const rows = yield* all<MessageRow>(
      `SELECT * FROM message WHERE conversation = $1 AND seq < $2 AND seq > $3 ORDER BY seq ${order} LIMIT $4`,
      conversation.key,
      below,
      range.after_seq ?? 0,
      limit,
    )
    return { messages: rows.map((row) => messageRecord(row, id)) }
  },
}

/** The lowest seq whose message is not older than `time`: found by halves, since times never go back with seq. */
function* seqAtTime(conversation: ConversationRow, time: number): Steps<number> {
  let low = 1
  let high = conversation.last_seq + 1
  while (low < high) {
    const middle = Math.floor((low + high) / 2)
    const next = yield* get<{ seq: number; created_at: number }>(
      'SELECT seq, created_at FROM message WHERE conversation = $1 AND seq >= $2 ORDER BY seq LIMIT 1',
      conversation.key,
      middle,
    )
    if (!next || next.created_at >= time) high = middle
    else low = next.seq + 1
  }
  return low
}

/** Writes a message's new state. */
function change(row: MessageRow): Steps<number> {
  return run(
    `UPDATE message SET body = $1, metadata = $2, attachment = $3, revision = $4, updated_at = $5, edited_at = $6,
       edited_by = $7, deleted = $8 WHERE conversation = $9 AND seq = $10`,
    row.body,
    row.metadata,
    row.attachment,
    row.revision,
    row.updated_at,
    row.edited_at,
    row.edited_by,
    row.deleted,
    row.conversation,
    row.seq,
  )
}

/** Tells of a message's change, under the conversation's next seq. */
function* written(
  act: Act,
  conversation: ConversationRow,
  event: EventType,
  message: Message,
  original: Message,
): Steps<WrittenMessage> {
  const known = yield* membership(conversation, act.known)
  const seq = conversation.last_seq + 1
  const entry = yield* appendMessageEvent(act.at, conversation, known, seq, event, message, original)
  yield* run(
    'UPDATE conversation SET last_seq = $1, last_position = $2 WHERE key = $3',
    seq,
    entry.position,
    conversation.key,
  )
  return { result: { message }, entry }
}

function unchanged({ conversation, message }: Seat & { message: MessageRow }): WrittenMessage {
  return { result: { message: messageRecord(message, conversation.id) }, entry: null }
}
