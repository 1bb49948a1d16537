/** What a failure within a batch costs: never an acknowledgement that is not true. */
import { existsSync, readdirSync, readlinkSync, statSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { uuidv7 } from '../../src/engine/ids.ts'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { type BatchOutcome, type Outcome, type Request, runBatch } from '../../src/storage/sqlite/batch.ts'
import { Database } from '../../src/storage/sqlite/database.ts'
import { type Operations, operations } from '../../src/storage/sqlite/operations.ts'
import { alice, bob } from '../../src/testing/storage-contract/stage.ts'
import { noLimits, SqliteFolder } from './sqlite-folder.ts'

const act = { actor: alice, at: Date.UTC(2026, 0, 1), known: 0 }

interface Bench extends AsyncDisposable {
  readonly folder: SqliteFolder
  readonly db: Database
  readonly operations: Operations
  readonly room: ConversationId
  run(batch: readonly Request[]): BatchOutcome
  /** The bodies of the room's messages, oldest first. */
  bodies(): string[]
}

/** A database without its thread, and a room of alice and bob in it. */
function openBench(): Bench {
  const folder = new SqliteFolder()
  const db = new Database(folder.file, noLimits)
  const nouns = operations(db)
  const room: ConversationId = `conversation/${uuidv7(act.at)}`
  const draft = {
    id: room,
    participants: [bob],
    admins: [],
    title: null,
    metadata: {},
    distinct: false,
    clientId: null,
  }
  nouns.conversations.create(act, draft)
  return {
    folder,
    db,
    operations: nouns,
    room,
    run: (batch) => runBatch(db, nouns, batch),
    bodies: () => nouns.messages.list(alice, room, 200, { after_seq: 0 }).messages.map(({ body }) => body),
    async [Symbol.asyncDispose]() {
      db.close()
      await folder[Symbol.asyncDispose]()
    },
  }
}

function say(room: ConversationId, body: string): Request {
  const draft = { id: `message/${uuidv7(act.at)}`, conversation: room, metadata: {}, attachment: null, clientId: null }
  return ['messages', 'create', [act, { ...draft, body }]]
}

const codesOf = (outcomes: readonly Outcome[]) =>
  outcomes.map((outcome) => ('failure' in outcome ? outcome.failure.code : 'stored'))

/** What an open file is; empty where it has been closed since. */
function linkOf(path: string): string {
  try {
    return readlinkSync(path)
  } catch {
    return ''
  }
}

/** As SQLite says it when it can't read a page. */
const readFailure = Object.assign(new Error('disk I/O error'), { errcode: 266 })

describe('SQLite: what a failure costs', () => {
  it('STORAGE a disk that gets full within an operation fails all that share its commit, and nothing of them is stored', async () => {
    await using bench = openBench()
    const { db, room } = bench
    bench.run([say(room, 'before')])
    const { page_count: pages } = db.get<{ page_count: number }>('PRAGMA page_count') as { page_count: number }
    db.get(`PRAGMA max_page_count = ${pages + 10}`)
    // SQLite has rolled all of it back by then, the first message too; the third would be a transaction of its own.
    const { outcomes, trouble } = bench.run([say(room, 'first'), say(room, 'x'.repeat(200_000)), say(room, 'third')])
    expect(codesOf(outcomes)).toEqual(['unavailable', 'unavailable', 'unavailable'])
    expect(trouble).toMatch(/^database or disk is full: nothing .* was stored, .* is kept; make room/)
    expect(bench.bodies()).toEqual(['before'])
    db.get('PRAGMA max_page_count = 1000000')
    expect(codesOf(bench.run([say(room, 'x'.repeat(200_000)), say(room, 'after')]).outcomes)).toEqual([
      'stored',
      'stored',
    ])
    expect(bench.bodies()).toHaveLength(3)
  })

  it('STORAGE a disk that can’t be read within an operation ends everything, and nothing of the batch is stored', async () => {
    await using bench = openBench()
    const { room } = bench
    bench.operations.readMarkers.unread = () => {
      throw readFailure
    }
    expect(() => bench.run([say(room, 'first'), ['readMarkers', 'unread', [alice]], say(room, 'third')])).toThrow(
      readFailure,
    )
    expect(bench.bodies()).toEqual([])
  })

  it('STORAGE a fault of our own costs its operation alone, also where SQLite finds it', async () => {
    await using bench = openBench()
    const { db, room } = bench
    bench.operations.readMarkers.unread = () => {
      db.run(`INSERT INTO pruned VALUES (NULL)`)
      return { conversation: 0, message: 0 }
    }
    const batch: Request[] = [say(room, 'first'), ['readMarkers', 'unread', [alice]], say(room, 'third')]
    expect(codesOf(bench.run(batch).outcomes)).toEqual(['stored', 'fault', 'stored'])
    expect(bench.bodies()).toEqual(['first', 'third'])
  })

  it('STORAGE a fault in the midst of a deletion, which stands behind no savepoint, costs it alone, and undoes it', async () => {
    await using bench = openBench()
    const { room } = bench
    bench.run([say(room, 'before')])
    const { messages } = bench.operations
    const deletion = messages.delete
    messages.delete = (...args) => {
      deletion(...args)
      throw new Error('in the midst')
    }
    const { messages: before } = messages.list(alice, room, 1, {})
    const remove: Request = ['messages', 'delete', [act, before[0]?.id]]
    const { outcomes, trouble } = bench.run([say(room, 'first'), remove, say(room, 'second')])
    expect(codesOf(outcomes)).toEqual(['stored', 'fault', 'stored'])
    expect(outcomes[1]).toMatchObject({ failure: { message: expect.stringMatching(/in the midst\n +at /) } })
    expect(trouble).toBeNull()
    expect(bench.bodies()).toEqual(['before', 'first', 'second'])
  })

  it('STORAGE a deletion that is refused costs itself alone', async () => {
    await using bench = openBench()
    const { room } = bench
    const unknown = `message/${uuidv7(act.at)}`
    const batch: Request[] = [
      say(room, 'first'),
      ['messages', 'delete', [act, unknown]],
      ['conversations', 'delete', [{ ...act, actor: bob }, room]],
      say(room, 'second'),
    ]
    expect(codesOf(bench.run(batch).outcomes)).toEqual(['stored', 'not_found', 'forbidden', 'stored'])
    expect(bench.bodies()).toEqual(['first', 'second'])
  })

  it.runIf(existsSync('/proc/self/fd'))('STORAGE what undoing an operation needs is in no file', async () => {
    await using bench = openBench()
    const { db, room } = bench
    const open = () => readdirSync('/proc/self/fd').map((fd) => linkOf(`/proc/self/fd/${fd}`))
    let during: string[] = []
    bench.operations.readMarkers.unread = () => {
      // More pages than SQLite keeps in memory otherwise, of rows that are there already.
      db.run(`UPDATE message SET body = body || '!'`)
      during = open()
      throw new Error('undo it')
    }
    bench.run(Array.from({ length: 100 }, () => say(room, 'x'.repeat(3_000))))
    const before = open()
    expect(codesOf(bench.run([['readMarkers', 'unread', [alice]]]).outcomes)).toEqual(['fault'])
    expect(during.filter((file) => !before.includes(file))).toEqual([])
    expect(bench.bodies()).toEqual(Array(100).fill('x'.repeat(3_000)))
  })

  it('STORAGE while another program has the database locked all is refused together, and then it goes on', async () => {
    await using bench = openBench()
    const { db, room, folder } = bench
    db.get('PRAGMA busy_timeout = 0')
    using other = new DatabaseSync(folder.file)
    other.exec('BEGIN IMMEDIATE')
    const { outcomes, trouble } = bench.run([say(room, 'first'), say(room, 'second')])
    expect(codesOf(outcomes)).toEqual(['unavailable', 'unavailable'])
    expect(trouble).toMatch(/^database is locked: .* end the other program/)
    other.exec('COMMIT')
    expect(codesOf(bench.run([say(room, 'third')]).outcomes)).toEqual(['stored'])
    expect(bench.bodies()).toEqual(['third'])
  })
})

describe('SQLite: long pages', () => {
  it('S6 a batch ends with the page that makes it long, what was done is stored, and nothing is left out or done twice', async () => {
    await using bench = openBench()
    const { room } = bench
    bench.run(Array.from({ length: 10 }, (_, count) => say(room, `${count}`.padEnd(60_000))))
    const read: Request = ['messages', 'list', [alice, room, 10, { after_seq: 0 }]]
    const batch = [say(room, 'first'), read, say(room, 'second'), read, say(room, 'third'), read]
    const lengths: number[] = []
    for (let left: readonly Request[] = batch; left.length > 0; ) {
      const { outcomes, long, trouble } = bench.run(left)
      expect(trouble).toBeNull()
      expect(codesOf(outcomes)).toEqual(outcomes.map(() => 'stored'))
      lengths.push(outcomes.length)
      left = left.slice(outcomes.length)
      expect(long).toBe(left.length > 0)
    }
    // Two pages of 600,000 are long, one is not.
    expect(lengths).toEqual([4, 2])
    expect(bench.bodies().slice(10)).toEqual(['first', 'second', 'third'])
  })

  it('S6 what is written is not long, however much it is', async () => {
    await using bench = openBench()
    const batch = Array.from({ length: 10 }, () => say(bench.room, 'x'.repeat(200_000)))
    expect(bench.run(batch)).toMatchObject({ long: false, outcomes: { length: 10 } })
  })
})

describe('SQLite: the write-ahead log', () => {
  it('STORAGE a log that has grown long is moved into the database between commits, so it stays short', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    const megabyte = 2 ** 20
    for (let round = 0; round < 4; round++) {
      await Promise.all(Array.from({ length: 20 }, () => stage.message(alice, room, 'x'.repeat(megabyte))))
    }
    expect(statSync(folder.file).size).toBeGreaterThan(60 * megabyte)
    expect(statSync(`${folder.file}-wal`).size).toBeLessThan(50 * megabyte)
  })

  it('STORAGE where little comes at once it is moved soon, a little at a time', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    const megabyte = 2 ** 20
    for (let count = 0; count < 200; count++) await stage.message(alice, room, 'x'.repeat(50_000))
    expect(statSync(folder.file).size).toBeGreaterThan(7 * megabyte)
    expect(statSync(`${folder.file}-wal`).size).toBeLessThan(6 * megabyte)
  })
})
