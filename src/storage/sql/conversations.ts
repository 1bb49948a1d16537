/** Conversations and who takes part in them (M1, M2). */
import { createHash } from 'node:crypto'
import { FanfareError } from '../../protocol/codes.ts'
import type { ConversationView, Result } from '../../protocol/commands.ts'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { Conversation, Metadata, RecordEvent } from '../../protocol/records.ts'
import type {
  Act,
  ConversationStorage,
  LogEntry,
  Membership,
  NewConversation,
  StorageLimits,
  Telling,
  Written,
} from '../storage.ts'
import { heldAdminSeat, heldSeat, membership, membershipOf, participants, type Seat, seat } from './access.ts'
import { claimRequest, pointRequest } from './client-requests.ts'
import { appendConversationEvent, scrubConversation } from './log.ts'
import { leaving } from './replay.ts'
import { type ConversationRow, conversationRecord, messageAt, messageRecord, userConversationRecord } from './rows.ts'
import { type AsSteps, all, get, run, type Steps, together } from './steps.ts'

/** So much of a conversation is taken away by one statement at most: what the database allows one (5 s) is enough for 30 times as much. */
export const placesAtOnce = 10_000

export function conversations(limits: StorageLimits): AsSteps<ConversationStorage> {
  return {
    *create(act: Act, draft: NewConversation): Steps<Written<Result<'create_conversation'>>> {
      const earlier = yield* claimRequest(act.actor, 'create_conversation', draft.clientId, draft.id)
      if (earlier) return yield* found(yield* seat(act.actor, earlier))

      const taking = new Set([act.actor, ...draft.participants])
      const users = [...taking].sort()
      const admins = new Set([act.actor, ...draft.admins])
      for (const admin of admins) {
        if (!taking.has(admin)) throw new FanfareError('invalid_argument', `admins: ${admin} is no participant`)
      }
      const made = yield* findOrInsert(act, draft, users, limits)
      if ('same' in made) {
        yield* pointRequest(act.actor, 'create_conversation', draft.clientId, made.same.id)
        return yield* found(yield* seat(act.actor, made.same.id))
      }
      yield* together(users.map((user) => join(made.key, user, 1, admins.has(user))))

      const row = yield* byKey(made.key)
      const record = yield* conversationRecord(row)
      const data: RecordEvent = {
        record_type: 'conversation',
        event_type: 'create',
        record,
        original_record: null,
      }
      const entry = yield* appendConversationEvent(act.at, row, { version: 1, participants: users }, 1, data, [
        { to: 'participants', data },
      ])
      yield* stoodAt(row, entry)
      return { result: { conversation: record, created: true }, entry }
    },

    get: view,

    *list(actor: UserId, limit: number, before: ConversationId | number | null): Steps<ConversationView[]> {
      let below: { updated_at: number; key: number } = { updated_at: Number.MAX_SAFE_INTEGER, key: 0 }
      if (typeof before === 'number') below = { updated_at: before, key: 0 }
      else if (before !== null) below = (yield* seat(actor, before)).conversation
      const rows = yield* all<{ id: ConversationId }>(
        `SELECT c.id FROM membership m JOIN conversation c ON c.key = m.conversation
         WHERE m."user" = $1 AND m.to_seq IS NULL AND (c.updated_at, c.key) < ($2, $3)
         ORDER BY c.updated_at DESC, c.key DESC LIMIT $4`,
        actor,
        below.updated_at,
        below.key,
        limit,
      )
      return yield* together(rows.map(({ id }) => view(actor, id)))
    },

    *update(
      act: Act,
      id: ConversationId,
      title: string | null | undefined,
      metadata: Metadata | undefined,
    ): Steps<Written<{ conversation: Conversation }>> {
      const { conversation } = yield* heldAdminSeat(act.actor, id)
      return yield* change(act, conversation, function* () {
        if (title !== undefined) {
          yield* run('UPDATE conversation SET title = $1 WHERE key = $2', title, conversation.key)
        }
        if (metadata !== undefined) {
          const text = JSON.stringify(metadata)
          yield* run('UPDATE conversation SET metadata = $1 WHERE key = $2', text, conversation.key)
        }
      })
    },

    *setAdmins(
      act: Act,
      id: ConversationId,
      users: readonly UserId[],
      admin: boolean,
    ): Steps<Written<{ conversation: Conversation }>> {
      const { conversation } = yield* heldAdminSeat(act.actor, id)
      const named = [...new Set(users)]
      const parts = yield* together(named.map((user) => membershipOf(conversation.key, user)))
      const changed = named.filter((user, index) => {
        const part = parts[index]
        if (!part && admin) throw new FanfareError('invalid_argument', `admins: ${user} is no participant`)
        return part && part.is_admin !== Number(admin)
      })
      if (changed.length === 0) return yield* unchanged(conversation)
      const text = 'UPDATE membership SET is_admin = $1 WHERE conversation = $2 AND "user" = $3 AND to_seq IS NULL'
      return yield* change(act, conversation, function* () {
        yield* together(changed.map((user) => run(text, Number(admin), conversation.key, user)))
      })
    },

    *addParticipants(
      act: Act,
      id: ConversationId,
      users: readonly UserId[],
    ): Steps<Written<{ conversation: Conversation }>> {
      const { conversation } = yield* heldAdminSeat(act.actor, id)
      const named = [...new Set(users)]
      const parts = yield* together(named.map((user) => membershipOf(conversation.key, user)))
      const added = named.filter((_, index) => !parts[index])
      if (added.length === 0) return yield* unchanged(conversation)
      if (conversation.distinct_key !== null) {
        throw new FanfareError(
          'conflict',
          `${id} belongs to its participants alone: make another one to talk with more`,
        )
      }
      yield* requireRoom(limits, conversation.participant_count + added.length, added)
      return yield* changeParticipants(act, conversation, added, [], function* (seq) {
        yield* together(added.map((user) => join(conversation.key, user, seq, false)))
      })
    },

    *removeParticipants(
      act: Act,
      id: ConversationId,
      users: readonly UserId[],
    ): Steps<Written<Result<'remove_participants'>>> {
      const { conversation, membership: own } = yield* heldSeat(act.actor, id)
      if (!own.is_admin && users.some((user) => user !== act.actor)) {
        throw new FanfareError('forbidden', `only an admin of ${id} may remove others`)
      }
      const named = [...new Set(users)]
      const parts = yield* together(named.map((user) => membershipOf(conversation.key, user)))
      const removed = named.filter((_, index) => parts[index])
      if (removed.length === 0) return yield* unchanged(conversation)
      const text =
        'UPDATE membership SET to_seq = $1, is_admin = 0 WHERE conversation = $2 AND "user" = $3 AND to_seq IS NULL'
      const written = yield* changeParticipants(act, conversation, [], removed, function* (seq) {
        yield* together(removed.map((user) => run(text, seq, conversation.key, user)))
        yield* run('UPDATE conversation SET distinct_key = NULL WHERE key = $1', conversation.key)
      })
      return removed.includes(act.actor) ? { result: { conversation: { id } }, entry: written.entry } : written
    },

    *delete(act: Act, id: ConversationId): Steps<Written<Result<'delete_conversation'>>> {
      const { conversation } = yield* heldAdminSeat(act.actor, id)
      const { key } = conversation
      const seq = conversation.last_seq + 1
      const everyone = yield* participants(key)
      const gone = { id, deleted: true } as const
      const data: RecordEvent = {
        record_type: 'conversation',
        event_type: 'delete',
        record: gone,
        original_record: gone,
      }
      for (let after = 0; after < seq; after += placesAtOnce) {
        const last = after + placesAtOnce
        yield* run('DELETE FROM message WHERE conversation = $1 AND seq > $2 AND seq <= $3', key, after, last)
        yield* scrubConversation(conversation, after, last)
      }
      yield* run('UPDATE membership SET to_seq = $1 WHERE conversation = $2 AND to_seq IS NULL', seq, key)
      yield* run('DELETE FROM conversation WHERE key = $1', key)
      const nobody: Membership = { version: conversation.membership_version + 1, participants: [] }
      // At the end, for all who follow the log, or stand behind this in it, wait for who has a position until he has committed.
      const entry = yield* appendConversationEvent(act.at, conversation, nobody, seq, data, [{ to: everyone, data }])
      return { result: { conversation: gone }, entry }
    },

    *participants(
      actor: UserId,
      id: ConversationId,
      limit: number,
      after: UserId | null,
    ): Steps<Result<'get_participants'>> {
      const { conversation } = yield* seat(actor, id)
      const rows = yield* all<{ user: UserId; is_admin: number }>(
        `SELECT "user", is_admin FROM membership
         WHERE conversation = $1 AND "user" > $2 AND to_seq IS NULL ORDER BY "user" LIMIT $3`,
        conversation.key,
        after ?? '',
        limit,
      )
      return {
        participants: rows.map(({ user }) => user),
        admins: rows.filter(({ is_admin }) => is_admin).map(({ user }) => user),
      }
    },

    *membership(id: ConversationId): Steps<Membership> {
      const row = yield* get<ConversationRow>('SELECT * FROM conversation WHERE id = $1', id)
      if (!row) throw new FanfareError('not_found', `there is no ${id} for you`)
      return yield* membership(row, 0)
    },
  }
}

