/**
 * The tables, as migrations: the n-th one makes version n of version n - 1, which `PRAGMA user_version` holds. One that has been
 * released is never changed again.
 *
 * Times are milliseconds since 1970. Inside, a conversation is known by its `key` and a message by its conversation and `seq`:
 * integers keep the trees of the hot path small.
 */
import type { DatabaseSync } from 'node:sqlite'

export const migrations: readonly string[] = [
  `
  -- One row for each opening of the database: its random name, and the position of the log's last entry then. A copy of the file that
  -- is opened elsewhere goes on in an epoch of its own, so a place that the copy never had is known as a stranger's (R5).
  CREATE TABLE epoch (number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, from_position INTEGER NOT NULL) STRICT;

  -- The position of the last entry that was pruned (R3).
  CREATE TABLE pruned (position INTEGER NOT NULL) STRICT;
  INSERT INTO pruned VALUES (0);

  -- Counted up by whoever wants to know whether anything can be stored.
  CREATE TABLE heartbeat (count INTEGER NOT NULL) STRICT;
  INSERT INTO heartbeat VALUES (0);

  CREATE TABLE user (
    id TEXT PRIMARY KEY,
    name TEXT,
    avatar_url TEXT,
    metadata TEXT NOT NULL,
    updated_at INTEGER NOT NULL
  ) WITHOUT ROWID, STRICT;

  CREATE TABLE user_channel (
    user TEXT PRIMARY KEY,
    id TEXT NOT NULL,
    name TEXT NOT NULL UNIQUE,
    rotated_at INTEGER NOT NULL,         -- each rotation has a later one
    revoked_at INTEGER                   -- when tokens were revoked last
  ) WITHOUT ROWID, STRICT;

  CREATE TABLE conversation (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    title TEXT,
    metadata TEXT NOT NULL,
    distinct_key TEXT UNIQUE,            -- a digest of the participants while the conversation is theirs alone, else null
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    last_position INTEGER NOT NULL,      -- of the event with that seq
    last_message_seq INTEGER,
    participant_count INTEGER NOT NULL,
    membership_version INTEGER NOT NULL
  ) STRICT;

  -- One row for each time that a user took part, from the event that brought him to the one that took him away.
  CREATE TABLE membership (
    conversation INTEGER NOT NULL,
    user TEXT NOT NULL,
    from_seq INTEGER NOT NULL,
    to_seq INTEGER,                      -- null: takes part now
    is_admin INTEGER NOT NULL,
    last_read_seq INTEGER NOT NULL,
    PRIMARY KEY (conversation, user, from_seq)
  ) WITHOUT ROWID, STRICT;
  CREATE INDEX membership_of_user ON membership (user, to_seq, conversation);

  CREATE TABLE message (
    conversation INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL UNIQUE,
    created_by TEXT NOT NULL,
    created_at INTEGER NOT NULL,         -- never goes back within a conversation, so that a time can be searched for
    updated_at INTEGER NOT NULL,
    body TEXT NOT NULL,
    metadata TEXT NOT NULL,
    attachment TEXT,
    revision INTEGER NOT NULL,
    edited_at INTEGER,
    edited_by TEXT,
    deleted INTEGER NOT NULL,
    client_id TEXT,
    PRIMARY KEY (conversation, seq)
  ) WITHOUT ROWID, STRICT;

  -- What a client_id stands for, for ever (M3).
  CREATE TABLE client_request (
    user TEXT NOT NULL,
    command TEXT NOT NULL,
    client_id TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (user, command, client_id)
  ) WITHOUT ROWID, STRICT;

  -- The event log. A message is named by its seq: its state after an event is the original of the next event on it, or its row.
  -- So deleted content has two places to be scrubbed from: the row, and the originals of its edits.
  CREATE TABLE event (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    event_type TEXT NOT NULL,
    record_type TEXT NOT NULL,
    conversation INTEGER,                -- null: it concerns one user alone
    seq INTEGER,
    message_seq INTEGER,
    user TEXT,
    record TEXT,                         -- the state after, where record_type is not message
    original TEXT                        -- the state before
  ) STRICT;
  CREATE UNIQUE INDEX event_of_conversation ON event (conversation, seq) WHERE conversation IS NOT NULL;
  CREATE INDEX event_of_user ON event (user, position) WHERE user IS NOT NULL;
  CREATE INDEX event_original ON event (conversation, message_seq, position)
    WHERE message_seq IS NOT NULL AND original IS NOT NULL;
  `,
]

export function versionOf(connection: DatabaseSync): number {
  return (connection.prepare('PRAGMA user_version').get() as { user_version: number }).user_version
}

/** Whose tables are in the database, of whatever version: ours, nobody's as it is still empty, or another program's. */
export function ownerOf(connection: DatabaseSync): 'ours' | 'nobody' | 'another' {
  const { tables, ours } = connection
    .prepare("SELECT count(*) AS tables, count(*) FILTER (WHERE name IN ('epoch', 'event')) AS ours FROM sqlite_schema")
    .get() as { tables: number; ours: number }
  if (versionOf(connection) > 0) return ours === 2 ? 'ours' : 'another'
  return tables === 0 ? 'nobody' : 'another'
}
