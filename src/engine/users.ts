/** Commands on users: profiles (M7), their channel (U5), and what only the backend may do (M8). */
import { z } from 'zod'
import { FanfareError } from '../protocol/codes.ts'
import type { ProfileChanges } from '../protocol/commands.ts'
import { metadata, requireMetadataSize, requireTextSize, text, userId } from './arguments.ts'
import type { Call } from './call.ts'
import { type CommandTable, Later } from './command.ts'
import { defaultTtlSeconds, longestTtlSeconds } from './token-limits.ts'
import { currentUserChannel, newUserChannel } from './user-channels.ts'

const nameBytes = 1_024
const avatarUrlBytes = 2_048
/** Profiles asked for at once. */
const usersPerCall = 100

const profile = {
  name: text.nullable().optional(),
  avatar_url: text.nullable().optional(),
  metadata: metadata.optional(),
}

type UserCommand =
  | 'get_user_channel'
  | 'rotate_user_channel'
  | 'update_user'
  | 'get_users'
  | 'create_token'
  | 'put_user'
  | 'disconnect_user'

export const userCommands: CommandTable<UserCommand> = {
  get_user_channel: {
    callers: 'user',
    args: z.strictObject({}),
    read: (call) =>
      Later.of(currentUserChannel(call.engine, call.user), ({ userChannel }) => ({ user_channel: userChannel })),
  },

  rotate_user_channel: {
    callers: 'user',
    args: z.strictObject({ user: userId.optional(), revoke: z.boolean().optional() }),
    write: (call, { user, revoke }) => {
      if (user !== undefined && user !== call.caller.user && !call.caller.backend) {
        throw new FanfareError('forbidden', "only the application may rotate another user's channel, with the API key")
      }
      const act = call.act(null, user ?? call.user)
      return call.engine.storage.userChannels.rotate(act, newUserChannel(call.engine), revoke ?? false)
    },
  },

  update_user: {
    callers: 'user',
    args: z.strictObject(profile),
    write: (call, changes) => {
      requireChanges(call, changes)
      return call.engine.storage.users.put(call.act(null), changes)
    },
  },

  get_users: {
    callers: 'user',
    args: z.strictObject({ users: z.array(userId) }),
    read: (call, { users }) => {
      if (users.length > usersPerCall) {
        throw new FanfareError('too_large', `users: at most ${usersPerCall} at once`, { limit: usersPerCall })
      }
      return call.engine.storage.users.get(call.user, users)
    },
  },

  create_token: {
    callers: 'backend',
    args: z.strictObject({ user: userId, ttl_seconds: z.int().min(1).max(longestTtlSeconds).optional() }),
    read: async (call, { user, ttl_seconds }) => {
      const { token, expiresAt } = await call.engine.tokens.create(user, ttl_seconds ?? defaultTtlSeconds)
      return { token, expires_at: new Date(expiresAt).toISOString() }
    },
  },

  put_user: {
    callers: 'backend',
    args: z.strictObject({ user: userId, ...profile }),
    write: (call, { user, ...changes }) => {
      requireChanges(call, changes)
      return call.engine.storage.users.put(call.act(null, user), changes)
    },
  },

  disconnect_user: {
    callers: 'backend',
    args: z.strictObject({ user: userId }),
    read: (call, { user }) => ({ sessions: call.engine.disconnect(user) }),
  },
}

function requireChanges(call: Call, changes: ProfileChanges): void {
  if (Object.values(changes).every((value) => value === undefined)) {
    throw new FanfareError('invalid_argument', 'nothing to change: give name, avatar_url or metadata')
  }
  requireTextSize('name', changes.name, nameBytes)
  requireTextSize('avatar_url', changes.avatar_url, avatarUrlBytes)
  requireMetadataSize('metadata', changes.metadata, call.engine.config.limits.metadataBytes)
}
