/** Profiles and user channels (M7, U1, U6, U7). */
import type { ProfileChanges, Result } from '../../protocol/commands.ts'
import type { UserId } from '../../protocol/ids.ts'
import type { User, UserChannel } from '../../protocol/records.ts'
import type {
  Act,
  Admitted,
  CurrentUserChannel,
  LogPlace,
  NewUserChannel,
  UserChannelStorage,
  UserStorage,
  Written,
} from '../storage.ts'
import { appendUserEvent } from './log.ts'
import { missedSince } from './missed.ts'
import { type UserChannelRow, type UserRow, userChannelRecord, userRecord } from './rows.ts'
import { type AsSteps, endOfLog, get, lock, run, type Steps, together } from './steps.ts'

export const users: AsSteps<UserStorage> = {
  *put(act: Act, changes: ProfileChanges): Steps<Written<Result<'update_user'>>> {
    yield* lock(act.actor)
    const before = yield* userRow(act.actor)
    const row: UserRow = {
      id: act.actor,
      name: changes.name === undefined ? (before?.name ?? null) : changes.name,
      avatar_url: changes.avatar_url === undefined ? (before?.avatar_url ?? null) : changes.avatar_url,
      metadata: changes.metadata === undefined ? (before?.metadata ?? '{}') : JSON.stringify(changes.metadata),
      // A profile's state only moves forward, also for a clock that was set back (W4).
      updated_at: Math.max(act.at, (before?.updated_at ?? 0) + 1),
    }
    yield* run(
      `INSERT INTO "user" (id, name, avatar_url, metadata, updated_at) VALUES ($1, $2, $3, $4, $5)
       ON CONFLICT (id) DO UPDATE SET name = $2, avatar_url = $3, metadata = $4, updated_at = $5`,
      row.id,
      row.name,
      row.avatar_url,
      row.metadata,
      row.updated_at,
    )
    const user = userRecord(row.id, row)
    const entry = yield* appendUserEvent(act.at, row.id, {
      record_type: 'user',
      event_type: 'update',
      record: user,
      original_record: userRecord(row.id, before),
    })
    return { result: { user }, entry }
  },

  *get(viewer: UserId, ids: readonly UserId[]): Steps<Result<'get_users'>> {
    const named = [...new Set(ids)]
    const conversations = yield* conversationsOf(viewer)
    const found = yield* together(named.map((id) => profile(viewer, conversations, id)))
    const profiles = new Map(found.map((user) => [user.id, user]))
    return { users: ids.map((id) => profiles.get(id) as User) }
  },
}

function* profile(viewer: UserId, conversations: number, id: UserId): Steps<User> {
  const visible = viewer === id || (yield* meet(viewer, conversations, id))
  return userRecord(id, visible ? yield* userRow(id) : undefined)
}

function userRow(id: UserId): Steps<UserRow | undefined> {
  return get<UserRow>('SELECT * FROM "user" WHERE id = $1', id)
}

function* conversationsOf(user: UserId): Steps<number> {
  const text = 'SELECT count(*) AS count FROM membership WHERE "user" = $1 AND to_seq IS NULL'
  return ((yield* get<{ count: number }>(text, user)) as { count: number }).count
}

/**
 * Whether the viewer, who is in so many conversations, is in one with the other. It looks through those of the one who has fewer: a
 * stranger has few as a rule, and somebody whom all know, such as an assistant, may have more than the viewer.
 */
function* meet(viewer: UserId, conversations: number, other: UserId): Steps<boolean> {
  const more = yield* get(
    'SELECT 1 AS found FROM membership WHERE "user" = $1 AND to_seq IS NULL LIMIT 1 OFFSET $2',
    other,
    conversations,
  )
  const [fewer, rest] = more ? [viewer, other] : [other, viewer]
  // As a value for each row, for a join may be done from either side: PostgreSQL's once took seconds.
  const found = yield* get(
    `SELECT 1 AS found FROM membership one WHERE one."user" = $1 AND one.to_seq IS NULL
       AND (SELECT 1 FROM membership two
            WHERE two."user" = $2 AND two.to_seq IS NULL AND two.conversation = one.conversation LIMIT 1) = 1
     LIMIT 1`,
    fewer,
    rest,
  )
  return found !== undefined
}

export const userChannels: AsSteps<UserChannelStorage> = {
  *current(user: UserId, fresh: NewUserChannel): Steps<CurrentUserChannel> {
    return currentOf((yield* channelRow(user)) ?? (yield* make(user, fresh)))
  },

  *find(user: UserId): Steps<CurrentUserChannel | null> {
    const row = yield* channelRow(user)
    return row ? currentOf(row) : null
  },

  *admit(user: UserId, fresh: NewUserChannel, since: LogPlace | null): Steps<Admitted> {
    const upTo = since && (yield* endOfLog())
    const current = currentOf((yield* channelRow(user)) ?? (yield* make(user, fresh)))
    return { ...current, missed: since && upTo !== null ? yield* missedSince(user, since, upTo) : null }
  },

  *admitListener(name: string, since: LogPlace | null): Steps<Admitted | null> {
    const upTo = since && (yield* endOfLog())
    const row = yield* get<UserChannelRow>('SELECT * FROM user_channel WHERE name = $1', name)
    if (!row) return null
    return { ...currentOf(row), missed: since && upTo !== null ? yield* missedSince(row.user, since, upTo) : null }
  },

  *rotate(act: Act, fresh: NewUserChannel, revoke: boolean): Steps<Written<Result<'rotate_user_channel'>>> {
    yield* lock(act.actor)
    const before = (yield* channelRow(act.actor)) ?? (yield* make(act.actor, fresh))
    // The state only moves forward, also for a clock that was set back (W4).
    const rotatedAt = Math.max(act.at, before.rotated_at + 1)
    const row: UserChannelRow = {
      ...before,
      name: fresh.name,
      rotated_at: rotatedAt,
      revoked_at: revoke ? rotatedAt : before.revoked_at,
    }
    yield* run(
      'UPDATE user_channel SET name = $1, rotated_at = $2, revoked_at = $3 WHERE "user" = $4',
      row.name,
      row.rotated_at,
      row.revoked_at,
      row.user,
    )
    const { userChannel } = currentOf(row)
    const entry = yield* appendUserEvent(act.at, row.user, {
      record_type: 'user_channel',
      event_type: 'update',
      record: nameless(userChannel),
      original_record: nameless(currentOf(before).userChannel),
    })
    return {
      result: { user_channel: userChannel },
      entry: { ...entry, rotation: { user: row.user, rotatedAt, revoke } },
    }
  },
}

function channelRow(user: UserId): Steps<UserChannelRow | undefined> {
  return get<UserChannelRow>('SELECT * FROM user_channel WHERE "user" = $1', user)
}

/** Where another was faster, the channel is the one that he made. */
function* make(user: UserId, { id, name, at }: NewUserChannel): Steps<UserChannelRow> {
  yield* run(
    'INSERT INTO user_channel ("user", id, name, rotated_at) VALUES ($1, $2, $3, $4) ON CONFLICT ("user") DO NOTHING',
    user,
    id,
    name,
    at,
  )
  return (yield* channelRow(user)) as UserChannelRow
}

function currentOf(row: UserChannelRow): CurrentUserChannel {
  return { userChannel: userChannelRecord(row), rotatedAt: row.rotated_at, revokedAt: row.revoked_at }
}

/** The record as it stands in events: the name is only given to who asks for it (U6). */
function nameless({ id, user, rotated_at }: Required<UserChannel>): UserChannel {
  return { id, user, rotated_at }
}
