/** Profiles and user channels (M7, U1), as SQLite keeps them. */
import type { ProfileChanges, Result } from '../../protocol/commands.ts'
import type { UserChannelId, UserId } from '../../protocol/ids.ts'
import type { UserChannel } from '../../protocol/records.ts'
import type { Act, Written } from '../storage.ts'
import type { Database } from './database.ts'
import { appendUserEvent } from './log.ts'
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

  current(user: UserId, fresh: { id: UserChannelId; name: string; at: number }): Required<UserChannel> {
    const select = 'SELECT * FROM user_channel WHERE user = ?'
    let row = this.#db.get<UserChannelRow>(select, user)
    if (!row) {
      this.#db.run(
        'INSERT INTO user_channel (user, id, name, rotated_at) VALUES (?, ?, ?, ?)',
        user,
        fresh.id,
        fresh.name,
        fresh.at,
      )
      row = this.#db.get<UserChannelRow>(select, user) as UserChannelRow
    }
    return userChannelRecord(row)
  }

  owner(name: string): UserId | null {
    return this.#db.get<{ user: UserId }>('SELECT user FROM user_channel WHERE name = ?', name)?.user ?? null
  }
}
