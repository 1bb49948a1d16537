/** What is acknowledged is stored (M3), whatever becomes of the connections and of the server; and all goes on by itself. */
import { describe, expect, it } from 'vitest'
import { FanfareError } from '../../src/protocol/codes.ts'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import { connectTo, inDatabase } from '../../src/testing/postgres.ts'
import { allMissed } from '../../src/testing/storage-contract/missed.ts'
import { alice, bob, codeOf, entryOf, refusal, type Stage, seqOf } from '../../src/testing/storage-contract/stage.ts'
import { PostgresDatabase, postgresOfFile, withoutPostgres } from './postgres-database.ts'

const ourConnections = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'fanfare'`

/** Each sends one message after the other into the room until `until`, and says which were acknowledged and which refused. */
async function sayUntil(stage: Stage, room: ConversationId, users: readonly UserId[], until: Promise<unknown>) {
  const acknowledged: string[] = []
  const refused: string[] = []
  let going = true
  void until.finally(() => {
    going = false
  })
  const writer = async (user: UserId) => {
    for (let n = 0; going || n < 3; n++) {
      const clientId = `${user} ${n}`
      await stage.say(user, room, clientId, { clientId }).then(
        () => acknowledged.push(clientId),
        (error: unknown) => {
          expect(error).toBeInstanceOf(FanfareError)
          expect(error).toMatchObject({ code: 'unavailable', retryable: true })
          refused.push(clientId)
        },
      )
    }
  }
  await Promise.all(users.map(writer))
  await until
  return { acknowledged, refused }
}

/** Nothing that was acknowledged is missing, nothing is there twice, and what was refused is there once when it is sent again. */
async function expectKept(
  stage: Stage,
  room: ConversationId,
  { acknowledged, refused }: { acknowledged: readonly string[]; refused: readonly string[] },
) {
  const bodies = async () => (await stage.messages(alice, room, { after_seq: 0 })).map(({ body }) => body)
  const found = await bodies()
  expect(new Set(found).size).toBe(found.length)
  expect(found).toEqual(expect.arrayContaining([...acknowledged]))
  for (const clientId of refused) {
    const again = await stage.say(clientId.split(' ')[0] as UserId, room, clientId, { clientId })
    expect(again.entry === null).toBe(found.includes(clientId))
  }
  expect((await bodies()).toSorted()).toEqual([...acknowledged, ...refused].toSorted())
  const { conversation } = await stage.get(alice, room)
  expect(conversation.last_seq).toBe(1 + acknowledged.length + refused.length)
  expect(await stage.events(alice, room)).toHaveLength(conversation.last_seq)
}

const users = Array.from({ length: 6 }, (_, index): UserId => `user/u${index}`)

/** A database with a room in it, and a trigger on what is written to its log or commits there. */
async function openRoom(database: PostgresDatabase): Promise<{ stage: Stage; room: ConversationId }> {
  const stage = await database.stage()
  return { stage, room: await stage.conversation(alice, [bob, ...users]) }
}

function trigger(database: PostgresDatabase, body: string): Promise<unknown> {
  return inDatabase(
    database.url,
    `CREATE SEQUENCE fanfare.times;
     CREATE FUNCTION fanfare.fault() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN ${body} RETURN NEW; END $$;
     CREATE TRIGGER fault BEFORE INSERT ON fanfare.event FOR EACH ROW EXECUTE FUNCTION fanfare.fault()`,
  )
}

describe.skipIf(withoutPostgres)('PostgreSQL: connections and servers that go', () => {
  const server = postgresOfFile()

  it('M3 connections that are cut under way lose nothing that was acknowledged, and make nothing twice', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    const cut = async () => {
      for (let round = 0; round < 15; round++) {
        await stage.messages(alice, room).catch(() => {})
        await inDatabase(database.url, ourConnections)
      }
    }
    const fates = await sayUntil(stage, room, users, cut())
    expect(fates.refused).not.toEqual([])
    await expectKept(stage, room, fates)
    expect(database.troubles.length).toBeGreaterThanOrEqual(fates.refused.length)
    for (const trouble of database.troubles) expect(trouble).toMatch(/^PostgreSQL: /)
  })

  it('M3, R5 a server that crashes loses nothing that was acknowledged, and every place that was given holds', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    const { epoch } = stage.storage
    const place = entryOf(await stage.say(alice, room, 'before')).position
    const crash = async () => {
      await stage.messages(alice, room)
      await server().kill()
      expect(await codeOf(stage.get(alice, room))).toBe('unavailable')
      expect(await codeOf(stage.update(alice, room, 'Title'))).toBe('unavailable')
      await server().start()
    }
    const fates = await sayUntil(stage, room, users, crash())
    await expectKept(stage, room, { ...fates, acknowledged: [...fates.acknowledged, 'before'] })
    expect(database.troubles.length).toBeGreaterThan(0)

    // It is another life of the database, and the same log.
    expect(stage.storage.epoch).not.toBe(epoch)
    const count = fates.acknowledged.length + fates.refused.length
    for (const name of [epoch, stage.storage.epoch]) {
      expect((await allMissed(stage, bob, place, name))?.events).toHaveLength(Math.min(count, 500))
    }
  })

  it('R5 a place that was given after a backup was made is none of the database that is restored from it', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    const before = { epoch: stage.storage.epoch, position: entryOf(await stage.say(alice, room, 'before')).position }
    await server().backUp()
    await stage.get(alice, room).catch(() => {})
    const after = { position: entryOf(await stage.say(alice, room, 'lost')).position, epoch: stage.storage.epoch }
    await server().restore()
    // Its sessions know of more than is there, so this node takes no more part in it, however far others go on.
    await expect.poll(() => codeOf(stage.get(alice, room))).toBe('unavailable')
    const again = await database.stage()
    const other = entryOf(await again.say(alice, room, 'another'))
    expect(other.position).toBe(after.position)
    expect(await again.storage.events.missed(bob, after)).toBeNull()
    expect((await allMissed(again, bob, before.position, before.epoch))?.events).toHaveLength(1)
    for (let round = 0; round < 3; round++) expect(await codeOf(stage.say(alice, room, '.'))).toBe('unavailable')
    expect(database.troubles.at(-1)).toMatch(/without what it had acknowledged .* start the server again/)
  })

  it('R5 no place of before is one of a database that was recovered to a point in time', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    const before = { epoch: stage.storage.epoch, position: entryOf(await stage.say(alice, room, 'before')).position }
    await database.close()
    await server().backUp()
    const between = await database.stage()
    expect(await between.storage.events.missed(bob, before)).toMatchObject({ events: [] })
    await database.close()
    await server().recover()
    const again = await database.stage()
    expect(await again.storage.events.missed(bob, before)).toBeNull()
    const { position } = entryOf(await again.say(alice, room, 'after'))
    const place = { epoch: again.storage.epoch, position }
    await again.reopen()
    expect(again.storage.epoch).not.toBe(place.epoch)
    expect(await again.storage.events.missed(bob, place)).toMatchObject({ events: [] })
  })

  it('R5 no place of before is one of a database whose epochs the operator took away, as after a restored copy of its files', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    const place = { epoch: stage.storage.epoch, position: entryOf(await stage.say(alice, room, 'before')).position }
    await database.close()
    await inDatabase(database.url, 'DELETE FROM fanfare.epoch')
    const again = await database.stage()
    expect(await again.storage.events.missed(bob, place)).toBeNull()
    const since = { ...place, epoch: again.storage.epoch }
    expect(await again.storage.events.missed(bob, since)).toMatchObject({ events: [] })
  })

  it('M3 a commit whose answer is lost is unavailable, and asked for again it is found', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    // A standby that must have each commit too, and never comes: then a commit is done here and not answered.
    await inDatabase(database.url, `ALTER SYSTEM SET synchronous_standby_names = 'nobody'`)
    await inDatabase(database.url, 'SELECT pg_reload_conf()')
    const waiting = (end: string) =>
      `SELECT ${end}(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name = 'fanfare'`
    // Told to give up waiting PostgreSQL answers as if all were well, but for a warning.
    for (const [user, end] of [[alice, 'pg_terminate_backend'] as const, [bob, 'pg_cancel_backend'] as const]) {
      const asked = refusal(stage.say(user, room, end, { clientId: 'c' }))
      await expect.poll(() => inDatabase(database.url, waiting(end))).toHaveLength(1)
      expect(await asked).toMatchObject({ code: 'unavailable', message: expect.stringMatching(/same client_id/) })
    }
    await inDatabase(database.url, 'ALTER SYSTEM RESET synchronous_standby_names')
    await inDatabase(database.url, 'SELECT pg_reload_conf()')
    for (const user of [alice, bob]) {
      expect(await stage.say(user, room, 'again', { clientId: 'c' })).toMatchObject({ entry: null })
    }
    expect((await stage.messages(bob, room)).map(({ body }) => body)).toEqual([
      'pg_cancel_backend',
      'pg_terminate_backend',
    ])
  })

  it('STORAGE what waits too long for another is unavailable, and then it goes on', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    await using other = await connectTo(database.url)
    await other.query('BEGIN')
    await other.query('SELECT * FROM fanfare.conversation FOR UPDATE')
    const asked = await Promise.all([alice, bob].map((user) => refusal(stage.say(user, room, '.'))))
    expect(asked).toMatchObject(asked.map(() => ({ code: 'unavailable', retryable: true })))
    await other.query('ROLLBACK')
    expect(seqOf(await stage.say(alice, room, 'after'))).toBe(2)
  })

  it('STORAGE where the database falls silent all that waits is unavailable when the first is, and then it goes on', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    await stage.say(alice, room, 'before')
    server().freeze()
    const asked = await Promise.all(Array.from({ length: 8 }, () => refusal(stage.say(alice, room, 'lost'))))
    server().thaw()
    expect(asked).toMatchObject(asked.map(() => ({ code: 'unavailable', retryable: true })))
    expect(database.troubles).toHaveLength(8)
    const after = () => stage.say(alice, room, 'after', { clientId: 'after' })
    await expect.poll(after, { timeout: 15_000 }).toBeTruthy()
    expect((await stage.messages(bob, room)).map(({ body }) => body)).toEqual(['after', 'before'])
  })
})

describe.skipIf(withoutPostgres)('PostgreSQL: errors', () => {
  const server = postgresOfFile()

  it('STORAGE an operation that another was in the way of is tried again, and done once', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    const codes = `ARRAY['40001', '40P01', '0A000']`
    await trigger(
      database,
      `DECLARE code text := (${codes})[nextval('fanfare.times')];
       BEGIN IF code IS NOT NULL THEN RAISE EXCEPTION USING ERRCODE = code; END IF; END;`,
    )
    expect(seqOf(await stage.say(alice, room, '.'))).toBe(2)
    expect(await stage.messages(bob, room)).toHaveLength(1)
    expect(database.troubles).toEqual([])
  })

  it('STORAGE where there is always another in the way it is unavailable in the end, and nothing is stored', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    await trigger(database, `PERFORM nextval('fanfare.times'); RAISE EXCEPTION USING ERRCODE = '40001';`)
    expect(await codeOf(stage.say(alice, room, '.'))).toBe('unavailable')
    expect(await inDatabase(database.url, `SELECT last_value::integer AS tries FROM fanfare.times`)).toEqual([
      { tries: 5 },
    ])
    expect(await stage.messages(bob, room)).toEqual([])
  })

  it('STORAGE a full disk is unavailable and told to the operator, and it goes on when there is room', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    await trigger(database, `RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100';`)
    for (let round = 0; round < 3; round++) expect(await codeOf(stage.say(alice, room, '.'))).toBe('unavailable')
    expect(database.troubles).toEqual(Array(3).fill('PostgreSQL: no space left on device'))
    await inDatabase(database.url, 'DROP TRIGGER fault ON fanfare.event')
    expect(seqOf(await stage.say(alice, room, '.'))).toBe(2)
  })

  it('STORAGE a fault of our own is told as what it is, without the row, and hurts nobody else', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    await inDatabase(database.url, `ALTER TABLE fanfare.message ADD CHECK (body <> 'canary')`)
    const outcomes = await Promise.allSettled([
      stage.say(users[0]!, room, 'before'),
      stage.say(users[1]!, room, 'canary'),
      stage.update(alice, room, 'Half', 1n as never),
      stage.say(users[2]!, room, 'after'),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled'])
    const [, refused, unwritable] = outcomes as PromiseRejectedResult[]
    expect(refused?.reason).not.toBeInstanceOf(FanfareError)
    expect(refused?.reason.message).toMatch(/violates check constraint .*\(23514\)/)
    expect(JSON.stringify([refused?.reason, { ...refused?.reason }, refused?.reason.stack])).not.toContain('canary')
    expect(unwritable?.reason.message).toContain('BigInt')
    expect((await stage.get(bob, room)).conversation).toMatchObject({ title: null, last_seq: 3 })
    expect(database.troubles).toEqual([])
  })

  it('STORAGE close commits what was asked for before, refuses what is asked for afterwards, and may come twice', async () => {
    await using database = await PostgresDatabase.create(server())
    const { stage, room } = await openRoom(database)
    const { storage } = stage
    const asked = Array.from({ length: 20 }, (_, index) => stage.say(alice, room, `${index}`))
    const closed = Promise.all([storage.close(), storage.close()])
    expect(await refusal(stage.say(alice, room, 'late'))).toMatchObject({ code: 'unavailable', retryable: true })
    const acknowledged = await Promise.all(asked)
    await closed
    await storage.close()
    expect(await codeOf(stage.get(alice, room))).toBe('unavailable')
    const again = await database.stage()
    const messages = await again.messages(bob, room)
    expect(messages.toReversed()).toEqual(acknowledged.map(({ result }) => result.message))
  })
})
