/** Who comes back while the log is not whole, for a transaction of another node has taken its place in it and stays open (R2). */
import { describe, expect, it, vi } from 'vitest'
import { LocalBroker } from '../../src/broker/local.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { openPostgres } from '../../src/storage/postgres.ts'
import { connectTo } from '../../src/testing/postgres.ts'
import { startEngine } from '../../src/testing/start-engine.ts'
import { PostgresDatabase, postgresOfFile, withoutPostgres } from '../storage/postgres-database.ts'
import { PumpedSession } from './pumped-session.ts'
import { alice } from './stage.ts'

const crowd = Array.from({ length: 12 }, (_, index): UserId => `user/crowd-${index}`)
const rounds = 25

describe.skipIf(withoutPostgres)('while another node’s transaction is open', () => {
  const postgres = postgresOfFile()

  /** The crowd is back, an entry of another node that it missed is not committed yet, and a message behind that has passed it by. */
  async function openHole() {
    const database = await PostgresDatabase.create(postgres())
    const started = await startEngine({
      openStorage: (...given) => openPostgres(database.url, ...given),
      openBroker: () => new LocalBroker(false),
    })
    const { clock, engine } = started
    const host = await PumpedSession.connect(started, alice)
    const roomOfAll = async () => (await host.command('create_conversation', { participants: crowd })).conversation.id
    const [room, other] = [await roomOfAll(), await roomOfAll()]
    await vi.waitFor(() => {
      clock.advance(1_000)
      expect(engine.fanout.position).toBe(engine.fanout.last)
    })
    const { cursor } = await host.command('ping', {})
    const transaction = await connectTo(database.url)
    await transaction.query('BEGIN; SET search_path TO fanfare')
    await transaction.query('UPDATE conversation SET last_seq = last_seq + 1 WHERE id = $1', [other])
    await transaction.query(
      `INSERT INTO event (at, event_type, record_type, conversation, seq, record)
       SELECT 0, 'update', 'conversation', key, last_seq, $2 FROM conversation WHERE id = $1`,
      [other, JSON.stringify({ id: other, title: 'late' })],
    )
    const say = (body: string) => host.command('create_message', { conversation: room, body })
    await say('early')
    const asked = { missed: vi.spyOn(engine.storage.events, 'missed'), since: vi.spyOn(engine.storage.events, 'since') }
    const sessions = await Promise.all(crowd.map((user) => PumpedSession.connect(started, user, cursor)))
    for (let round = 0; round < rounds; round++) {
      clock.advance(20)
      // So long that what was asked for is answered.
      await transaction.query('SELECT pg_sleep(0.005)')
    }
    return {
      ...{ started, engine, transaction, asked, sessions, say },
      /** The events that each of the crowd has taken, of which there are so many. */
      async taken(count: number) {
        const events: string[][] = sessions.map(() => [])
        await vi.waitFor(
          () => {
            clock.advance(20)
            for (const [index, session] of sessions.entries()) {
              for (const { data } of session.take()) {
                const record = ('record' in data ? data.record : {}) as {
                  readonly body?: string
                  readonly title?: string
                }
                events[index]?.push(record.body ?? record.title ?? '')
              }
            }
            for (const own of events) expect(own.length).toBeGreaterThanOrEqual(count)
          },
          { timeout: 15_000, interval: 5 },
        )
        return events
      },
      async [Symbol.asyncDispose]() {
        await transaction.end()
        await started[Symbol.asyncDispose]()
        await database[Symbol.asyncDispose]()
      },
    }
  }

  it('R2 however many come back the node alone looks whether it has ended; then each asks once what it missed, and gets it all', async () => {
    await using hole = await openHole()
    const { asked } = hole
    expect(asked.missed).not.toHaveBeenCalled()
    expect(asked.since.mock.calls.length).toBeLessThanOrEqual(rounds + 1)
    expect(hole.sessions.flatMap((session) => session.take())).toEqual([])
    await hole.transaction.query('COMMIT')
    expect(await hole.taken(2)).toEqual(crowd.map(() => ['late', 'early']))
    expect(asked.missed).toHaveBeenCalledTimes(crowd.length)
    await hole.say('live')
    expect(await hole.taken(1)).toEqual(crowd.map(() => ['live']))
    expect(asked.missed).toHaveBeenCalledTimes(crowd.length)
    expect(hole.started.faults).toEqual([])
  })

  it('R2, S7 who still waits when the server ends is sent away like everyone, and storage is asked no more', async () => {
    await using hole = await openHole()
    await hole.engine.close()
    for (const { pair } of hole.sessions) {
      pair.pumpToPeer()
      expect(pair.ending?.code).toBe(4503)
    }
    expect(hole.asked.missed).not.toHaveBeenCalled()
    expect(hole.started.faults).toEqual([])
  })
})
