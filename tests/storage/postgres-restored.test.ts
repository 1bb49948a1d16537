/** PostgreSQL's own backup and restore, as docs/deploy.md has them: what a restored database shares with the one that went on (R5). */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { type Chat, createChat } from '../../src/client/index.ts'
import { connectTo, findPostgres } from '../../src/testing/postgres.ts'
import { connect, open } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { alice, bob, entryOf } from '../../src/testing/storage-contract/stage.ts'
import { loudly } from './disk.ts'
import { PostgresDatabase, postgresOfFile } from './postgres-database.ts'

const run = promisify(execFile)
const programs = findPostgres()
const hasTools = programs !== null && ['pg_dump', 'pg_restore'].every((name) => existsSync(join(programs, name)))
const reason = 'pg_dump and pg_restore are not installed: no PostgreSQL database was backed up and restored'
if (!hasTools && process.env.CI) throw new Error(reason)
if (!hasTools) loudly(reason)

/** What docs/deploy.md says of a backup and of its restoring. */
class Backup implements Disposable {
  readonly #folder = mkdtempSync(join(tmpdir(), 'fanfare-backup-'))
  readonly #file = join(this.#folder, 'fanfare.dump')
  readonly #url: string

  constructor({ url }: PostgresDatabase) {
    this.#url = url
  }

  async make(): Promise<void> {
    await run(join(programs!, 'pg_dump'), ['--format=custom', `--file=${this.#file}`, this.#url])
  }

  async restore(): Promise<void> {
    await run(join(programs!, 'pg_restore'), ['--clean', '--if-exists', `--dbname=${this.#url}`, this.#file])
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true })
  }
}

/** What an application that shows messages has been told. */
function listen(chat: Chat) {
  const bodies: string[] = []
  let resets = 0
  chat.subscribe(({ record }) => {
    if ('body' in record) bodies.push(record.body)
  })
  chat.onReset(() => resets++)
  return { bodies, resets: () => resets }
}

describe.skipIf(!hasTools)('PostgreSQL: backup and restore', () => {
  const postgres = postgresOfFile()

  it('R5 whoever comes back to a restored database is told that it is another one, and what comes then is lost to nobody', async () => {
    await using database = await PostgresDatabase.create(postgres())
    using backup = new Backup(database)
    await using one = await startServer({ databaseUrl: database.url })
    await using other = await startServer({ databaseUrl: database.url })
    const servers = [one, other]
    const say = (server: TestServer, body: string) =>
      server.call('create_message', { conversation, body }, alice).then(({ result }) => result.message)
    const { result } = await one.call('create_conversation', { participants: [bob] }, alice)
    const conversation = result.conversation.id

    using chat = Object.assign(createChat({ url: other.url, token: () => other.token('bob') }), {
      [Symbol.dispose]: () => chat.close(),
    })
    const { bodies, resets } = listen(chat)
    await chat.getUnreadCount()
    await using watching = await connect(one, bob)
    await say(other, 'in both')
    const { cursor: known } = await watching.command('ping')
    await expect.poll(() => bodies).toEqual(['in both'])
    await backup.make()
    const lost = await say(other, 'lost')
    await expect.poll(() => bodies).toEqual(['in both', 'lost'])
    const { cursor: tooNew } = await watching.command('ping')

    for (const server of servers) await server.stop()
    await backup.restore()
    for (const server of servers) await server.start()

    const greet = async (server: TestServer, cursor: string) => {
      const session = await open(server)
      const { resumed } = await session.command('connect', { token: await server.token('bob'), cursor })
      return { session, resumed }
    }
    const answers = await Promise.all(
      servers.flatMap((server) => [known, tooNew].map((cursor) => greet(server, cursor))),
    )
    await using _sessions = new AsyncDisposableStack()
    for (const { session } of answers) _sessions.use(session)
    expect(answers.map(({ resumed }) => resumed)).toEqual([false, false, false, false])
    await expect.poll(() => resets(), { timeout: 15_000 }).toBe(1)
    expect((await chat.getMessages(conversation)).map(({ body }) => body)).toEqual(['in both'])

    // It takes the place of the lost one, and nobody takes it for that.
    const next = await say(one, 'new')
    expect(next.seq).toBe(lost.seq)
    for (const { session } of answers) {
      await session.next(({ data }) => data.record_type === 'message' && data.record.id === next.id)
      expect(session.events).toHaveLength(1)
    }
    await expect.poll(() => bodies).toEqual(['in both', 'lost', 'new'])
    expect(resets()).toBe(1)
  })

  it('R5 no place of before holds, for what was told of may be missing before the end of what is there', async () => {
    await using database = await PostgresDatabase.create(postgres())
    using backup = new Backup(database)
    const stage = await database.stage()
    const { epoch } = stage.storage
    const [here, there] = [await stage.conversation(alice, [bob]), await stage.conversation(alice, [bob])]
    const whole = entryOf(await stage.say(alice, here, 'whole')).position
    // As another node's transaction that has taken its position and is not committed yet.
    await using late = await connectTo(database.url)
    await late.query('BEGIN')
    await late.query('SET search_path TO fanfare')
    await late.query('UPDATE conversation SET last_seq = last_seq + 1 WHERE id = $1', [here])
    await late.query(
      `INSERT INTO event (at, event_type, record_type, conversation, seq, record)
       SELECT 0, 'update', 'conversation', key, last_seq, $2 FROM conversation WHERE id = $1`,
      [here, JSON.stringify({ id: here, title: 'lost' })],
    )
    const higher = entryOf(await stage.say(alice, there, 'in both')).position
    await backup.make()
    await late.query('COMMIT')
    const told = await stage.storage.events.missed(bob, { epoch, position: whole })
    expect(told).toMatchObject({ upTo: higher, events: [{ position: whole + 1 }, { position: higher }] })

    await database.close()
    await backup.restore()
    const again = await database.stage()
    for (const position of [whole, whole + 1, higher]) {
      expect(await again.storage.events.missed(bob, { epoch, position })).toBeNull()
    }
    const since = { epoch: again.storage.epoch, position: whole }
    expect(await again.storage.events.missed(bob, since)).toMatchObject({ events: [{ position: higher }] })
  })
})
