/** Profiles (M7). */
import { describe, expect, it } from 'vitest'
import type { UserId } from '../../protocol/ids.ts'
import { alice, bob, carol, dave, entryOf, type OpenStorage, openStage, time } from './stage.ts'

const nobody = (id: UserId) => ({ id, name: null, avatar_url: null, metadata: {}, updated_at: null })

export function usersContract(open: OpenStorage): void {
  describe('profiles', () => {
    it('M7, W4 a profile is told to its own user alone, whole, with the one before', async () => {
      await using stage = await openStage(open)
      const at = time(stage.now)
      const first = await stage.storage.users.put(stage.act(alice), { name: 'Alice', metadata: { team: 1 } })
      const user = { id: alice, name: 'Alice', avatar_url: null, metadata: { team: 1 }, updated_at: at }
      expect(first.result).toEqual({ user })
      const entry = entryOf(first)
      expect(entry).toEqual({
        position: entry.position,
        previous: 0,
        place: null,
        membership: null,
        tellings: [
          {
            to: [alice],
            data: { record_type: 'user', event_type: 'update', record: user, original_record: nobody(alice) },
          },
        ],
      })
      const second = await stage.storage.users.put(stage.act(alice), { name: null, avatar_url: 'https://a.example/' })
      expect(second.result.user).toMatchObject({ name: null, avatar_url: 'https://a.example/', metadata: { team: 1 } })
      expect(entryOf(second).tellings[0]?.data.original_record).toEqual(user)
    })

    it('M7, W4 updated_at of a profile only moves forward, also when the clock does not', async () => {
      await using stage = await openStage(open)
      const seen: (string | null)[] = []
      for (const step of [0, 0, -3_600_000, 0, 7_200_000]) {
        stage.now += step - 1_000
        const { user } = (await stage.storage.users.put(stage.act(alice), { name: `${step}` })).result
        seen.push(user.updated_at)
      }
      expect(seen).toEqual([...new Set(seen)].toSorted())
    })

    it('M7 one sees oneself and those one shares a conversation with, in the order asked for', async () => {
      await using stage = await openStage(open)
      const profiles = []
      for (const id of [alice, bob, carol] as const) {
        profiles.push((await stage.storage.users.put(stage.act(id), { name: id })).result.user)
      }
      const get = async (viewer: UserId, ...users: UserId[]) => (await stage.storage.users.get(viewer, users)).users
      expect(await get(alice, carol, alice, bob, dave)).toEqual([nobody(carol), profiles[0], nobody(bob), nobody(dave)])
      const room = await stage.conversation(bob, [alice, dave])
      expect(await get(alice, bob, carol, dave, bob)).toEqual([profiles[1], nobody(carol), nobody(dave), profiles[1]])
      await stage.leave(alice, room)
      expect(await get(alice, bob, alice)).toEqual([nobody(bob), profiles[0]])
      expect(await get(bob, alice)).toEqual([nobody(alice)])
      await stage.add(bob, room, alice, carol)
      expect(await get(carol, alice, bob)).toEqual(profiles.slice(0, 2))
      await stage.end(bob, room)
      expect(await get(carol, alice, bob)).toEqual([nobody(alice), nobody(bob)])
      await stage.reopen()
      for (const profile of profiles) expect(await get(profile.id, profile.id)).toEqual([profile])
    })
  })
}
