/**
 * A copy of a database that was not made by `fanfare backup`, so nothing in it says that it is one: what it shares with the one that went
 * on, and what it does not (R5).
 */
import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import { alice, bob, entryOf } from '../../src/testing/storage-contract/stage.ts'
import { SqliteFolder } from './sqlite-folder.ts'

it('R5 a copy that another program made and that is put back refuses places of what it never had; those of before it hold', async () => {
  await using folder = new SqliteFolder()
  const backup = join(folder.path, 'backup')
  const stage = await folder.stage()
  const place = ({ position }: { position: number }) => ({ epoch: stage.storage.epoch, position })
  const room = await stage.conversation(alice, [bob])
  const before = place(entryOf(await stage.say(alice, room, 'in both')))
  // While the server runs, so that it goes on in the same epoch.
  using running = new DatabaseSync(folder.file, { readOnly: true })
  running.exec(`VACUUM INTO '${backup}'`)
  running.close()
  const lost = [entryOf(await stage.say(alice, room, 'lost')), entryOf(await stage.say(alice, room, 'lost too'))].map(
    place,
  )
  await stage.reopen()
  const later = place(entryOf(await stage.say(alice, room, 'lost as well')))
  await stage.storage.close()
  copyFileSync(backup, folder.file)

  await stage.reopen()
  for (const body of ['new', 'newer', 'newest', 'last']) await stage.say(bob, room, body)
  const missed = async (since: typeof before) => {
    const found = await stage.storage.events.missed(bob, since)
    return found ? found.events.map(({ data }) => ('body' in data.record ? data.record.body : '')) : null
  }
  for (const since of [...lost, later]) expect(await missed(since)).toBeNull()
  expect(await missed(before)).toEqual(['new', 'newer', 'newest', 'last'])
})

it('R5 what a running server has told is refused by a copy of its database from before', async () => {
  await using folder = new SqliteFolder()
  await using other = new SqliteFolder()
  const stage = await folder.stage()
  const room = await stage.conversation(alice, [bob])
  await stage.storage.close()
  copyFileSync(folder.file, other.file)
  const copy = await other.open()
  await stage.reopen()
  const { epoch } = stage.storage
  const { position } = entryOf(await stage.say(alice, room, 'told'))
  expect(await copy.events.missed(bob, { epoch, position })).toBeNull()
  expect(await copy.events.missed(bob, { epoch, position: position - 1 })).toBeNull()
  expect(await stage.storage.events.missed(bob, { epoch, position: position - 1 })).toMatchObject({ upTo: position })
})
