/** Several nodes on one PostgreSQL: what each of them promises holds for all together. */
import { describe, expect, it } from 'vitest'
import type { UserId } from '../../src/protocol/ids.ts'
import { migrations } from '../../src/storage/postgres/schema.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { DatabaseUnusable, type LogEntry, type Written } from '../../src/storage/storage.ts'
import { connectTo, inDatabase } from '../../src/testing/postgres.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { allMissed } from '../../src/testing/storage-contract/missed.ts'
import { alice, bob, carol, entryOf, newId, type Stage, seqOf } from '../../src/testing/storage-contract/stage.ts'
import { PostgresDatabase, postgresOfFile, withoutPostgres } from './postgres-database.ts'
import { noLimits } from './sqlite-folder.ts'

describe.skipIf(withoutPostgres)('PostgreSQL: several nodes', () => {
  const server = postgresOfFile()

  /** Nodes that share a database, each with a connection pool of its own. */
  async function nodes(count: number): Promise<AsyncDisposable & { readonly stages: readonly Stage[] }> {
    const database = await PostgresDatabase.create(server())
    const stages = await Promise.all(Array.from({ length: count }, () => database.stage()))
    return { stages, [Symbol.asyncDispose]: () => database[Symbol.asyncDispose]() }
  }

  it('E2 what several nodes write into one conversation at once leaves no gap, and positions rise with seq', async () => {
    await using several = await nodes(3)
    const [first] = several.stages as [Stage]
    const users = Array.from({ length: 6 }, (_, index): UserId => `user/u${index}`)
    const room = await first.conversation(alice, users)
    const written = await Promise.all(
      several.stages.flatMap((stage) =>
        users.flatMap((user) => [1, 2, 3, 4, 5].map((n) => stage.say(user, room, `${n}`))),
      ),
    )
    const places = written.map(entryOf).map(({ position, place }) => ({ position, seq: place?.seq as number }))
    places.sort((one, other) => one.seq - other.seq)
    expect(places.map(({ seq }) => seq)).toEqual(Array.from({ length: 90 }, (_, index) => index + 2))
    const positions = places.map(({ position }) => position)
    expect(positions).toEqual(positions.toSorted((one, other) => one - other))
    expect((await first.messages(alice, room, { after_seq: 0 })).map(({ seq }) => seq)).toEqual(
      places.map(({ seq }) => seq),
    )
  })

  it('E2, M4 messages, edits, deletions, members and markers at once on several nodes end as if one came after the other', async () => {
    await using several = await nodes(3)
    const random = new Random(seedOfTest())
    const [first] = several.stages as [Stage]
    const room = await first.conversation(alice, [bob, carol])
    const messages = await Promise.all([alice, bob, carol].map((user) => first.message(user, room, 'first')))
    const asked: Promise<Written<unknown>>[] = []
    for (let round = 0; round < 120; round++) {
      const stage = random.pick(several.stages)
      const { id, created_by } = random.pick(messages)
      const user = random.pick([alice, bob, carol])
      const ways = [
        () => stage.say(user, room, `${round}`),
        () => stage.edit(created_by, id, { body: `${round}` }),
        () => (random.below(10) === 0 ? stage.delete(created_by, id) : stage.say(alice, room, `${round}`)),
        () => stage.add(alice, room, 'user/dave'),
        () => stage.remove(alice, room, 'user/dave'),
        () => stage.read(user, room, id),
        () => stage.update(alice, room, `${round}`),
      ]
      asked.push(random.pick(ways)())
    }
    const outcomes = await Promise.allSettled(asked)
    // Only an edit of what was deleted may be refused.
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'conflict' })
    }
    const entries = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? (outcome.value.entry ?? []) : []))
    const seqs = entries.flatMap(({ place }) => place?.seq ?? []).toSorted((one, other) => one - other)
    expect(seqs).toEqual(Array.from({ length: seqs.length }, (_, index) => index + 5))
    const { conversation } = await first.get(alice, room)
    expect(conversation.last_seq).toBe(4 + seqs.length)
    expect(conversation.participant_count).toBe(conversation.participants.length)
    expect(await first.events(alice, room)).toHaveLength(4 + seqs.length)
  })

  it('M1 the same set of participants asked for at once on several nodes is one conversation', async () => {
    await using several = await nodes(4)
    for (let round = 0; round < 5; round++) {
      const other: UserId = `user/other${round}`
      const made = await Promise.all(
        several.stages.flatMap((stage) => [
          stage.create(alice, [other], { distinct: true }),
          stage.create(other, [alice], { distinct: true }),
        ]),
      )
      expect(new Set(made.map(({ result }) => result.conversation.id)).size).toBe(1)
      expect(made.filter(({ result }) => result.created)).toHaveLength(1)
      expect(made.filter(({ entry }) => entry)).toHaveLength(1)
    }
  })

  it('M3 the same client_id at once on several nodes is one message, one edit and one conversation', async () => {
    await using several = await nodes(4)
    const [first] = several.stages as [Stage]
    const room = await first.conversation(alice, [bob])
    for (let round = 0; round < 5; round++) {
      const clientId = `${round}`
      const said = await Promise.all(
        several.stages.flatMap((stage) => [1, 2].map(() => stage.say(alice, room, clientId, { clientId }))),
      )
      const { id } = said[0]!.result.message
      expect(said.map(({ result }) => result.message.id)).toEqual(said.map(() => id))
      expect(said.filter(({ entry }) => entry)).toHaveLength(1)
      const edited = await Promise.all(
        several.stages.map((stage) => stage.edit(alice, id, { body: 'edited', clientId })),
      )
      expect(edited.map(({ result }) => result.message.revision)).toEqual(edited.map(() => 2))
      expect(edited.filter(({ entry }) => entry)).toHaveLength(1)
      const made = await Promise.all(several.stages.map((stage) => stage.create(alice, [bob], { clientId })))
      expect(made.filter(({ result }) => result.created)).toHaveLength(1)
      expect(new Set(made.map(({ result }) => result.conversation.id)).size).toBe(1)
    }
  })

  it('U1, U6 a user whom several nodes meet at once has one channel, and each rotation a later time', async () => {
    await using several = await nodes(4)
    const channels = await Promise.all(several.stages.map((stage, index) => stage.channel(alice, `name ${index}`)))
    expect(channels).toEqual(channels.map(() => channels[0]))
    const since = { epoch: several.stages[0]!.storage.epoch, position: 0 }
    const admitted = await Promise.all(
      several.stages.map((stage) => stage.storage.userChannels.admit(bob, stage.fresh(`${newId('message')}`), since)),
    )
    expect(new Set(admitted.map(({ userChannel }) => userChannel.name)).size).toBe(1)
    const rotated = await Promise.all(
      several.stages.flatMap((stage) => [1, 2, 3].map(() => stage.rotate(alice, newId('message'), true))),
    )
    const times = rotated.map(({ entry }) => entry?.rotation?.rotatedAt)
    expect(new Set(times).size).toBe(times.length)
  })

  it('M7, W4 profiles put at once on several nodes each start from the one before', async () => {
    await using several = await nodes(4)
    const put = await Promise.all(
      several.stages.flatMap((stage, index) =>
        [1, 2, 3].map((n) => stage.storage.users.put(stage.act(alice), { name: `${index} ${n}` })),
      ),
    )
    const events = put.map(
      (written) => entryOf(written).tellings[0]!.data as { record: object; original_record: object },
    )
    const follows = (one: object, other: object) => JSON.stringify(one) === JSON.stringify(other)
    const starts = events.filter(
      ({ original_record }) => !events.some(({ record }) => follows(record, original_record)),
    )
    expect(starts).toHaveLength(1)
  })

  it('R1 all nodes name places by one epoch, and a place that one gave is known to the others', async () => {
    await using several = await nodes(2)
    const [first, second] = several.stages as [Stage, Stage]
    expect(second.storage.epoch).toBe(first.storage.epoch)
    const room = await first.conversation(alice, [bob])
    const { position } = entryOf(await first.say(alice, room, 'one'))
    await first.say(alice, room, 'two')
    const missed = await allMissed(second, bob, position, first.storage.epoch)
    expect(missed?.events.map(({ data }) => 'body' in data.record && data.record.body)).toEqual(['two'])
  })
})

