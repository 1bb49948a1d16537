/** From one server to several: what was in the embedded database is in PostgreSQL, just as clients knew it. */
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { openPostgres } from '../../src/storage/postgres.ts'
import { openSqlite } from '../../src/storage/sqlite.ts'
import type { LogPlace, Storage } from '../../src/storage/storage.ts'
import { inDatabase } from '../../src/testing/postgres.ts'
import { alice, bob, carol, entryOf, Stage, seqOf } from '../../src/testing/storage-contract/stage.ts'
import { PostgresDatabase, postgresOfFile, withoutPostgres } from '../storage/postgres-database.ts'
import { noLimits } from '../storage/sqlite-folder.ts'
import { runCommand } from './command.ts'
import { giveToOrdinaryUser, ordinaryUser, testOfRights } from './ordinary-user.ts'
import { startServer } from './running-server.ts'
import { temporaryFolder } from './temporary-folder.ts'

const quiet = { committed() {}, failed() {} }

function stageOn(storage: Storage): Stage {
  return new Stage({ storage, reopen: async () => storage, [Symbol.asyncDispose]: () => storage.close() })
}

/** Some of everything: edits, tombstones, those who left, ends, markers, rotations, client_ids and a pruned beginning. */
async function lively(data: string) {
  const storage = await openSqlite(`${data}/fanfare.db`, noLimits, quiet)
  const stage = stageOn(storage)
  const gone = await stage.conversation(alice, [bob])
  await stage.message(alice, gone, 'pruned')
  await storage.events.prune(stage.now, stage.now, 2)
  const rooms = [
    (await stage.create(alice, [bob, carol], { title: 'Über "uns" \\ \u{1f3ba}', metadata: { a: { b: [1, 'ö'] } } }))
      .result.conversation.id,
    (await stage.create(bob, [alice], { distinct: true, clientId: 'made' })).result.conversation.id,
  ] as const
  const place: LogPlace = { epoch: storage.epoch, position: entryOf(await stage.say(alice, rooms[0], 'one')).position }
  const message = await stage.message(bob, rooms[0], 'two\n\t"\\', {
    metadata: { x: null },
    attachment: {},
    clientId: 'two',
  })
  await stage.edit(bob, message.id, { body: 'two, edited', clientId: 'edited' })
  const deleted = await stage.message(alice, rooms[1], 'secret')
  await stage.edit(alice, deleted.id, { body: 'secret too' })
  await stage.delete(alice, deleted.id)
  await stage.read(carol, rooms[0], message.id)
  await stage.leave(carol, rooms[0])
  await stage.add(alice, rooms[0], 'user/dave')
  await stage.storage.users.put(stage.act(alice), { name: 'Alice' })
  await stage.channel(bob, 'his')
  await stage.rotate(alice, 'hers', true)
  await stage.end(alice, gone)
  await storage.close()
  return { rooms, place, message, made: storage.epoch }
}

/** All that anybody can ask for. */
async function everything(storage: Storage, rooms: readonly `conversation/${string}`[], place: LogPlace) {
  const stage = stageOn(storage)
  const users = [alice, bob, carol, 'user/dave'] as const
  const orError = (asked: Promise<unknown>) => asked.catch(String)
  return Promise.all(
    users.flatMap((user) => [
      storage.conversations.list(user, 10, null),
      storage.readMarkers.unread(user),
      storage.users.get(user, users),
      storage.userChannels.find(user),
      storage.events.missed(user, place),
      storage.events.missed(user, { ...place, position: 0 }),
      ...rooms.flatMap((room) => [
        orError(stage.messages(user, room)),
        orError(stage.events(user, room, 0)),
        orError(stage.events(user, room, 2)),
        orError(storage.conversations.participants(user, room, 10, null)),
      ]),
    ]),
  )
}

