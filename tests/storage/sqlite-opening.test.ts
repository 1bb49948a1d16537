import { createHash } from 'node:crypto'
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { openSqlite } from '../../src/storage/sqlite.ts'
import { DatabaseUnusable } from '../../src/storage/storage.ts'
import { alice, bob } from '../../src/testing/storage-contract/stage.ts'
import { noLimits, SqliteFolder } from './sqlite-folder.ts'

/** What it says when it is refused. */
async function complaint(file: string): Promise<string> {
  const error = await openSqlite(file, noLimits, {
    committed() {},
    failed: (_operations, reason) => expect.fail(reason),
  }).then(
    async (storage) => {
      await storage.close()
      expect.fail('it was opened')
    },
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(DatabaseUnusable)
  return (error as DatabaseUnusable).message
}

/** What must not change in a folder: all but the lock, and what any reader leaves beside a database: an index, an empty log. */
function content(folder: SqliteFolder): Record<string, string> {
  const kept = Object.entries(folder.bytes()).filter(([name, bytes]) => !name.endsWith('-shm') && bytes.length > 0)
  return Object.fromEntries(kept.map(([name, bytes]) => [name, createHash('sha256').update(bytes).digest('hex')]))
}

async function someRoom(folder: SqliteFolder) {
  const stage = await folder.stage()
  return { stage, room: await stage.conversation(alice, [bob]) }
}

describe('SQLite: opening', () => {
  it('R5 each opening of a database begins an epoch of its own, and a new one stands at position 0', async () => {
    await using folder = new SqliteFolder()
    await using other = new SqliteFolder()
    const first = await folder.open()
    const { epoch, position } = first
    expect(position).toBe(0)
    await first.close()
    const epochs = [epoch, (await folder.open()).epoch, (await other.open()).epoch]
    expect(new Set(epochs).size).toBe(3)
  })

  it('STORAGE a database of a newer version is refused, and every byte of it stays', async () => {
    await using folder = new SqliteFolder()
    await someRoom(folder)
    await folder.close()
    using newer = new DatabaseSync(folder.file)
    newer.exec('PRAGMA user_version = 1000')
    newer.close()
    const before = content(folder)
    expect(await complaint(folder.file)).toMatch(/newer fanfare \(database version 1000, .*nothing was changed/)
    expect(content(folder)).toEqual(before)
  })

  it('STORAGE a newer one that crashed is refused too, and what it left in its write-ahead log stays', async () => {
    await using crashed = new SqliteFolder()
    await using folder = new SqliteFolder()
    const { stage, room } = await someRoom(crashed)
    await folder.open()
    await folder.close()
    using newer = new DatabaseSync(crashed.file)
    newer.exec('PRAGMA user_version = 1000')
    await stage.say(alice, room, 'only in the log')
    for (const end of ['', '-wal']) copyFileSync(`${crashed.file}${end}`, `${folder.file}${end}`)
    newer.close()
    expect(folder.holding('only in the log')).toEqual(['fanfare.db-wal'])
    const before = content(folder)
    expect(await complaint(folder.file)).toContain('version 1000')
    expect(content(folder)).toEqual(before)
  })

  it('STORAGE a second server on one folder is refused, the first goes on, and when it ends the folder is free', async () => {
    await using folder = new SqliteFolder()
    const { stage, room } = await someRoom(folder)
    expect(await complaint(folder.file)).toMatch(/in use by another running fanfare: stop that one/)
    expect((await stage.say(alice, room, 'goes on')).entry).not.toBeNull()
    await stage.storage.close()
    await stage.reopen()
    expect(await stage.messages(bob, room)).toHaveLength(1)
  })

  it('STORAGE a file that is no database is refused, and stays as it was', async () => {
    await using folder = new SqliteFolder()
    writeFileSync(folder.file, 'notes that somebody keeps under this name '.repeat(200))
    const before = content(folder)
    expect(await complaint(folder.file)).toBe(
      `${folder.file} can't be used: file is not a database; put a backup in its place, or use another data folder`,
    )
    expect(content(folder)).toEqual(before)
  })

  it.each([
    ['of no version', 0],
    ['of a version that we have too', 1],
  ])("STORAGE another program's database, %s, is refused, and every byte of it stays", async (_, version) => {
    await using folder = new SqliteFolder()
    using others = new DatabaseSync(folder.file)
    others.exec(`CREATE TABLE user (id INTEGER); PRAGMA user_version = ${version}`)
    others.close()
    const before = content(folder)
    expect(await complaint(folder.file)).toBe(
      `${folder.file} is another program's database; nothing was changed: move it, or use another data folder`,
    )
    expect(content(folder)).toEqual(before)
  })

  it('STORAGE a damaged database is refused with the advice to put a backup in its place', async () => {
    await using folder = new SqliteFolder()
    await someRoom(folder)
    await folder.close()
    const bytes = readFileSync(folder.file)
    writeFileSync(folder.file, bytes.fill(0xaa, 100, 4_096))
    expect(await complaint(folder.file)).toMatch(/can't be used: .*malformed; put a backup in its place/)
  })

  it('STORAGE a folder that is not there, or stands where the file should be, is told by its path', async () => {
    await using folder = new SqliteFolder()
    const nowhere = join(folder.path, 'gone', 'fanfare.db')
    expect(await complaint(nowhere)).toContain(nowhere)
    expect(await complaint(nowhere)).toContain('fanfare doctor')
    mkdirSync(folder.file)
    expect(await complaint(folder.file)).toContain(`${folder.file} is no file`)
  })

  it('STORAGE a refused folder opens as soon as what was wrong is gone', async () => {
    await using folder = new SqliteFolder()
    await someRoom(folder)
    await folder.close()
    using database = new DatabaseSync(folder.file)
    const { user_version: version } = database.prepare('PRAGMA user_version').get() as { user_version: number }
    database.exec('PRAGMA user_version = 1000')
    await complaint(folder.file)
    database.exec(`PRAGMA user_version = ${version}`)
    database.close()
    const storage = await folder.open()
    expect(await storage.conversations.list(bob, 10, null)).toHaveLength(1)
  })

  it('STORAGE the database is in write-ahead mode', async () => {
    await using folder = new SqliteFolder()
    await folder.open()
    await folder.close()
    using database = new DatabaseSync(folder.file, { readOnly: true })
    expect(database.prepare('PRAGMA journal_mode').get()).toEqual({ journal_mode: 'wal' })
    expect(database.prepare('PRAGMA integrity_check').get()).toEqual({ integrity_check: 'ok' })
  })
})