describe.skipIf(withoutPostgres)('PostgreSQL: the end of the log', () => {
  const server = postgresOfFile()

  it('R1, R2 an entry that commits after one with a higher position is skipped by nobody', async () => {
    await using database = await PostgresDatabase.create(server())
    const stage = await database.stage()
    const epoch = stage.storage.epoch
    const [here, there] = [await stage.conversation(alice, [bob]), await stage.conversation(alice, [bob])]
    const start = (await stage.storage.events.missed(bob, { epoch, position: 0 }))!.upTo
    // As another node's transaction that has taken its position and is not committed yet.
    await using late = await connectTo(database.url)
    await late.query('BEGIN')
    await late.query(`SET search_path TO fanfare`)
    await late.query(`UPDATE conversation SET last_seq = last_seq + 1 WHERE id = $1`, [here])
    const { rows } = await late.query(
      `INSERT INTO event (at, event_type, record_type, conversation, seq, record)
       SELECT 0, 'update', 'conversation', key, last_seq, $2 FROM conversation WHERE id = $1 RETURNING position::integer`,
      [here, JSON.stringify({ id: here, title: 'late' })],
    )
    const lower = (rows[0] as { position: number }).position
    const higher = entryOf(await stage.say(alice, there, 'early')).position
    expect([lower, higher]).toEqual([start + 1, start + 2])

    const missed = (position: number) => stage.storage.events.missed(bob, { epoch, position })
    expect(await missed(start)).toMatchObject({ upTo: start, events: [], positions: [] })
    const admitted = await stage.storage.userChannels.admit(bob, stage.fresh('his'), { epoch, position: start })
    expect(admitted.missed).toMatchObject({ upTo: start, events: [] })
    // Nor is a place taken away that was given before.
    expect(await missed(higher)).toMatchObject({ upTo: higher, events: [] })
    expect(await stage.storage.events.prune(Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER, 100)).toBe(start)
    await late.query('COMMIT')

    const told = await missed(start)
    expect(told).toMatchObject({ upTo: higher })
    expect(told?.events.map(({ position }) => position)).toEqual([lower, higher])
  })

  it('R1 one that takes a position and is rolled back, or whose node dies, holds the end up only until then', async () => {
    await using database = await PostgresDatabase.create(server())
    const stage = await database.stage()
    const room = await stage.conversation(alice, [bob])
    const end = async () => (await stage.storage.events.missed(bob, { epoch: stage.storage.epoch, position: 1 }))!.upTo
    for (const way of ['ROLLBACK', 'SELECT pg_terminate_backend(pg_backend_pid())']) {
      const before = await end()
      await using other = await connectTo(database.url)
      await other.query('BEGIN')
      await other.query('SET search_path TO fanfare')
      await other.query('SELECT next_position()')
      const { position } = entryOf(await stage.say(alice, room, way))
      expect(position).toBe(before + 2)
      expect(await end()).toBe(before)
      await other.query(way).catch(() => {})
      await expect.poll(end).toBe(position)
    }
  })

  it('R1, R2 whatever several nodes write at once, who asks again and again from where he was told up to misses nothing', async () => {
    await using database = await PostgresDatabase.create(server())
    const stages = await Promise.all([1, 2, 3].map(() => database.stage()))
    const [reader] = stages as [Stage]
    const users = Array.from({ length: 8 }, (_, index): UserId => `user/u${index}`)
    const rooms = await Promise.all(users.map((user) => reader.conversation(user, [bob])))
    const since = { epoch: reader.storage.epoch, position: 0 }
    const heard: number[] = []
    const ask = async () => {
      const missed = (await allMissed(reader, bob, since.position))!
      heard.push(...missed.events.map(({ position }) => position))
      since.position = missed.upTo
    }
    let writing = true
    const written = Promise.all(
      stages.flatMap((stage, node) =>
        rooms.map(async (room, index) => {
          const entries: LogEntry[] = []
          for (let n = 0; n < 10; n++) entries.push(entryOf(await stage.say(users[index]!, room, `${node} ${n}`)))
          return entries
        }),
      ),
    ).finally(() => {
      writing = false
    })
    while (writing) await ask()
    const positions = (await written).flat().map(({ position }) => position)
    await ask()
    expect(positions).toHaveLength(240)
    const creations = heard.filter((position) => !positions.includes(position))
    expect(creations).toHaveLength(rooms.length)
    expect(heard).toEqual([...new Set(heard)].toSorted((one, other) => one - other))
    expect(heard).toEqual(expect.arrayContaining(positions))
  })

  it('STORAGE on one node operations are answered in the order of the log, whichever conversations they are in', async () => {
    await using database = await PostgresDatabase.create(server())
    const stage = await database.stage()
    const users = Array.from({ length: 12 }, (_, index): UserId => `user/u${index}`)
    const rooms = await Promise.all(users.map((user) => stage.conversation(user, [bob])))
    const answered: number[] = []
    await Promise.all(
      Array.from({ length: 20 }, () =>
        rooms.map((room, index) =>
          stage.say(users[index]!, room, '.').then((written) => answered.push(entryOf(written).position)),
        ),
      ).flat(),
    )
    expect(answered).toHaveLength(240)
    expect(answered).toEqual(answered.toSorted((one, other) => one - other))
  })

  it('STORAGE what a user asks for without waiting is done in his order', async () => {
    await using database = await PostgresDatabase.create(server())
    const stage = await database.stage()
    const room = await stage.conversation(alice, [bob])
    const message = await stage.message(alice, room, 'first')
    const asked = [
      stage.say(alice, room, 'one'),
      stage.edit(alice, message.id, { body: 'edited' }),
      stage.say(alice, room, 'two'),
      stage.update(alice, room, 'Title'),
      stage.delete(alice, message.id),
      stage.say(alice, room, 'three'),
    ]
    const history = stage.messages(alice, room)
    expect((await Promise.all(asked)).map(seqOf)).toEqual([3, 4, 5, 6, 7, 8])
    expect((await history).map(({ body }) => body)).toEqual(['three', 'two', 'one', ''])
  })

  it('STORAGE a conversation that another node holds keeps nobody from others, however many change messages in it', async () => {
    await using database = await PostgresDatabase.create(server())
    const stage = await database.stage()
    // More than there are connections.
    const users = Array.from({ length: 20 }, (_, index): UserId => `user/u${index}`)
    const room = await stage.conversation(alice, users)
    const elsewhere = await stage.conversation(alice, [bob])
    const messages = await Promise.all(users.map((user) => stage.message(user, room, '.')))
    await using other = await connectTo(database.url)
    await other.query('BEGIN')
    await other.query('SELECT * FROM fanfare.conversation WHERE id = $1 FOR UPDATE', [room])
    let done = 0
    const change = async (user: UserId, index: number) => {
      const { id } = messages[index]!
      await stage.edit(user, id, { body: 'edited' })
      await stage.delete(user, id)
      done++
    }
    const changes = users.map(change)
    await stage.say(alice, elsewhere, 'elsewhere')
    expect(done).toBe(0)
    await other.query('ROLLBACK')
    await Promise.all(changes)
    expect(await stage.messages(bob, elsewhere)).toHaveLength(1)
    expect((await stage.messages(alice, room)).map(({ deleted }) => deleted)).toEqual(users.map(() => true))
  })

  it('STORAGE changes of messages and what else comes without waiting keep the order of each user, and nothing waits for ever', async () => {
    await using database = await PostgresDatabase.create(server())
    const stage = await database.stage()
    const users = Array.from({ length: 6 }, (_, index): UserId => `user/u${index}`)
    const room = await stage.conversation(alice, users)
    const messages = await Promise.all(users.map((user) => stage.message(user, room, '.')))
    const asked = users.map((user, index) => {
      const { id } = messages[index]!
      return Promise.all(
        [1, 2, 3].flatMap((round) => [
          stage.edit(user, id, { body: `${round}` }),
          stage.say(user, room, `${user} ${round}`),
        ]),
      )
    })
    for (const written of await Promise.all(asked)) {
      const seqs = written.map(seqOf)
      expect(seqs).toEqual(seqs.toSorted((one, other) => one! - other!))
    }
    expect((await stage.get(alice, room)).conversation.last_seq).toBe(1 + 7 * users.length)
  })
})

