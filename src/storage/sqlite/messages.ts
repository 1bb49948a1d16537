/** Messages (M3–M5), as SQLite keeps them. */

import { FanfareError } from '../../protocol/codes.ts'
import type { Args, Result } from '../../protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../protocol/ids.ts'
import type { EventType, Message } from '../../protocol/records.ts'
import type { Act, MessageChanges, NewMessage, Written } from '../storage.ts'
import { membership, type Seat, seat, visibleMessage } from './access.ts'
import { earlierRequest, rememberRequest } from './client-requests.ts'
import type { Database } from './database.ts'
import { appendMessageEvent, scrubMessage } from './log.ts'
import { type ConversationRow, type MessageRow, messageAt, messageRecord } from './rows.ts'

type WrittenMessage = Written<{ message: Message }>

export class SqliteMessages {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  create(act: Act, draft: NewMessage): WrittenMessage {
    const earlier = earlierRequest<MessageId>(this.#db, act.actor, 'create_message', draft.clientId)
    if (earlier) return unchanged(visibleMessage(this.#db, act.actor, earlier))

    const { conversation } = seat(this.#db, act.actor, draft.conversation)
    const seq = conversation.last_seq + 1
    const last =
      conversation.last_message_seq === null
        ? undefined
        : messageAt(this.#db, conversation.key, conversation.last_message_seq)
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
    this.#db.run(
      `INSERT INTO message (conversation, seq, id, created_by, created_at, updated_at, body, metadata, attachment,
         revision, edited_at, edited_by, deleted, client_id)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1, NULL, NULL, 0, ?)`,
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
    rememberRequest(this.#db, act.actor, 'create_message', draft.clientId, draft.id)
    this.#db.run(
      'UPDATE conversation SET last_seq = ?, last_message_seq = ?, updated_at = max(updated_at, ?) WHERE key = ?',
      seq,
      seq,
      act.at,
      conversation.key,
    )
    this.#db.run(
      'UPDATE membership SET last_read_seq = ? WHERE conversation = ? AND user = ? AND to_seq IS NULL',
      seq,
      conversation.key,
      act.actor,
    )
    return this.#written(act, conversation, seq, 'create', messageRecord(row, conversation.id), null)
  }

  edit(act: Act, id: MessageId, changes: MessageChanges): WrittenMessage {
    const earlier = earlierRequest<MessageId>(this.#db, act.actor, 'edit_message', changes.clientId)
    if (earlier) return unchanged(visibleMessage(this.#db, act.actor, earlier))

    const { conversation, message: row } = visibleMessage(this.#db, act.actor, id)
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
    const seq = this.#change(conversation, edited)
    rememberRequest(this.#db, act.actor, 'edit_message', changes.clientId, id)
    return this.#written(act, conversation, seq, 'update', messageRecord(edited, conversation.id), original)
  }

  delete(act: Act, id: MessageId): WrittenMessage {
    const found = visibleMessage(this.#db, act.actor, id)
    const { conversation, message: row } = found
    if (row.created_by !== act.actor && !found.membership.is_admin) {
      throw new FanfareError('forbidden', `only the author of ${id} or an admin may delete it`)
    }
    if (row.deleted) return unchanged(found)
    const scrubbed: MessageRow = { ...row, body: '', metadata: '{}', attachment: null }
    const updatedAt = Math.max(act.at, row.updated_at)
    const tombstone: MessageRow = { ...scrubbed, deleted: 1, revision: row.revision + 1, updated_at: updatedAt }
    const seq = this.#change(conversation, tombstone)
    scrubMessage(this.#db, conversation.key, row.seq)
    const original = messageRecord(scrubbed, conversation.id)
    return this.#written(act, conversation, seq, 'delete', messageRecord(tombstone, conversation.id), original)
  }

  list(
    actor: UserId,
    id: ConversationId,
    limit: number,
    range: Pick<Args<'get_messages'>, 'before_seq' | 'after_seq' | 'before_time'>,
  ): Result<'get_messages'> {
    const { conversation } = seat(this.#db, actor, id)
    let below = range.before_seq ?? Number.MAX_SAFE_INTEGER
    if (range.before_time !== undefined) {
      below = Math.min(below, this.#seqAtTime(conversation, Date.parse(range.before_time)))
    }
    const order = range.after_seq === undefined ? 'DESC' : 'ASC'
    const rows = this.#db.all<MessageRow>(
      `SELECT * FROM message WHERE conversation = ? AND seq < ? AND seq > ? ORDER BY seq ${order} LIMIT ?`,
      conversation.key,
      below,
      range.after_seq ?? 0,
      limit,
    )
    return { messages: rows.map((row) => messageRecord(row, id)) }
  }

  /** The lowest seq whose message is not older than `time`: found by halves, since times never go back with seq. */
  #seqAtTime(conversation: ConversationRow, time: number): number {
    let low = 1
    let high = conversation.last_seq + 1
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      const next = this.#db.get<{ seq: number; created_at: number }>(
        'SELECT seq, created_at FROM message WHERE conversation = ? AND seq >= ? ORDER BY seq LIMIT 1',
        conversation.key,
        middle,
      )
      if (!next || next.created_at >= time) high = middle
      else low = next.seq + 1
    }
    return low
  }

  /** Writes a message's new state, and takes the conversation's next seq for it. */
  #change(conversation: ConversationRow, row: MessageRow): number {
    this.#db.run(
      `UPDATE message SET body = ?, metadata = ?, attachment = ?, revision = ?, updated_at = ?, edited_at = ?,
         edited_by = ?, deleted = ? WHERE conversation = ? AND seq = ?`,
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
    const seq = conversation.last_seq + 1
    this.#db.run('UPDATE conversation SET last_seq = ? WHERE key = ?', seq, conversation.key)
    return seq
  }

  #written(
    act: Act,
    conversation: ConversationRow,
    seq: number,
    event: EventType,
    message: Message,
    original: Message | null,
  ): WrittenMessage {
    const known = membership(this.#db, conversation, act.known)
    const entry = appendMessageEvent(this.#db, act.at, conversation, known, seq, event, message, original)
    return { result: { message }, entry }
  }
}

function unchanged({ conversation, message }: Seat & { message: MessageRow }): WrittenMessage {
  return { result: { message: messageRecord(message, conversation.id) }, entry: null }
}
