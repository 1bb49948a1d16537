/** What an operator has when the disk is gone. */
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { RawSession } from '../../src/testing/raw-session.ts'
import { runCommand } from './command.ts'
import { giveToOrdinaryUser, ordinaryUser, testOfRights } from './ordinary-user.ts'
import { call, type RunningServer, startServer } from './running-server.ts'
import { temporaryFolder } from './temporary-folder.ts'

const env = { FANFARE_TOKEN_SECRET: 'token secret of a test, 32 bytes long', FANFARE_API_KEY: 'api-key-of-a-test' }

function backup(data: string, file: string) {
  return runCommand(['backup', file, '--data', data])
}

async function tokenOf(user: string): Promise<string> {
  return (await runCommand(['token', user], { env })).stdout.trim()
}

/** A conversation of Alice's and Bob's, and a way to write to it. */
async function openRoom(server: RunningServer) {
  const token = await tokenOf('alice')
  const made = await call(server.url, 'create_conversation', token, { participants: ['user/bob'] })
  const { id: conversation } = made.body.result!.conversation as { id: string }
  return {
    say: async (body: string) => {
      const { body: answer } = await call(server.url, 'create_message', token, { conversation, body })
      return (answer.result!.message as { id: string }).id
    },
    forget: (message: string) => call(server.url, 'delete_message', token, { message }),
    read: async (at: RunningServer) => {
      const page = await call(at.url, 'get_messages', token, { conversation, limit: 200 })
      return (page.body.result!.messages as { body: string }[]).map(({ body }) => body).reverse()
    },
  }
}

/** Puts a copy in the place of a database, as docs/commands.md says. */
function restore(file: string, data: string): void {
  mkdirSync(data, { mode: 0o700 })
  copyFileSync(file, `${data}/fanfare.db`)
}

test('CLI backup copies what was answered until then, while the server runs, for its owner’s eyes alone', async () => {
  using folder = temporaryFolder()
  await using server = await startServer(folder.in('data'), [], { env })
  const room = await openRoom(server)
  await room.say('before')
  const file = folder.in('copy.db')
  expect(await backup(folder.in('data'), file)).toEqual({
    code: 0,
    stdout: `${file} is a backup of ${folder.in('data', 'fanfare.db')}: ${statSync(file).size} bytes, whole and checked\n`,
    stderr: '',
  })
  await room.say('after')
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(readdirSync(folder.path).sort()).toEqual(['copy.db', 'data'])
  expect(await room.read(server)).toEqual(['before', 'after'])

  restore(file, folder.in('restored'))
  await using restored = await startServer(folder.in('restored'), [], { env })
  expect(await room.read(restored)).toEqual(['before'])
})

test('CLI backup of many at once is of one moment each, and whole, though messages come all the time', async () => {
  using folder = temporaryFolder()
  await using server = await startServer(folder.in('data'), ['--no-limits'], { env })
  const room = await openRoom(server)
  let writing = true
  const written = (async () => {
    for (let count = 0; writing; count++) await room.say(`${count}`)
  })()
  const files = [1, 2, 3].map((number) => folder.in(`copy-${number}.db`))
  const endings = await Promise.all(files.map((file) => backup(folder.in('data'), file)))
  writing = false
  await written
  expect(endings.map(({ code }) => code)).toEqual([0, 0, 0])
  const all = await room.read(server)
  for (const file of files) {
    using copy = new DatabaseSync(file, { readOnly: true })
    const bodies = copy.prepare('SELECT body FROM message ORDER BY seq').all() as { body: string }[]
    expect(bodies.slice(0, 200).map(({ body }) => body)).toEqual(all.slice(0, Math.min(200, bodies.length)))
    expect(copy.prepare('SELECT last_seq FROM conversation').get()).toEqual({ last_seq: bodies.length + 1 })
  }
})

test('CLI backup copies what a killed server has left in the write-ahead log', async () => {
  using folder = temporaryFolder()
  await using server = await startServer(folder.in('data'), [], { env })
  const room = await openRoom(server)
  await room.say('before the kill')
  server.process.kill('SIGKILL')
  await server.ended
  expect((await backup(folder.in('data'), folder.in('copy.db'))).code).toBe(0)
  restore(folder.in('copy.db'), folder.in('restored'))
  await using restored = await startServer(folder.in('restored'), [], { env })
  expect(await room.read(restored)).toEqual(['before the kill'])
})

test('E4 what was deleted is not in a backup', async () => {
  using folder = temporaryFolder()
  await using server = await startServer(folder.in('data'), [], { env })
  const room = await openRoom(server)
  const message = await room.say('canary-0123456789')
  await room.forget(message)
  await room.say('what stays')
  expect((await backup(folder.in('data'), folder.in('copy.db'))).code).toBe(0)
  const bytes = readFileSync(folder.in('copy.db'))
  expect([bytes.includes('canary-0123456789'), bytes.includes('what stays')]).toEqual([false, true])
})

