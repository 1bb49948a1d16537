/** Profiles and user channels (M7, U1), as SQLite keeps them. */
import type { ProfileChanges, Result } from '../../protocol/commands.ts'
import type { UserId } from '../../protocol/ids.ts'
import type { UserChannel } from '../../protocol/records.ts'
import type { Act, Admitted, CurrentUserChannel, LogPlace, NewUserChannel, Written } from '../storage.ts'
import type { Database } from './database.ts'
import { appendUserEvent } from './log.ts'
import { missedSince } from './missed.ts'
import { type UserChannelRow, type UserRow, userChannelRecord, userRecord } from './rows.ts'

export class SqliteUsers {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  put(act: Act, changes: ProfileChanges): Written<Result<'update_user'>> {
    const before = this.#row(act.actor)
    const row: UserRow = {
      id: act.actor,
      name: changes.name === undefined ? (before?.name ?? null) : changes.name,
      avatar_url: changes.avatar_url === undefined ? (before?.avatar_url ?? null) : changes.avatar_url,
      metadata: changes.metadata === undefined ? (before?.metadata ?? '{}') : JSON.stringify(changes.metadata),
      // A profile's state only moves forward, also for a clock that was set back (W4).
      updated_at: Math.max(act.at, (before?.updated_at ?? 0) + 1),
    }
    this.#db.run(
      'REPLACE INTO user (id, name, avatar_url, metadata, updated_at) VALUES (?, ?, ?, ?, ?)',
      row.id,
      row.name,
      row.avatar_url,
      row.metadata,
      row.updated_at,
    )
    const user = userRecord(row.id, row)
    const entry = appendUserEvent(this.#db, act.at, row.id, {
      record_type: 'user',
      event_type: 'update',
      record: user,
      original_record: userRecord(row.id, before),
    })
    return { result: { user }, entry }
  }

  get(viewer: UserId | null, users: readonly UserId[]): Result<'get_users'> {
    return {
      users: users.map((id) => {
        const visible = viewer === null || viewer === id || this.#meet(viewer, id)
        return userRecord(id, visible ? this.#row(id) : undefined)
      }),
    }
  }

  #row(id: UserId): UserRow | undefined {
    return this.#db.get<UserRow>('SELECT * FROM user WHERE id = ?', id)
  }

  #meet(one: UserId, other: UserId): boolean {
    const found = this.#db.get(
      `SELECT 1 FROM membership mine JOIN membership theirs
         ON theirs.user = ? AND theirs.to_seq IS NULL AND theirs.conversation = mine.conversation
       WHERE mine.user = ? AND mine.to_seq IS NULL LIMIT 1`,
      other,
      one,
    )
    return found !== undefined
  }
}

export class SqliteUserChannels {
  readonly #db: Database

  constructor(db: Database) {
    this.#db = db
  }

  current(user: UserId, fresh: NewUserChannel): CurrentUserChannel {
    return currentOf(this.#row(user) ?? this.#make(user, fresh))
  }

  admit(user: UserId, fresh: NewUserChannel, since: LogPlace | null): Admitted {
    return { ...this.current(user, fresh), missed: since && missedSince(this.#db, user, since) }
  }

  admitListener(name: string, since: LogPlace | null): Admitted | null {
    const row = this.#db.get<UserChannelRow>('SELECT * FROM user_channel WHERE name = ?', name)
    return row ? { ...currentOf(row), missed: since && missedSince(this.#db, row.user, since) } : null
  }

  rotate(act: Act, fresh: NewUserChannel, revoke: boolean): Written<Result<'rotate_user_channel'>> {
    const before = this.#row(act.actor) ?? this.#make(act.actor, fresh)
    // The state only moves forward, also for a clock that was set back (W4).
    const rotatedAt = Math.max(act.at, before.rotated_at + 1)
    const row: UserChannelRow = {
      ...before,
      name: fresh.name,
      rotated_at: rotatedAt,
      revoked_at: revoke ? rotatedAt : before.revoked_at,
    }
    this.#db.run(
      'UPDATE user_channel SET name = ?, rotated_at = ?, revoked_at = ? WHERE user = ?',
      row.name,
      row.rotated_at,
      row.revoked_at,
      row.user,
    )
    const { userChannel } = currentOf(row)
    const entry = appendUserEvent(this.#db, act.at, row.user, {
      record_type: 'user_channel',
      event_type: 'update',
      record: nameless(userChannel),
      original_record: nameless(currentOf(before).userChannel),
    })
    return {
      result: { user_channel: userChannel },
      entry: { ...entry, rotation: { user: row.user, rotatedAt, revoke } },
    }
  }

  #row(user: UserId): UserChannelRow | undefined {
    return this.#db.get<UserChannelRow>('SELECT * FROM user_channel WHERE user = ?', user)
  }

  #make(user: UserId, { id, name, at }: NewUserChannel): UserChannelRow {
    this.#db.run('INSERT INTO user_channel (user, id, name, rotated_at) VALUES (?, ?, ?, ?)', user, id, name, at)
    return { user, id, name, rotated_at: at, revoked_at: null }
  }
}

function currentOf(row: UserChannelRow): CurrentUserChannel {
  return { userChannel: userChannelRecord(row), rotatedAt: row.rotated_at, revokedAt: row.revoked_at }
}

/** The record as it stands in events: the name is only given to who asks for it (U6). */
function nameless({ id, user, rotated_at }: Required<UserChannel>): UserChannel {
  return { id, user, rotated_at }
}