function* view(actor: UserId, id: ConversationId): Steps<ConversationView> {
  const { conversation, membership } = yield* seat(actor, id)
  const lastSeq = conversation.last_message_seq
  const last = lastSeq === null ? undefined : yield* messageAt(conversation.key, lastSeq)
  return {
    conversation: yield* conversationRecord(conversation),
    user_conversation: yield* userConversationRecord(id, membership),
    last_message: last ? messageRecord(last, id) : null,
  }
}

/**
 * Inserts the conversation's row, or finds the one that belongs to the same participants alone. Another may make that one, or end its
 * distinctness, at the same moment: then it is looked for again.
 */
function* findOrInsert(
  act: Act,
  draft: NewConversation,
  users: readonly UserId[],
  limits: StorageLimits,
): Steps<{ key: number } | { same: ConversationRow }> {
  const distinctKey = draft.distinct ? digest(users) : null
  for (;;) {
    const same =
      distinctKey !== null &&
      (yield* get<ConversationRow>('SELECT * FROM conversation WHERE distinct_key = $1 FOR UPDATE', distinctKey))
    if (same) return { same }
    yield* requireRoom(limits, users.length, users)
    const inserted = yield* get<{ key: number }>(
      `INSERT INTO conversation (id, title, metadata, distinct_key, created_by, created_at, updated_at,
         last_seq, last_position, last_message_seq, participant_count, membership_version)
       VALUES ($1, $2, $3, $4, $5, $6, $6, 1, 0, NULL, $7, 1) ON CONFLICT (distinct_key) DO NOTHING RETURNING key`,
      draft.id,
      draft.title,
      JSON.stringify(draft.metadata),
      distinctKey,
      act.actor,
      act.at,
      users.length,
    )
    if (inserted) return inserted
  }
}

