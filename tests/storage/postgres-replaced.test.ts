/** Nodes that run while another database takes the place of theirs, as a standby does that has not got the last messages (R5). */
import { describe, expect, it } from 'vitest'
import { createChat } from '../../src/client/index.ts'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { patience } from '../../src/testing/broker-contract.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { natsTest, startNats } from '../../src/testing/nats.ts'
import { inDatabase } from '../../src/testing/postgres.ts'
import { connect, open, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { alice, bob, carol, codeOf, dave, entryOf, type Stage } from '../../src/testing/storage-contract/stage.ts'
import { PostgresDatabase, postgresOfFile, withoutPostgres } from './postgres-database.ts'

/** Says it as an application does that tries again; gives its seq. */
async function say(server: TestServer, conversation: ConversationId, body: string): Promise<number> {
  for (;;) {
    const { result, error } = await server.call('create_message', { conversation, body }, alice)
    if (result) return result.message.seq
    expect(error.code).toBe('unavailable')
  }
}

function heard(session: RawSession, body: string) {
  return session.next(({ data }) => data.record_type === 'message' && data.record.body === body)
}

/** Comes back as the session that was there. */
async function comeBack(server: TestServer, cursor: string) {
  const session = await open(server)
  const { resumed } = await session.command('connect', { token: await server.token('bob'), cursor })
  return Object.assign(session, { resumed })
}

describe.skipIf(withoutPostgres)('PostgreSQL: another database', () => {
  const postgres = postgresOfFile()

  /** From now on it is a database that went another way since the backup. As on a standby, the last number in its log is beyond the last entry. */
  async function takeOver({ url }: PostgresDatabase): Promise<void> {
    await postgres().recover()
    await inDatabase(url, `SELECT setval('fanfare.event_position', last_value + 32) FROM fanfare.event_position`)
  }

  for (const who of ['the node that has heard of the lost message', 'the node that wrote it']) {
    natsTest(
      `R5 nodes go on with a database that lacks what was told, and no session does; first to write is ${who}`,
      async () => {
        await using database = await PostgresDatabase.create(postgres())
        await using nats = await startNats()
        // While it stands, no node looks into the database by itself.
        const clock = new FakeClock()
        const options = { databaseUrl: database.url, brokerUrl: nats.url, clock, drainMs: 100 }
        await using hearer = await startServer(options)
        await using writer = await startServer(options)
        const nodes = [hearer, writer]
        const first = who.endsWith('wrote it') ? writer : hearer
        const { result } = await writer.call('create_conversation', { participants: [bob] }, alice)
        const room = result.conversation.id
        const sessions = [await connect(hearer, bob), await connect(writer, bob)]
        using chat = Object.assign(createChat({ url: hearer.url, token: () => hearer.token('bob') }), {
          [Symbol.dispose]: () => chat.close(),
        })
        const bodies: string[] = []
        let resets = 0
        chat.subscribe(({ record }) => 'body' in record && bodies.push(record.body))
        chat.onReset(() => resets++)
        await chat.getUnreadCount()
        const passing = setInterval(() => clock.advance(1_000), 20)
        await say(writer, room, 'in both')
        for (const session of sessions) await heard(session, 'in both')
        clearInterval(passing)

        await postgres().backUp()
        const lost = await say(writer, room, 'lost')
        const cursors: string[] = []
        // It is lost too, and this node knows of it, that somebody more takes part.
        await writer.call('add_participants', { conversation: room, participants: [carol] }, alice)
        await say(hearer, room, 'lost too')
        for (const session of sessions) cursors.push((await heard(session, 'lost too')).cursor)
        await expect.poll(() => bodies, patience).toEqual(['in both', 'lost', 'lost too'])
        await takeOver(database)
        // It takes the place of the lost one, for nobody who has that.
        expect(await say(first, room, 'new')).toBe(lost)
        for (const session of sessions) {
          expect(await session.closed).toMatchObject({ code: 4503, reason: expect.stringMatching(/^draining \d+$/) })
          expect(session.events.at(-1)).toMatchObject({ seq: lost + 2, data: { record: { body: 'lost too' } } })
        }
        await using here = await comeBack(hearer, cursors[0]!)
        await using there = await comeBack(writer, cursors[1]!)
        expect([here.resumed, there.resumed]).toEqual([false, false])
        await expect.poll(() => resets, patience).toBe(1)

        await using added = await connect(hearer, dave)
        await writer.call('add_participants', { conversation: room, participants: [dave] }, alice)
        expect(await say(hearer, room, 'newer')).toBe(lost + 2)
        const looking = setInterval(() => clock.advance(1_000), 20)
        for (const session of [here, there, added])
          expect(await heard(session, 'newer')).toMatchObject({ seq: lost + 2 })
        await expect.poll(() => bodies.at(-1), patience).toBe('newer')
        clearInterval(looking)
        expect(resets).toBe(1)
        for (const { logged } of nodes) {
          const lines = logged.filter(({ event }) => event === 'database_replaced')
          expect(lines).toMatchObject([{ level: 'warn', reason: expect.stringContaining('load anew') }])
        }
      },
    )
  }

  /** A node, and what it knows of a message that is not in the database which takes over. */
  async function openLost(
    database: PostgresDatabase,
  ): Promise<{ stage: Stage; room: ConversationId; position: number }> {
    const stage = await database.stage()
    const room = await stage.conversation(alice, [bob])
    await stage.say(alice, room, 'in both')
    await postgres().backUp()
    await expect.poll(() => stage.get(alice, room), patience).toBeTruthy()
    return { stage, room, position: entryOf(await stage.say(alice, room, 'lost')).position }
  }

  it('R5 what was asked for before another database took over is not done in that, and then all goes on by itself', async () => {
    await using database = await PostgresDatabase.create(postgres())
    const { stage, room, position } = await openLost(database)
    const { storage } = stage
    const { epoch } = storage
    const begun: { epoch: string; position: number }[] = []
    storage.whenReplaced(() => begun.push({ epoch: storage.epoch, position: storage.position }))
    await postgres().recover()
    const asked = Array.from({ length: 40 }, (_, index) => codeOf(stage.say(alice, room, `${index}`)))
    expect(new Set(await Promise.all(asked))).toEqual(new Set(['unavailable']))
    expect(begun).toEqual([{ epoch: storage.epoch, position: position - 1 }])
    expect(storage.epoch).not.toBe(epoch)

    expect(entryOf(await stage.say(alice, room, 'new')).position).toBe(position)
    expect((await stage.messages(bob, room)).map(({ body }) => body)).toEqual(['new', 'in both'])
    expect(await storage.events.missed(bob, { epoch, position })).toBeNull()
    const since = { epoch: storage.epoch, position: position - 1 }
    expect(await storage.events.missed(bob, since)).toMatchObject({ events: [{ position }] })
    // What it knows since then is of this one.
    await postgres().restart()
    await expect.poll(() => stage.say(alice, room, 'after'), patience).toBeTruthy()
    expect(begun).toHaveLength(1)
  })
})
