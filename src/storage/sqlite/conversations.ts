/** Conversations and who takes part in them (M1, M2), as SQLite keeps them. */
import { createHash } from 'node:crypto'
import { FanfareError } from '../../protocol/codes.ts'
import type { ConversationView, Result } from '../../protocol/commands.ts'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { Conversation, Metadata, RecordEvent } from '../../protocol/records.ts'
import type { Act, Membership, NewConversation, Telling, Written } from '../storage.ts'
import { adminSeat, membership, membershipOf, participants, type Seat, seat } from './access.ts'
import { earlierRequest, rememberRequest } from './client-requests.ts'
import type { Database } from './database.ts'
import { appendConversationEvent, scrubConversation } from './log.ts'
import { leaving } from './replay.ts'
import { type ConversationRow, conversationRecord, messageAt, messageRecord, userConversationRecord } from './rows.ts'

export class SqliteConversations {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  create(act: Act, draft: NewConversation): Written<Result<'create_conversation'>> {
    const earlier = earlierRequest<ConversationId>(this.#db, act.actor, 'create_conversation', draft.clientId)
    if (earlier) return this.#found(seat(this.#db, act.actor, earlier))

    const taking = new Set([act.actor, ...draft.participants])
    const users = [...taking].sort()
    const admins = new Set([act.actor, ...draft.admins])
    for (const admin of admins) {
      if (!taking.has(admin)) throw new FanfareError('invalid_argument', `admins: ${admin} is no participant`)
    }
    const distinctKey = draft.distinct ? digest(users) : null
    const same = distinctKey && this.#byDistinctKey(distinctKey)
    if (same) {
      rememberRequest(this.#db, act.actor, 'create_conversation', draft.clientId, same.id)
      return this.#found(seat(this.#db, act.actor, same.id))
    }

    this.#requireRoom(users.length, users)
    const { lastInsertRowid: key } = this.#db.run(
      `INSERT INTO conversation (id, title, metadata, distinct_key, created_by, created_at, updated_at,
         last_seq, last_message_seq, participant_count, membership_version)
       VALUES (?, ?, ?, ?, ?, ?, ?, 1, NULL, ?, 1)`,
      draft.id,
      draft.title,
      JSON.stringify(draft.metadata),
      distinctKey,
      act.actor,
      act.at,
      act.at,
      users.length,
    )
    for (const user of users) this.#join(key, user, 1, admins.has(user))
    rememberRequest(this.#db, act.actor, 'create_conversation', draft.clientId, draft.id)

    const row = this.#byKey(key)
    const record = conversationRecord(this.#db, row)
    const data: RecordEvent = {
      record_type: 'conversation',
      event_type: 'create',
      record,
      original_record: null,
    }
    const entry = appendConversationEvent(this.#db, act.at, row, { version: 1, participants: users }, 1, data, [
      { to: 'participants', data },
    ])
    return { result: { conversation: record, created: true }, entry }
  }

  get(actor: UserId, id: ConversationId): ConversationView {
    const { conversation, membership } = seat(this.#db, actor, id)
    const lastSeq = conversation.last_message_seq
    const last = lastSeq === null ? undefined : messageAt(this.#db, conversation.key, lastSeq)
    return {
      conversation: conversationRecord(this.#db, conversation),
      user_conversation: userConversationRecord(this.#db, id, membership),
      last_message: last ? messageRecord(last, id) : null,
    }
  }

  list(actor: UserId, limit: number, before: ConversationId | number | null): ConversationView[] {
    let below: { updated_at: number; key: number } = { updated_at: Number.MAX_SAFE_INTEGER, key: 0 }
    if (typeof before === 'number') below = { updated_at: before, key: 0 }
    else if (before !== null) below = seat(this.#db, actor, before).conversation
    return this.#db
      .all<{ id: ConversationId }>(
        `SELECT c.id FROM membership m JOIN conversation c ON c.key = m.conversation
         WHERE m.user = ? AND m.to_seq IS NULL AND (c.updated_at, c.key) < (?, ?)
         ORDER BY c.updated_at DESC, c.key DESC LIMIT ?`,
        actor,
        below.updated_at,
        below.key,
        limit,
      )
      .map(({ id }) => this.get(actor, id))
  }

  update(
    act: Act,
    id: ConversationId,
    title: string | null | undefined,
    metadata: Metadata | undefined,
  ): Written<{ conversation: Conversation }> {
    const { conversation } = adminSeat(this.#db, act.actor, id)
    return this.#change(act, conversation, () => {
      if (title !== undefined) {
        this.#db.run('UPDATE conversation SET title = ? WHERE key = ?', title, conversation.key)
      }
      if (metadata !== undefined) {
        const text = JSON.stringify(metadata)
        this.#db.run('UPDATE conversation SET metadata = ? WHERE key = ?', text, conversation.key)
      }
    })
  }

  setAdmins(
    act: Act,
    id: ConversationId,
    users: readonly UserId[],
    admin: boolean,
  ): Written<{ conversation: Conversation }> {
    const { conversation } = adminSeat(this.#db, act.actor, id)
    const changed = [...new Set(users)].filter((user) => {
      const part = membershipOf(this.#db, conversation.key, user)
      if (!part && admin) throw new FanfareError('invalid_argument', `admins: ${user} is no participant`)
      return part && part.is_admin !== Number(admin)
    })
    if (changed.length === 0) return this.#unchanged(conversation)
    return this.#change(act, conversation, () => {
      for (const user of changed) {
        this.#db.run(
          'UPDATE membership SET is_admin = ? WHERE conversation = ? AND user = ? AND to_seq IS NULL',
          Number(admin),
          conversation.key,
          user,
        )
      }
    })
  }

  addParticipants(act: Act, id: ConversationId, users: readonly UserId[]): Written<{ conversation: Conversation }> {
    const { conversation } = adminSeat(this.#db, act.actor, id)
    const added = [...new Set(users)].filter((user) => !membershipOf(this.#db, conversation.key, user))
    if (added.length === 0) return this.#unchanged(conversation)
    if (conversation.distinct_key !== null) {
      throw new FanfareError('conflict', `${id} belongs to its participants alone: make another one to talk with more`)
    }
    this.#requireRoom(conversation.participant_count + added.length, added)
    return this.#changeParticipants(act, conversation, added, [], (seq) => {
      for (const user of added) this.#join(conversation.key, user, seq, false)
    })
  }

  removeParticipants(act: Act, id: ConversationId, users: readonly UserId[]): Written<Result<'remove_participants'>> {
    const { conversation, membership: own } = seat(this.#db, act.actor, id)
    if (!own.is_admin && users.some((user) => user !== act.actor)) {
      throw new FanfareError('forbidden', `only an admin of ${id} may remove others`)
    }
    const removed = [...new Set(users)].filter((user) => membershipOf(this.#db, conversation.key, user))
    if (removed.length === 0) return this.#unchanged(conversation)
    const written = this.#changeParticipants(act, conversation, [], removed, (seq) => {
      for (const user of removed) {
        this.#db.run(
          'UPDATE membership SET to_seq = ?, is_admin = 0 WHERE conversation = ? AND user = ? AND to_seq IS NULL',
          seq,
          conversation.key,
          user,
        )
      }
      this.#db.run('UPDATE conversation SET distinct_key = NULL WHERE key = ?', conversation.key)
    })
    return removed.includes(act.actor) ? { result: { conversation: { id } }, entry: written.entry } : written
  }

  delete(act: Act, id: ConversationId): Written<Result<'delete_conversation'>> {
    const { conversation } = adminSeat(this.#db, act.actor, id)
    const { key } = conversation
    const seq = conversation.last_seq + 1
    const everyone = participants(this.#db, key)
    const gone = { id, deleted: true } as const
    const data: RecordEvent = {
      record_type: 'conversation',
      event_type: 'delete',
      record: gone,
      original_record: gone,
    }
    const nobody: Membership = { version: conversation.membership_version + 1, participants: [] }
    const entry = appendConversationEvent(this.#db, act.at, conversation, nobody, seq, data, [{ to: everyone, data }])
    this.#db.run('UPDATE membership SET to_seq = ? WHERE conversation = ? AND to_seq IS NULL', seq, key)
    this.#db.run('DELETE FROM message WHERE conversation = ?', key)
    this.#db.run('DELETE FROM conversation WHERE key = ?', key)
    scrubConversation(this.#db, conversation, seq)
    return { result: { conversation: gone }, entry }
  }

  participants(actor: UserId, id: ConversationId, limit: number, after: UserId | null): Result<'get_participants'> {
    const { conversation } = seat(this.#db, actor, id)
    const rows = this.#db.all<{ user: UserId; is_admin: number }>(
      `SELECT user, is_admin FROM membership
       WHERE conversation = ? AND user > ? AND to_seq IS NULL ORDER BY user LIMIT ?`,
      conversation.key,
      after ?? '',
      limit,
    )
    return {
      participants: rows.map(({ user }) => user),
      admins: rows.filter(({ is_admin }) => is_admin).map(({ user }) => user),
    }
  }

  membership(id: ConversationId): Membership {
    const row = this.#db.get<ConversationRow>('SELECT * FROM conversation WHERE id = ?', id)
    if (!row) throw new FanfareError('not_found', `there is no ${id} for you`)
    return membership(this.#db, row, 0)
  }

  #byKey(key: number): ConversationRow {
    return this.#db.get<ConversationRow>('SELECT * FROM conversation WHERE key = ?', key) as ConversationRow
  }

  #byDistinctKey(distinctKey: string): ConversationRow | undefined {
    return this.#db.get<ConversationRow>('SELECT * FROM conversation WHERE distinct_key = ?', distinctKey)
  }

  #found({ conversation }: Seat): Written<Result<'create_conversation'>> {
    return { result: { conversation: conversationRecord(this.#db, conversation), created: false }, entry: null }
  }

  #unchanged(conversation: ConversationRow): Written<{ conversation: Conversation }> {
    return { result: { conversation: conversationRecord(this.#db, conversation) }, entry: null }
  }

  /** Who joins has read all that is before: his marker stands at the seq of joining. */
  #join(conversation: number, user: UserId, seq: number, admin: boolean): void {
    this.#db.run(
      `INSERT INTO membership (conversation, user, from_seq, to_seq, is_admin, last_read_seq)
       VALUES (?, ?, ?, NULL, ?, ?)`,
      conversation,
      user,
      seq,
      Number(admin),
      seq,
    )
  }

  #requireRoom(count: number, joining: readonly UserId[]): void {
    const { maxParticipants, maxConversationsPerUser } = this.#db.limits
    if (maxParticipants && count > maxParticipants) {
      throw new FanfareError('too_large', `a conversation has at most ${maxParticipants} participants`, {
        limit: maxParticipants,
      })
    }
    if (!maxConversationsPerUser) return
    for (const user of joining) {
      const full = this.#db.get(
        'SELECT 1 FROM membership WHERE user = ? AND to_seq IS NULL LIMIT 1 OFFSET ?',
        user,
        maxConversationsPerUser - 1,
      )
      if (full) {
        throw new FanfareError(
          'too_large',
          `${user} is in ${maxConversationsPerUser} conversations, the most there may be`,
          {
            limit: maxConversationsPerUser,
          },
        )
      }
    }
  }

  /** A change that all participants are told alike. */
  #change(act: Act, before: ConversationRow, write: () => void): Written<{ conversation: Conversation }> {
    const { row, data } = this.#next(act, before, write)
    const entry = appendConversationEvent(
      this.#db,
      act.at,
      row,
      membership(this.#db, row, act.known),
      row.last_seq,
      data,
      [{ to: 'participants', data }],
    )
    return { result: { conversation: data.record as Conversation }, entry }
  }

  /** A change of participants: one event, told differently to those who come, stay and go (E5). */
  #changeParticipants(
    act: Act,
    before: ConversationRow,
    added: readonly UserId[],
    removed: readonly UserId[],
    write: (seq: number) => void,
  ): Written<{ conversation: Conversation }> {
    const { row, data } = this.#next(act, before, (seq) => {
      write(seq)
      this.#db.run(
        `UPDATE conversation SET participant_count = participant_count + ?, membership_version = membership_version + 1
         WHERE key = ?`,
        added.length - removed.length,
        before.key,
      )
    })
    const now = membership(this.#db, row, 0)
    const came = new Set(added)
    const staying = (now.participants ?? []).filter((user) => !came.has(user))
    const tellings: Telling[] = []
    if (removed.length) tellings.push({ to: removed, data: leaving(row.id) })
    if (staying.length) tellings.push({ to: staying, data })
    if (added.length) tellings.push({ to: added, data: { ...data, event_type: 'create', original_record: null } })
    const entry = appendConversationEvent(this.#db, act.at, row, now, row.last_seq, data, tellings)
    return { result: { conversation: data.record as Conversation }, entry }
  }

  /** Writes a change under the conversation's next seq, and tells it as an update. */
  #next(act: Act, before: ConversationRow, write: (seq: number) => void) {
    const original = conversationRecord(this.#db, before)
    const seq = before.last_seq + 1
    write(seq)
    this.#db.run(
      'UPDATE conversation SET last_seq = ?, updated_at = max(updated_at, ?) WHERE key = ?',
      seq,
      act.at,
      before.key,
    )
    const row = this.#byKey(before.key)
    return {
      row,
      data: {
        record_type: 'conversation' as const,
        event_type: 'update' as const,
        record: conversationRecord(this.#db, row),
        original_record: original,
      },
    }
  }
}

/** Names a set of participants, be it of two or of ten thousand. */
function digest(users: readonly UserId[]): string {
  return createHash('sha256').update(users.join('\n')).digest('base64url')
}