function* byKey(key: number): Steps<ConversationRow> {
  return (yield* get<ConversationRow>('SELECT * FROM conversation WHERE key = $1', key)) as ConversationRow
}

function* found({ conversation }: Seat): Steps<Written<Result<'create_conversation'>>> {
  return { result: { conversation: yield* conversationRecord(conversation), created: false }, entry: null }
}

function* unchanged(conversation: ConversationRow): Steps<Written<{ conversation: Conversation }>> {
  return { result: { conversation: yield* conversationRecord(conversation) }, entry: null }
}

/** Who joins has read all that is before: his marker stands at the seq of joining. */
function join(conversation: number, user: UserId, seq: number, admin: boolean): Steps<number> {
  return run(
    `INSERT INTO membership (conversation, "user", from_seq, to_seq, is_admin, last_read_seq)
     VALUES ($1, $2, $3, NULL, $4, $3)`,
    conversation,
    user,
    seq,
    Number(admin),
  )
}

/** Conversations made for one user at the same moment on several nodes do not see each other, and may pass his limit by so many. */
function* requireRoom(limits: StorageLimits, count: number, joining: readonly UserId[]): Steps<void> {
  const { maxParticipants, maxConversationsPerUser } = limits
  if (maxParticipants && count > maxParticipants) {
    throw new FanfareError('too_large', `a conversation has at most ${maxParticipants} participants`, {
      limit: maxParticipants,
    })
  }
  if (!maxConversationsPerUser) return
  const text = 'SELECT 1 AS found FROM membership WHERE "user" = $1 AND to_seq IS NULL LIMIT 1 OFFSET $2'
  const last = yield* together(joining.map((user) => get(text, user, maxConversationsPerUser - 1)))
  const full = joining.find((_, index) => last[index])
  if (full) {
    throw new FanfareError(
      'too_large',
      `${full} is in ${maxConversationsPerUser} conversations, the most there may be`,
      {
        limit: maxConversationsPerUser,
      },
    )
  }
}

