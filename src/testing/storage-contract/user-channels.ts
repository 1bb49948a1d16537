/** User channels: one for each user, and the names that they had (U1, U4, U6–U8). */
import { describe, expect, it } from 'vitest'
import { alice, bob, entryOf, type OpenStorage, openStage, time } from './stage.ts'

export function userChannelsContract(open: OpenStorage): void {
  describe('user channels', () => {
    it('U1 a user has one channel: the first name stays, also asked for at once and after reopening', async () => {
      await using stage = await openStage(open)
      const at = stage.now
      const [first, ...others] = await Promise.all(
        Array.from({ length: 5 }, (_, index) => stage.channel(alice, `name ${index}`)),
      )
      expect(first).toMatchObject({ user: alice, name: 'name 0', rotated_at: time(at) })
      expect(Object.keys(first ?? {}).toSorted()).toEqual(['id', 'name', 'rotated_at', 'user'])
      expect(others).toEqual(others.map(() => first))
      await stage.reopen()
      expect(await stage.channel(alice, 'later')).toEqual(first)
    })

    it('U1, U4 a name leads to its owner, and a name that is nobody’s to none', async () => {
      await using stage = await openStage(open)
      await stage.channel(alice, 'hers')
      await stage.channel(bob, 'his')
      await stage.channel(bob, 'another')
      const owner = async (name: string) =>
        (await stage.storage.userChannels.admitListener(name, null))?.userChannel.user ?? null
      expect(await Promise.all(['hers', 'his', 'another', 'His', ''].map(owner))).toEqual([
        alice,
        bob,
        null,
        null,
        null,
      ])
      await stage.reopen()
      expect(await owner('his')).toBe(bob)
    })
  })

  describe('rotating a user channel', () => {
    it('U6 gives it another name, by which alone it is found, also after reopening', async () => {
      await using stage = await openStage(open)
      const before = await stage.channel(alice, 'old')
      await stage.channel(bob, 'his')
      const at = stage.now
      const { result } = await stage.rotate(alice, 'new')
      expect(result.user_channel).toEqual({ ...before, name: 'new', rotated_at: time(at) })
      const owner = async (name: string) => (await stage.storage.userChannels.admitListener(name, null))?.userChannel
      for (const reopened of [false, true]) {
        if (reopened) await stage.reopen()
        expect(await owner('old')).toBeUndefined()
        expect(await owner('new')).toEqual(result.user_channel)
        expect((await owner('his'))?.user).toBe(bob)
        expect(await stage.channel(alice, 'never taken')).toEqual(result.user_channel)
      }
    })

    it('U6 tells its owner alone, with no name in either record, and says what it ends', async () => {
      await using stage = await openStage(open)
      const { name: _, ...before } = await stage.channel(alice, 'old')
      for (const revoke of [false, true]) {
        const at = stage.now
        const entry = entryOf(await stage.rotate(alice, `new, revoking: ${revoke}`, revoke))
        const data = {
          record_type: 'user_channel',
          event_type: 'update',
          record: { ...before, rotated_at: time(at) },
          original_record: before,
        }
        expect(entry).toEqual({
          position: entry.position,
          previous: 0,
          place: null,
          membership: null,
          tellings: [{ to: [alice], data }],
          rotation: { user: alice, rotatedAt: at, revoke },
        })
        const since = { epoch: stage.storage.epoch, position: entry.position - 1 }
        expect((await stage.storage.events.missed(alice, since))?.events.map((event) => event.data)).toEqual([data])
        expect((await stage.storage.events.missed(bob, since))?.events).toEqual([])
        before.rotated_at = time(at)
      }
    })

    it('U1, U6 a user who never had a channel has one then, of the new name', async () => {
      await using stage = await openStage(open)
      const { result } = await stage.rotate(alice, 'first')
      expect(result.user_channel).toMatchObject({ user: alice, name: 'first' })
      expect(await stage.channel(alice, 'second')).toEqual(result.user_channel)
    })

    it('U7 revokedAt is the time of the last rotation that revoked, and null before there was one', async () => {
      await using stage = await openStage(open)
      const current = () => stage.storage.userChannels.current(alice, stage.fresh('first'))
      expect((await current()).revokedAt).toBeNull()
      await stage.rotate(alice, 'soft')
      expect((await current()).revokedAt).toBeNull()
      const at = stage.now
      await stage.rotate(alice, 'hard', true)
      expect(await current()).toMatchObject({ rotatedAt: at, revokedAt: at })
      const later = stage.now
      await stage.rotate(alice, 'soft again')
      expect(await current()).toMatchObject({ rotatedAt: later, revokedAt: at })
      await stage.reopen()
      expect(await current()).toMatchObject({ rotatedAt: later, revokedAt: at })
      const { admit, admitListener } = stage.storage.userChannels
      expect(await admit(alice, stage.fresh('x'), null)).toMatchObject({
        rotatedAt: later,
        revokedAt: at,
        missed: null,
      })
      expect(await admitListener('soft again', null)).toMatchObject({ rotatedAt: later, revokedAt: at, missed: null })
      expect((await stage.storage.userChannels.current(bob, stage.fresh('his'))).revokedAt).toBeNull()
    })

    it('W4, U6 each rotation has a later time than the one before, also when the clock does not', async () => {
      await using stage = await openStage(open)
      await stage.channel(alice, 'first')
      const times: string[] = []
      for (const step of [0, -1_000, -3_600_000, 0, 7_200_000]) {
        stage.now += step
        const written = await stage.rotate(alice, `${times.length}`, true)
        const { rotated_at } = written.result.user_channel
        expect(time(entryOf(written).rotation?.rotatedAt as number)).toBe(rotated_at)
        expect((await stage.storage.userChannels.current(alice, stage.fresh('x'))).revokedAt).toBe(
          Date.parse(rotated_at),
        )
        times.push(rotated_at)
      }
      expect(times).toEqual([...new Set(times)].toSorted())
    })

    it('U6 of many at once the last one stands, and they settle in the order of the log', async () => {
      await using stage = await openStage(open)
      const settled: number[] = []
      const rotated = await Promise.all(
        Array.from({ length: 50 }, async (_, index) => {
          const written = await stage.rotate(alice, `name ${index}`)
          settled.push(entryOf(written).position)
          return written.result.user_channel
        }),
      )
      expect(settled).toEqual(settled.toSorted((one, other) => one - other))
      expect(await stage.channel(alice, 'x')).toEqual(rotated.at(-1))
      const found = await Promise.all(
        rotated.map(({ name }) => stage.storage.userChannels.admitListener(name as string, null)),
      )
      expect(found.filter((admitted) => admitted !== null)).toHaveLength(1)
      expect(found.at(-1)).not.toBeNull()
    })
  })
}