describe.skipIf(withoutPostgres)('PostgreSQL: opening', () => {
  const server = postgresOfFile()

  it('STORAGE five nodes that start at once make the tables once, and all of them work', async () => {
    await using database = await PostgresDatabase.create(server())
    const stages = await Promise.all([1, 2, 3, 4, 5].map(() => database.stage()))
    const rooms = await Promise.all(stages.map((stage) => stage.conversation(alice, [bob])))
    expect(await stages[0]!.storage.conversations.list(bob, 10, null)).toHaveLength(rooms.length)
    expect(await inDatabase(database.url, 'SELECT version FROM fanfare.version')).toEqual([
      { version: migrations.length },
    ])
    expect(await inDatabase(database.url, 'SELECT number::integer FROM fanfare.epoch')).toEqual([{ number: 1 }])
  })

  it('STORAGE a database of a newer version is refused, and stays as it was', async () => {
    await using database = await PostgresDatabase.create(server())
    await (await database.open()).close()
    await inDatabase(database.url, 'UPDATE fanfare.version SET version = 1000')
    const refusal = database.open()
    await expect(refusal).rejects.toBeInstanceOf(DatabaseUnusable)
    await expect(refusal).rejects.toThrow(/newer fanfare \(database version 1000, .*nothing was changed/)
    await inDatabase(database.url, 'UPDATE fanfare.version SET version = 1')
    await database.open()
  })

  it('STORAGE a server that is not there, a database that is not there and a URL that is none are told, and no password with them', async () => {
    await using database = await PostgresDatabase.create(server())
    const urls = {
      'postgres://fanfare:canary@127.0.0.1:1/x': /PostgreSQL at 127.0.0.1:1, database x, can't be used: .*ECONNREFUSED/,
      [database.url.replace(/test_\d+/, 'nowhere')]: /database "nowhere" does not exist/,
      'postgres://fanfare:canary@[oops/x': /URL can't be read/,
    }
    for (const [url, text] of Object.entries(urls)) {
      const error = await openPostgres(url, noLimits, { committed() {}, failed() {} }).catch(
        (reason: unknown) => reason,
      )
      expect(error).toBeInstanceOf(DatabaseUnusable)
      expect((error as Error).message).toMatch(text)
      expect(String((error as Error).stack)).not.toContain('canary')
    }
  })

  it('STORAGE a PostgreSQL whose fsync is off is refused, for it would acknowledge what may be lost', async () => {
    await using database = await PostgresDatabase.create(server())
    await inDatabase(database.url, `ALTER SYSTEM SET fsync = off`)
    await server().restart()
    await expect(database.open()).rejects.toThrow(/runs with fsync off/)
    await inDatabase(database.url, `ALTER SYSTEM RESET fsync`)
    await server().restart()
    await database.open()
  })

  it('M3 a database that is set to acknowledge commits before they are on disk does so for no commit of ours', async () => {
    await using database = await PostgresDatabase.create(server())
    const name = /test_\d+/.exec(database.url)?.[0]
    await inDatabase(database.url, `ALTER DATABASE ${name} SET synchronous_commit = off`)
    const stage = await database.stage()
    const room = await stage.conversation(alice, [bob])
    await inDatabase(
      database.url,
      `CREATE FUNCTION fanfare.noted() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN NEW.title := current_setting('synchronous_commit'); RETURN NEW; END $$;
       CREATE TRIGGER noted BEFORE UPDATE ON fanfare.conversation FOR EACH ROW EXECUTE FUNCTION fanfare.noted()`,
    )
    await stage.say(alice, room, '.')
    expect((await stage.get(bob, room)).conversation.title).toBe('on')
    await inDatabase(database.url, `ALTER DATABASE ${name} RESET synchronous_commit`)
  })
})