test('R5 a restored backup is another database: no cursor of the one it was made of is good there, but its own are', async () => {
  using folder = temporaryFolder()
  await using server = await startServer(folder.in('data'), [], { env })
  const token = await tokenOf('alice')
  const room = await openRoom(server)
  const cursorAt = async (at: RunningServer, cursor?: string) => {
    await using session = new RawSession(`${at.url.replace('http', 'ws')}/v2/socket`, { perMessageDeflate: false })
    await new Promise((resolve) => session.webSocket.once('open', resolve))
    return await session.command('connect', cursor === undefined ? { token } : { token, cursor })
  }
  const early = (await cursorAt(server)).cursor
  await room.say('kept')
  const before = (await cursorAt(server)).cursor
  await backup(folder.in('data'), folder.in('copy.db'))
  await room.say('lost')
  const after = (await cursorAt(server)).cursor

  restore(folder.in('copy.db'), folder.in('restored'))
  await using restored = await startServer(folder.in('restored'), [], { env })
  expect(await room.read(restored)).toEqual(['kept'])
  for (const cursor of [early, before, after]) expect((await cursorAt(restored, cursor)).resumed).toBe(false)
  const { cursor } = await cursorAt(restored)
  expect((await cursorAt(restored, cursor)).resumed).toBe(true)
  expect((await cursorAt(server, early)).resumed).toBe(true)
})

describe('a backup that can’t be made', () => {
  /** One line on standard error, exit code 2, nothing on standard output. */
  async function refusal(data: string, file: string): Promise<string> {
    const ending = await backup(data, file)
    expect(ending).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(/^fanfare: [^\n]+\n$/) })
    return ending.stderr.slice('fanfare: '.length, -1)
  }

  test('CLI backup never writes over a file', async () => {
    using folder = temporaryFolder()
    await using _server = await startServer(folder.in('data'), [], { env })
    writeFileSync(folder.in('copy.db'), 'kept')
    expect(await refusal(folder.in('data'), folder.in('copy.db'))).toBe(
      `${folder.in('copy.db')} is there already, and stays as it is; name a file that is not there yet`,
    )
    expect(readFileSync(folder.in('copy.db'), 'utf8')).toBe('kept')
    expect(readdirSync(folder.path).sort()).toEqual(['copy.db', 'data'])
  })

  test('CLI backup where there is no database makes none', async () => {
    using folder = temporaryFolder()
    expect(await refusal(folder.in('data'), folder.in('copy.db'))).toContain(
      `there is no database ${folder.in('data')}`,
    )
    expect(readdirSync(folder.path)).toEqual([])
  })

  test('CLI backup into a folder that is not there makes none', async () => {
    using folder = temporaryFolder()
    await using _server = await startServer(folder.in('data'), [], { env })
    expect(await refusal(folder.in('data'), folder.in('none', 'copy.db'))).toContain('there is no folder')
    expect(readdirSync(folder.path)).toEqual(['data'])
  })

  test('CLI backup within a file, as within a folder that is not there, makes none', async () => {
    using folder = temporaryFolder()
    mkdirSync(folder.in('data'))
    for (const name of ['data/fanfare.db', 'notes']) writeFileSync(folder.in(name), '')
    expect(await refusal(folder.in('data'), folder.in('notes', 'copy.db'))).toContain('there is no folder')
    expect(readdirSync(folder.path)).toEqual(['data', 'notes'])
  })

  testOfRights('CLI backup into a folder that is closed to this user says so', async () => {
    using folder = temporaryFolder()
    for (const name of ['data', 'closed']) mkdirSync(folder.in(name), { mode: 0o700 })
    writeFileSync(folder.in('data', 'fanfare.db'), '')
    giveToOrdinaryUser(folder.path)
    for (const mode of [0o000, 0o500]) {
      chmodSync(folder.in('closed'), mode)
      const args = ['backup', folder.in('closed', 'copy.db'), '--data', folder.in('data')]
      expect(await runCommand(args, ordinaryUser)).toEqual({
        code: 2,
        stdout: '',
        stderr: `fanfare: this user may not write in ${folder.in('closed')} (EACCES); put that right, or name a file in another folder\n`,
      })
    }
  })

  testOfRights('CLI backup of a database that this user may not read says whose it must be', async () => {
    using folder = temporaryFolder()
    mkdirSync(folder.in('data'), { mode: 0o700 })
    writeFileSync(folder.in('data', 'fanfare.db'), '', { mode: 0o000 })
    giveToOrdinaryUser(folder.path)
    const { code, stderr } = await runCommand(
      ['backup', folder.in('copy.db'), '--data', folder.in('data')],
      ordinaryUser,
    )
    expect(code).toBe(2)
    expect(stderr).toMatch(/^fanfare: there is no backup: [^\n]+ chown USER [^\n]+\n$/)
  })

  test.each([
    ['no database at all', (file: string) => writeFileSync(file, 'something else '.repeat(1_000))],
    ['another program’s', (file: string) => new DatabaseSync(file).exec('CREATE TABLE t (x)')],
    ['torn', (file: string) => tear(file)],
  ])('CLI backup of a file that is %s leaves nothing', async (_, make) => {
    using folder = temporaryFolder()
    mkdirSync(folder.in('data'))
    make(folder.in('data', 'fanfare.db'))
    expect(await refusal(folder.in('data'), folder.in('copy.db'))).toMatch(/^there is no backup: /)
    expect(readdirSync(folder.path)).toEqual(['data'])
  })
})

/** A database with the tables that ours has, whose pages with rows are noise. */
function tear(file: string): void {
  const database = new DatabaseSync(file)
  database.exec('CREATE TABLE epoch (x); CREATE TABLE event (x)')
  const insert = database.prepare('INSERT INTO event VALUES (?)')
  for (let row = 0; row < 100; row++) insert.run('x'.repeat(1_000))
  database.close()
  const bytes = readFileSync(file)
  bytes.fill(0xaa, 4_096 * 3)
  writeFileSync(file, bytes)
}
