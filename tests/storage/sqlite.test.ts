import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { openSqlite } from '../../src/storage/sqlite.ts'
import { alice, bob, carol, codeOf, entryOf, refusal, seqOf } from '../../src/testing/storage-contract/stage.ts'
import { storageContract } from '../../src/testing/storage-contract.ts'
import { noLimits, SqliteFolder } from './sqlite-folder.ts'

storageContract('SQLite', (limits) => new SqliteFolder().opened(limits))

describe('SQLite: batches', () => {
  it('STORAGE an operation that fails leaves no trace, and does not hurt those it shares a commit with', async () => {
    await using stage = await new SqliteFolder().stage()
    const room = await stage.conversation(alice, [bob])
    const unwritable = 1n as never // JSON has no such number: the fault comes after the title was written
    const outcomes = await Promise.allSettled([
      stage.say(alice, room, 'before'),
      stage.update(alice, room, 'Half', unwritable),
      stage.say(carol, room, 'from outside'),
      stage.say(alice, room, 'after'),
    ])
    expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'fulfilled'])
    expect((await stage.get(bob, room)).conversation).toMatchObject({ title: null, last_seq: 3 })
    expect((await stage.messages(bob, room)).map(({ seq, body }) => [seq, body])).toEqual([
      [3, 'after'],
      [2, 'before'],
    ])
    expect(await stage.events(bob, room)).toHaveLength(3)
  })

  it('STORAGE a fault is told as what it is, not as an error of the contract', async () => {
    await using stage = await new SqliteFolder().stage()
    const room = await stage.conversation(alice, [bob])
    await expect(refusal(stage.update(alice, room, 'Half', 1n as never))).rejects.toThrow('BigInt')
    expect((await stage.say(alice, room, 'goes on')).entry).not.toBeNull()
  })
})

describe('SQLite: the order of what is asked for', () => {
  it('R2 what was asked for before a session begins is in what it missed, and what was asked for after it is not', async () => {
    await using stage = await new SqliteFolder().stage()
    const room = await stage.conversation(alice, [bob])
    const since = { epoch: stage.storage.epoch, position: 1 }
    const order: (number | string)[] = []
    const say = (body: string) => stage.say(alice, room, body).then((done) => order.push(entryOf(done).position))
    const [, admitted] = await Promise.all([
      say('one'),
      stage.storage.userChannels.admit(bob, stage.fresh('his'), since).then((found) => {
        order.push('admitted')
        return found
      }),
      say('two'),
    ])
    expect(order).toEqual([2, 'admitted', 3])
    expect(admitted.missed).toMatchObject({ upTo: 2, positions: [] })
    expect(admitted.missed?.events.map(({ position }) => position)).toEqual([2])
  })
})

describe('SQLite: epochs', () => {
  it('R5 one goes with the entries that end before the next began, and no place that can be gone on from goes with it', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const { epoch: first } = stage.storage
    const room = await stage.conversation(alice, [bob])
    await stage.say(alice, room, 'the last of the first epoch')
    await stage.reopen()
    const { epoch: second } = stage.storage
    await stage.say(alice, room, 'of the second')
    await stage.say(alice, room, 'of the second too')
    using reader = new DatabaseSync(folder.file, { readOnly: true })
    const epochs = () =>
      reader
        .prepare('SELECT name FROM epoch ORDER BY number')
        .all()
        .map(({ name }) => name)
    const { missed, prune } = stage.storage.events
    await prune(stage.now, stage.now, 2)
    expect(epochs()).toEqual([first, second])
    expect(await missed(bob, { epoch: first, position: 2 })).toMatchObject({ upTo: 4 })
    await prune(stage.now, stage.now, 1)
    expect(epochs()).toEqual([second])
    expect(await missed(bob, { epoch: second, position: 3 })).toMatchObject({ upTo: 4 })
  })
})

describe('SQLite: what it tells of itself', () => {
  it('STORAGE each batch is told of, with how many operations it had and how long it took', async () => {
    await using folder = new SqliteFolder()
    const batches: [operations: number, ms: number][] = []
    const storage = await openSqlite(folder.file, noLimits, {
      committed: (...batch) => batches.push(batch),
      failed: (_, reason) => expect.fail(reason),
    })
    await Promise.all([storage.events.probe(), storage.events.probe()])
    await storage.events.probe()
    await storage.close()
    expect(batches).toEqual([
      [2, expect.any(Number)],
      [1, expect.any(Number)],
    ])
    expect(batches.every(([, ms]) => ms > 0)).toBe(true)
  })

  it('STORAGE a probe writes to the disk and changes nothing', async () => {
    await using folder = new SqliteFolder()
    const { events } = await folder.open()
    await events.probe()
    const before = folder.bytes()['fanfare.db-wal']?.length ?? 0
    await events.probe()
    expect(folder.bytes()['fanfare.db-wal']?.length).toBeGreaterThan(before)
    await folder.close()
    const { position } = await folder.open()
    expect(position).toBe(0)
  })
})

describe('SQLite: beside others', () => {
  // It takes the 5 s for which storage waits.
  it('STORAGE while another program keeps the database locked what is asked for is unavailable, and then goes on', {
    timeout: 60_000,
  }, async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    const other = new DatabaseSync(folder.file)
    other.exec('BEGIN IMMEDIATE')
    const asked = await Promise.all(['one', 'two'].map((body) => refusal(stage.say(alice, room, body))))
    other.exec('ROLLBACK')
    other.close()
    expect(asked).toMatchObject(Array(2).fill({ code: 'unavailable', retryable: true }))
    expect(seqOf(await stage.say(alice, room, 'three'))).toBe(2)
  })
})

describe('SQLite: closing', () => {
  it('STORAGE close commits what was asked for before, and refuses what is asked for afterwards', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    const { storage } = stage
    const underWay = stage.say(alice, room, 'under way')
    await new Promise(setImmediate)
    const asked = Array.from({ length: 20 }, (_, index) => stage.say(alice, room, `${index}`))
    const closed = storage.close()
    const late = stage.say(alice, room, 'late')
    expect(await refusal(late)).toMatchObject({ code: 'unavailable', retryable: true })
    const acknowledged = await Promise.all([underWay, ...asked])
    await closed
    expect(await codeOf(stage.get(alice, room))).toBe('unavailable')
    await stage.reopen()
    expect((await stage.messages(bob, room)).toReversed()).toEqual(acknowledged.map(({ result }) => result.message))
  })

  it('STORAGE closing twice, or at once, is closing once, and each close waits for the end', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const asked = stage.create(alice, [bob])
    await Promise.all([stage.storage.close(), stage.storage.close()])
    await stage.storage.close()
    expect((await asked).result.created).toBe(true)
    await stage.reopen()
    expect(await stage.storage.conversations.list(bob, 10, null)).toHaveLength(1)
  })

  it('STORAGE what a closed database leaves is one file, beside the lock', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    await stage.conversation(alice, [bob])
    await folder.close()
    expect(Object.keys(folder.bytes())).toEqual(['fanfare.db', 'fanfare.db.lock'])
  })
})