describe.skipIf(withoutPostgres)('fanfare copy', () => {
  const postgres = postgresOfFile()

  test('CLI copy brings along all that clients know: records, order, events, cursors, client_ids, channels, what was revoked', async () => {
    await using database = await PostgresDatabase.create(postgres())
    using folder = temporaryFolder()
    const { rooms, place, message } = await lively(folder.path)
    const bytes = readFileSync(folder.in('fanfare.db'))
    const env = { FANFARE_DATABASE_URL: database.url }
    const { code, stdout, stderr } = await runCommand(['copy', '--data', folder.path], { env })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(
      /^all of .*fanfare\.db is in PostgreSQL: 3 messages in 2 conversations, 2 user channels, \d+ events/,
    )
    expect(readFileSync(folder.in('fanfare.db'))).toEqual(bytes)

    const embedded = await openSqlite(folder.in('fanfare.db'), noLimits, quiet)
    const before = await everything(embedded, rooms, place)
    const { position } = embedded
    await embedded.close()
    const copied = await openPostgres(database.url, noLimits, quiet)
    try {
      expect(copied.position).toBe(position)
      expect(await everything(copied, rooms, place)).toEqual(before)
      expect(JSON.stringify(before)).toContain('two, edited')
      const stage = stageOn(copied)
      expect(await stage.say(bob, rooms[0], 'x', { clientId: 'two' })).toMatchObject({
        result: { message: { id: message.id, revision: 2 } },
        entry: null,
      })
      expect((await stage.edit(bob, message.id, { body: 'x', clientId: 'edited' })).entry).toBeNull()
      expect((await stage.create(bob, [carol], { clientId: 'made' })).result.conversation.id).toBe(rooms[1])
      expect((await stage.create(alice, [bob], { distinct: true })).result.conversation.id).toBe(rooms[1])
      const last = (await stage.get(alice, rooms[0])).conversation.last_seq
      const next = await stage.say(alice, rooms[0], 'goes on')
      expect(seqOf(next)).toBe(last + 1)
      expect(entryOf(next)).toMatchObject({ position: position + 1 })
      expect(entryOf(next).previous).toBeGreaterThan(0)
      // A conversation that is gone leaves its inner number to no other.
      expect((await copied.events.missed(bob, place))?.events.at(-1)?.data).toEqual(entryOf(next).tellings[0]?.data)
      await stage.create(alice, [bob])
      expect(await inDatabase(database.url, 'SELECT count(DISTINCT conversation)::integer FROM fanfare.event')).toEqual(
        [{ count: 4 }],
      )
    } finally {
      await copied.close()
    }
  })

  test('CLI copy takes nothing of what the embedded database goes on to do for its own', async () => {
    await using database = await PostgresDatabase.create(postgres())
    using folder = temporaryFolder()
    const { rooms } = await lively(folder.path)
    await runCommand(['copy', '--from', folder.path, '--to', database.url])
    const embedded = await openSqlite(folder.in('fanfare.db'), noLimits, quiet)
    const { position } = entryOf(await stageOn(embedded).say(alice, rooms[0], 'of another history'))
    await embedded.close()
    const copied = await openPostgres(database.url, noLimits, quiet)
    await stageOn(copied).say(alice, rooms[0], 'of this one')
    expect(await copied.events.missed(bob, { epoch: embedded.epoch, position })).toBeNull()
    await copied.close()
  })

  test('CLI copy refuses what is used, not there or not empty, and then nothing was changed', async () => {
    await using database = await PostgresDatabase.create(postgres())
    using folder = temporaryFolder()
    const env = { FANFARE_DATABASE_URL: database.url }
    const complaint = async (args: readonly string[], more = {}) => {
      const { code, stdout, stderr } = await runCommand(['copy', ...args], { env: { ...env, ...more } })
      expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
      return stderr.trimEnd()
    }
    expect(await complaint(['--data', folder.in('data')])).toMatch(
      /^fanfare: there is no database .*name the server's data folder/,
    )
    {
      await using _server = await startServer(folder.in('data'))
      expect(await complaint(['--data', folder.in('data')])).toMatch(
        /is in use by another running fanfare: stop that one/,
      )
    }
    const args = ['--data', folder.in('data')]
    expect(await complaint(args, { FANFARE_DATABASE_URL: '' })).toMatch(/^fanfare: copy where\?/)
    expect(await complaint(args, { FANFARE_DATABASE_URL: 'postgres://a:canary@127.0.0.1:1/x' })).toMatch(
      /127\.0\.0\.1:1.*ECONNREFUSED/,
    )
    const newer = new DatabaseSync(folder.in('data', 'fanfare.db'))
    newer.exec('PRAGMA user_version = 1000')
    expect(await complaint(args)).toMatch(/is of version 1000, and this fanfare reads \d+/)
    newer.exec('PRAGMA user_version = 1')
    newer.close()
    await (await database.open()).close()
    expect(await complaint(args)).toMatch(/is not empty; name another one, and nothing was changed$/)
    expect(await inDatabase(database.url, 'SELECT count(*)::integer FROM fanfare.epoch')).toEqual([{ count: 1 }])
  })

  test.each([
    ['damaged on the way', (file: string) => damage(file), /malformed; put a backup in its place/],
    ['no database', (file: string) => writeFileSync(file, 'x'.repeat(9_000)), /not a database; put a backup/],
    ["another program's", (file: string) => replaceByAnother(file), /is another program's database$/],
  ])('CLI copy of a database that is %s says so in one line, and changes nothing', async (_, spoil, why) => {
    await using database = await PostgresDatabase.create(postgres())
    using folder = temporaryFolder()
    await lively(folder.path)
    spoil(folder.in('fanfare.db'))
    const ending = await runCommand(['copy', '--from', folder.path, '--to', database.url])
    expect(ending).toMatchObject({ code: 2, stdout: '', stderr: expect.stringMatching(/^fanfare: [^\n]+\n$/) })
    expect(ending.stderr.trimEnd()).toMatch(why)
    const there = `SELECT 1 FROM pg_tables WHERE tablename = 'epoch' AND schemaname = 'fanfare'`
    if ((await inDatabase(database.url, there)).length > 0) {
      expect(await inDatabase(database.url, 'SELECT 1 FROM fanfare.conversation')).toEqual([])
    }
  })

  testOfRights('CLI copy beside a lock file that this user may not write says whose it must be', async () => {
    await using database = await PostgresDatabase.create(postgres())
    using folder = temporaryFolder()
    await lively(folder.path)
    chmodSync(folder.in('fanfare.db.lock'), 0o400)
    giveToOrdinaryUser(folder.path)
    const { code, stderr } = await runCommand(['copy', '--from', folder.path, '--to', database.url], ordinaryUser)
    expect(code).toBe(2)
    expect(stderr).toMatch(/^fanfare: [^\n]+fanfare\.db\.lock \(EACCES\); [^\n]+ chown USER [^\n]+\n$/)
  })

  test('CLI copy that fails on the way leaves the database as empty as it was', async () => {
    await using database = await PostgresDatabase.create(postgres())
    using folder = temporaryFolder()
    await lively(folder.path)
    await (await database.open()).close()
    await inDatabase(database.url, 'TRUNCATE fanfare.epoch')
    await inDatabase(database.url, `ALTER TABLE fanfare.event ADD CHECK (record_type <> 'user')`)
    const { code, stderr } = await runCommand(['copy', '--data', folder.path], {
      env: { FANFARE_DATABASE_URL: database.url },
    })
    expect(code).not.toBe(0)
    expect(stderr).toContain('check constraint')
    for (const table of ['conversation', 'message', 'event', 'epoch']) {
      expect(await inDatabase(database.url, `SELECT 1 FROM fanfare.${table}`)).toEqual([])
    }
  })
})

/** Noise in all pages but those of the schema. */
function damage(file: string): void {
  const bytes = readFileSync(file)
  using database = new DatabaseSync(file, { readOnly: true })
  const { rootpage } = database.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'message'").get() as {
    rootpage: number
  }
  writeFileSync(file, bytes.fill(0xaa, 4_096 * (rootpage - 1), 4_096 * rootpage))
}

function replaceByAnother(file: string): void {
  rmSync(file)
  using database = new DatabaseSync(file)
  database.exec('CREATE TABLE user (id INTEGER)')
}
