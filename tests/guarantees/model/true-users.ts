/** What profiles and user channels are to do (M7, U1–U7). */
import type { ProfileChanges } from '../../../src/protocol/commands.ts'
import type { UserId } from '../../../src/protocol/ids.ts'
import type { User, UserChannel } from '../../../src/protocol/records.ts'
import type { Act, LogPlace, NewUserChannel } from '../../../src/storage/storage.ts'
import { timestamp } from './talk.ts'
import type { Channel, Truth } from './truth.ts'

export function trueUsers(truth: Truth) {
  return {
    put(act: Act, changes: ProfileChanges) {
      const before = truth.profiles.get(act.actor) ?? nobody(act.actor)
      const user: User = {
        id: act.actor,
        name: changes.name === undefined ? before.name : changes.name,
        avatar_url: changes.avatar_url === undefined ? before.avatar_url : changes.avatar_url,
        metadata: changes.metadata ?? before.metadata,
        updated_at: timestamp(Math.max(act.at, Date.parse(before.updated_at ?? timestamp(0)) + 1)),
      }
      truth.profiles.set(user.id, user)
      truth.appendFor(act, null, { record_type: 'user', event_type: 'update', record: user, original_record: before })
      return { user }
    },

    get(viewer: UserId | null, users: readonly UserId[]) {
      const sees = (user: UserId) =>
        viewer === null || viewer === user || truth.talksOf(viewer).some((talk) => talk.stay(user))
      return { users: users.map((user) => (sees(user) && truth.profiles.get(user)) || nobody(user)) }
    },
  }
}

export function trueUserChannels(truth: Truth) {
  return {
    current: (user: UserId, fresh: NewUserChannel) => told(channelOf(user, fresh)),

    admit: (user: UserId, fresh: NewUserChannel, since: LogPlace | null) => ({
      ...told(channelOf(user, fresh)),
      resumed: since !== null && since.position >= truth.log.prunedTo,
    }),

    admitListener(name: string, since: LogPlace | null) {
      const channel = truth.channelNamed(name)
      return channel ? { ...told(channel), resumed: since !== null && since.position >= truth.log.prunedTo } : null
    },

    rotate(act: Act, fresh: NewUserChannel, revoke: boolean) {
      const before = channelOf(act.actor, fresh)
      const rotatedAt = Math.max(act.at, before.rotatedAt + 1)
      const userChannel = { ...before.userChannel, name: fresh.name, rotated_at: timestamp(rotatedAt) }
      truth.setChannel(act.actor, { userChannel, rotatedAt, revokedAt: revoke ? rotatedAt : before.revokedAt })
      truth.appendFor(act, null, {
        record_type: 'user_channel',
        event_type: 'update',
        record: nameless(userChannel),
        original_record: nameless(before.userChannel),
      })
      return { user_channel: userChannel }
    },
  }

  /** Made by the first who asks for it. */
  function channelOf(user: UserId, { id, name, at }: NewUserChannel): Channel {
    const userChannel = { id, user, name, rotated_at: timestamp(at) }
    return truth.channel(user) ?? truth.setChannel(user, { userChannel, rotatedAt: at, revokedAt: null })
  }
}

function told({ since: _, ...channel }: Channel): Omit<Channel, 'since'> {
  return channel
}

function nobody(id: UserId): User {
  return { id, name: null, avatar_url: null, metadata: {}, updated_at: null }
}

function nameless({ id, user, rotated_at }: Required<UserChannel>): UserChannel {
  return { id, user, rotated_at }
}
