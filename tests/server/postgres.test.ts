/** Whole servers that share a PostgreSQL. */
import { existsSync, writeFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { patience } from '../../src/testing/broker-contract.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { natsTest, startNats } from '../../src/testing/nats.ts'
import { connect, open, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { runCommand, startCommand } from '../cli/command.ts'
import { urlOf } from '../cli/running-server.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'
import { PostgresDatabase, postgresOfFile, withoutPostgres } from '../storage/postgres-database.ts'

const alice = 'user/alice'
const bob = 'user/bob'

async function roomOf(session: RawSession): Promise<ConversationId> {
  return (await session.command('create_conversation', { participants: [bob] })).conversation.id
}

function say(session: RawSession, conversation: ConversationId, body: string) {
  return session.command('create_message', { conversation, body })
}

async function resume(server: TestServer, user: string, cursor: string) {
  const session = await open(server)
  const greeting = await session.command('connect', { token: await server.token(user.slice('user/'.length)), cursor })
  return Object.assign(session, { greeting })
}

async function nextBody(session: RawSession): Promise<string> {
  const { data } = await session.next(({ data }) => data.record_type === 'message')
  return data.record_type === 'message' ? data.record.body : ''
}

/** Lets seconds pass, and servers do in each what they do. */
function passing(clock: FakeClock): Disposable {
  const timer = setInterval(() => clock.advance(1_000), 20)
  return { [Symbol.dispose]: () => clearInterval(timer) }
}

describe.skipIf(withoutPostgres)('servers on one PostgreSQL', () => {
  const postgres = postgresOfFile()

  it('R1, E3 without a broker each finds what happens on the other as seconds pass, in order, and gives it once', async () => {
    await using database = await PostgresDatabase.create(postgres())
    const clock = new FakeClock()
    await using here = await startServer({ databaseUrl: database.url, clock })
    await using there = await startServer({ databaseUrl: database.url, clock })
    await using ours = await connect(here, alice)
    await using theirs = await connect(there, bob)
    const room = await roomOf(ours)
    for (const body of ['one', 'two', 'three']) await say(ours, room, body)
    using _passing = passing(clock)
    for (const body of ['one', 'two', 'three']) expect(await nextBody(theirs)).toBe(body)
    await say(theirs, room, 'four')
    expect(await nextBody(theirs)).toBe('four')
    for (const body of ['one', 'two', 'three', 'four']) expect(await nextBody(ours)).toBe(body)
    for (const session of [ours, theirs]) {
      expect(session.events.map(({ seq }) => seq)).toEqual([1, 2, 3, 4, 5])
    }
  })

  it('R3 who goes to another server goes on from where he was, and misses nothing', async () => {
    await using database = await PostgresDatabase.create(postgres())
    await using here = await startServer({ databaseUrl: database.url })
    await using there = await startServer({ databaseUrl: database.url })
    await using ours = await connect(here, alice)
    const room = await roomOf(ours)
    const before = await connect(here, bob)
    const { cursor } = before.greeting
    await before.end()
    for (const body of ['one', 'two']) await say(ours, room, body)
    await using after = await resume(there, bob, cursor)
    expect(after.greeting.resumed).toBe(true)
    for (const body of ['one', 'two']) expect(await nextBody(after)).toBe(body)
    await say(ours, room, 'live')
    expect(await nextBody(after)).toBe('live')
  })

  it('M3, R2 while PostgreSQL is away commands are unavailable and sessions stay; then all goes on, cursors included', async () => {
    await using database = await PostgresDatabase.create(postgres())
    await using server = await startServer({ databaseUrl: database.url })
    await using ours = await connect(server, alice)
    await using theirs = await connect(server, bob)
    const room = await roomOf(ours)
    await say(ours, room, 'before')
    expect(await nextBody(theirs)).toBe('before')
    const { cursor } = await theirs.command('ping')
    await postgres().kill()
    await expect(say(ours, room, 'lost')).rejects.toMatchObject({ code: 'unavailable' })
    await postgres().start()
    await say(ours, room, 'after')
    expect(await nextBody(theirs)).toBe('after')
    await using again = await resume(server, bob, cursor)
    expect(again.greeting.resumed).toBe(true)
    // A cursor is as old as the server's last look into the log, and what is told twice has its seq twice.
    const bodies = new Set<string>()
    while (!bodies.has('after')) bodies.add(await nextBody(again))
    expect([...bodies].at(-1)).toBe('after')
    const { cursor: later } = await theirs.command('ping')
    expect(later.split('.')[0]).not.toBe(cursor.split('.')[0])
  })

  it('OPERATOR that PostgreSQL is away is told as that, and not as a fault of the server’s own', async () => {
    await using database = await PostgresDatabase.create(postgres())
    const clock = new FakeClock()
    await using server = await startServer({ databaseUrl: database.url, clock })
    using _passing = passing(clock)
    const told = (event: string) => server.logged.some((line) => line.event === event)
    await postgres().kill()
    await vi.waitFor(() => expect(told('storage_failed')).toBe(true), patience)
    await postgres().start()
    await vi.waitFor(() => expect(told('storage_recovered')).toBe(true), patience)
    expect(server.logged.filter(({ event }) => event === 'fault')).toEqual([])
  })

  natsTest(
    'R1 by a broker a server tells the others at once, also one that came after PostgreSQL was started again',
    async () => {
      await using database = await PostgresDatabase.create(postgres())
      await using nats = await startNats()
      // Its clock stands still, so that no server looks by itself.
      const options = { databaseUrl: database.url, brokerUrl: nats.url, clock: new FakeClock() }
      await using here = await startServer(options)
      await postgres().restart()
      await using there = await startServer(options)
      await using ours = await connect(here, alice)
      await using theirs = await connect(there, bob)
      const room = await roomOf(ours)
      await say(ours, room, 'one')
      expect(await nextBody(theirs)).toBe('one')
    },
  )

  natsTest('BROKER a server with a broker has one connection to it, for as long as it runs', async () => {
    await using database = await PostgresDatabase.create(postgres())
    await using nats = await startNats()
    const connections = async () => (await nats.traffic()).connections
    {
      await using server = await startServer({ databaseUrl: database.url, brokerUrl: nats.url })
      expect(await connections()).toBe(1)
      expect((await server.call('get_conversations', {}, alice)).status).toBe(200)
    }
    await vi.waitFor(async () => expect(await connections()).toBe(0), patience)
  })

  natsTest('BROKER a server whose broker is away serves all the same, and tells of it without the URL', async () => {
    await using database = await PostgresDatabase.create(postgres())
    await using nats = await startNats()
    await nats.stop()
    const brokerUrl = nats.url.replace('//', '//fanfare:hush@')
    await using server = await startServer({ databaseUrl: database.url, brokerUrl })
    expect((await server.call('get_conversations', {}, alice)).status).toBe(200)
    expect(server.logged.filter(({ level }) => level !== 'info')).toEqual([
      expect.objectContaining({ level: 'warn', event: 'broker' }),
    ])
    expect(JSON.stringify(server.logged)).toContain("the broker can't be reached (connection refused)")
    expect(JSON.stringify(server.logged)).not.toContain('hush')
  })
})

describe.skipIf(withoutPostgres)('fanfare serve with a PostgreSQL', () => {
  const postgres = postgresOfFile()
  const secrets = { FANFARE_TOKEN_SECRET: 'x'.repeat(32), FANFARE_API_KEY: 'key' }

  it('CLI it listens, makes no data folder, tells no password, and ends with 0', async () => {
    await using database = await PostgresDatabase.create(postgres())
    using folder = temporaryFolder()
    writeFileSync(folder.in('url'), `${database.url}&password=canary\n`)
    const args = ['serve', '--port=0', '--log-level=debug', '--data', folder.in('data')]
    const env = { ...secrets, FANFARE_DATABASE_URL_FILE: folder.in('url') }
    await using server = startCommand(args, { env })
    const answer = await fetch(`${await urlOf(server)}/v2/put_user`, {
      method: 'POST',
      headers: { authorization: 'Bearer key' },
      body: JSON.stringify({ user: alice, name: 'Alice' }),
    })
    expect(answer.status).toBe(200)
    await postgres().kill()
    const ready = await fetch(`${await urlOf(server)}/readyz`)
    expect(ready.status).toBe(503)
    await postgres().start()
    server.process.kill('SIGTERM')
    const { code, stdout, stderr } = await server.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toContain('storage_failed')
    expect(stdout).not.toContain('canary')
    expect(existsSync(folder.in('data'))).toBe(false)
  })

  it.each([
    [
      'that is not there',
      'postgres://fanfare:canary@127.0.0.1:1/chat',
      /PostgreSQL at 127\.0\.0\.1:1, .*ECONNREFUSED.*check that it runs/,
    ],
    [
      'whose secrets are not given',
      'postgres://fanfare:canary@127.0.0.1/chat',
      /make none; set FANFARE_TOKEN_SECRET and FANFARE_API_KEY/,
    ],
  ])('CLI one %s is told on one line, without the password, with 2', async (what, url, line) => {
    const env = { ...(what === 'that is not there' && secrets), FANFARE_DATABASE_URL: url }
    const { code, stdout, stderr } = await runCommand(['serve', '--port=0'], { env })
    expect(code).toBe(2)
    expect(stderr.trimEnd().split('\n')).toEqual([expect.stringMatching(line)])
    expect(stdout + stderr).not.toContain('canary')
  })

  it('CLI doctor says whether it answers and fits, and changes nothing', async () => {
    await using database = await PostgresDatabase.create(postgres())
    const env = { ...secrets, FANFARE_DATABASE_URL: database.url }
    const line = async () => {
      const { stdout } = await runCommand(['doctor', '--port=0'], { env })
      return stdout.split('\n').filter((text) => / {2}database: /.test(text))
    }
    expect(await line()).toEqual([
      expect.stringMatching(/^ok .*answers \(\d+.*\), and has no tables yet, and will get them$/),
    ])
    expect(await line()).toEqual([expect.stringMatching(/has no tables yet/)])
    await (await database.open()).close()
    expect(await line()).toEqual([expect.stringMatching(/and is of version 1$/)])
    const missing = await runCommand(['doctor', '--port=0'], {
      env: { FANFARE_DATABASE_URL: 'postgres://127.0.0.1:1/x' },
    })
    expect(missing.code).toBe(2)
    expect(missing.stdout).toMatch(/^fail {2}options: nodes that share a database .*a server would not start$/m)
    expect(missing.stdout).toMatch(/^fail {2}database: PostgreSQL at 127\.0\.0\.1:1, .* a server would not start$/m)
  })
})