/** A change that all participants are told alike. */
function* change(
  act: Act,
  before: ConversationRow,
  write: () => Steps<unknown>,
): Steps<Written<{ conversation: Conversation }>> {
  const { row, data } = yield* next(act, before, write)
  const now = yield* membership(row, act.known)
  const entry = yield* appendConversationEvent(act.at, row, now, row.last_seq, data, [{ to: 'participants', data }])
  yield* stoodAt(row, entry)
  return { result: { conversation: data.record }, entry }
}

/** A change of participants: one event, told differently to those who come, stay and go (E5). */
function* changeParticipants(
  act: Act,
  before: ConversationRow,
  added: readonly UserId[],
  removed: readonly UserId[],
  write: (seq: number) => Steps<unknown>,
): Steps<Written<{ conversation: Conversation }>> {
  const { row, data } = yield* next(act, before, function* (seq) {
    yield* write(seq)
    yield* run(
      `UPDATE conversation SET participant_count = participant_count + $1, membership_version = membership_version + 1
       WHERE key = $2`,
      added.length - removed.length,
      before.key,
    )
  })
  const now = yield* membership(row, 0)
  const came = new Set(added)
  const staying = (now.participants ?? []).filter((user) => !came.has(user))
  const tellings: Telling[] = []
  if (removed.length) tellings.push({ to: removed, data: leaving(row.id) })
  if (staying.length) tellings.push({ to: staying, data })
  if (added.length) tellings.push({ to: added, data: { ...data, event_type: 'create', original_record: null } })
  const entry = yield* appendConversationEvent(act.at, row, now, row.last_seq, data, tellings)
  yield* stoodAt(row, entry)
  return { result: { conversation: data.record }, entry }
}

/** Writes a change under the conversation's next seq, and tells it as an update. */
function* next(act: Act, before: ConversationRow, write: (seq: number) => Steps<unknown>) {
  const original = yield* conversationRecord(before)
  const seq = before.last_seq + 1
  yield* write(seq)
  yield* run(
    'UPDATE conversation SET last_seq = $1, updated_at = $2 WHERE key = $3',
    seq,
    Math.max(before.updated_at, act.at),
    before.key,
  )
  const row = yield* byKey(before.key)
  return {
    row,
    data: {
      record_type: 'conversation' as const,
      event_type: 'update' as const,
      record: yield* conversationRecord(row),
      original_record: original,
    },
  }
}

/** The next entry of the conversation is told which one it follows. */
function stoodAt({ key }: ConversationRow, { position }: LogEntry): Steps<number> {
  return run('UPDATE conversation SET last_position = $1 WHERE key = $2', position, key)
}

/** Names a set of participants, be it of two or of ten thousand. */
function digest(users: readonly UserId[]): string {
  return createHash('sha256').update(users.join('\n')).digest('base64url')
}
