/** What doctor finds, on real folders, databases and ports. */
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { checkSpace } from '../../src/cli/checks/folder.ts'
import { checkClock } from '../../src/cli/checks/machine.ts'
import { runCommand } from './command.ts'
import { giveToOrdinaryUser, ordinaryUser, testOfRights } from './ordinary-user.ts'
import { startServer } from './running-server.ts'
import { temporaryFolder } from './temporary-folder.ts'

interface Diagnosis {
  readonly code: number | null
  /** The lines but those on the disk's space, which is this machine's. */
  readonly lines: readonly string[]
}

/** What doctor says of the data folder, with port 0 unless told otherwise. */
async function diagnose(data: string, args: readonly string[] = [], env = {}): Promise<Diagnosis> {
  const { code, stdout, stderr } = await runCommand(['doctor', '--port=0', '--data', data, ...args], { env })
  expect(stderr).toBe('')
  return {
    code,
    lines: stdout
      .trimEnd()
      .split('\n')
      .filter((line) => !/^\w+ +space: /.test(line)),
  }
}

/** The lines that are not all right. */
async function complaints(data: string, args: readonly string[] = [], env = {}): Promise<string[]> {
  return (await diagnose(data, args, env)).lines.filter((line) => !line.startsWith('ok '))
}

/** By the machine. */
const writes = expect.stringMatching(/^ok {4}writes: (to many sockets in one|one) system call/)

/** A data folder that a server has used and left. */
async function usedFolder(data: string): Promise<void> {
  await using server = await startServer(data)
  server.process.kill('SIGTERM')
  await server.ended
}

describe('all is well', () => {
  test('CLI doctor finds nothing wrong where nothing is yet, says what will be made, and makes nothing', async () => {
    using folder = temporaryFolder()
    const { lines } = await diagnose(folder.in('data'))
    expect(lines).toEqual([
      `ok    node: ${process.versions.node}, with SQLite ${process.versions.sqlite}`,
      writes,
      'ok    options: they are right',
      `ok    data: ${folder.in('data')} is not there yet, and will be made`,
      'ok    disk: no network file system that is known here',
      'ok    token-secret: is not there yet, and will be made',
      'ok    api-key: is not there yet, and will be made',
      'ok    database: is not there yet, and will be made',
      expect.stringMatching(/^ok {4}clock: 20\d\d-/),
      'ok    tls: none, for only this machine should reach the server',
      'ok    port: 127.0.0.1:0 is free',
      'ok    metrics: at the main port, for the API key',
    ])
    expect(readdirSync(folder.path)).toEqual([])
  })

  test.runIf(process.platform === 'linux')(
    'CLI doctor tells where deliveries cost more than they need to',
    async () => {
      using folder = temporaryFolder()
      expect(await complaints(folder.in('data'), [], { NODE_OPTIONS: '--no-experimental-ffi' })).toEqual([
        'warn  writes: one system call for each socket, which about doubles what a message to many costs; use Node 26.10 or later with its node:ffi, and let it call io_submit (seccomp filters, fs.aio-max-nr)',
      ])
    },
  )

  test('CLI doctor warns of a variable that nothing reads, and never tells what is in it', async () => {
    using folder = temporaryFolder()
    const env = {
      FANFARE_TOKEN_SECRETS: 'a'.repeat(40),
      FANFARE_PING_SECONDS: '7',
      FANFARE_DATABASE_URL_FILE: '',
      FANFARE_TTL: '',
    }
    const { code, lines } = await diagnose(folder.in('data'), [], env)
    expect(code).toBe(1)
    expect(lines.filter((line) => line.startsWith('warn')).toSorted()).toEqual(
      ['FANFARE_PING_SECONDS', 'FANFARE_TOKEN_SECRETS', 'FANFARE_TTL'].map(
        (name) =>
          `warn  options: nothing reads the variable ${name}; look for a slip of the pen; fanfare serve --help lists them`,
      ),
    )
  })

  test('CLI doctor may look at a server that runs, and leaves everything as it was', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    await using server = await startServer(data)
    const files = () => readdirSync(data).map((name) => [name, readFileSync(folder.in('data', name)).toString('hex')])
    const before = files()
    const { lines } = await diagnose(data, [`--port=${server.port}`])
    expect(lines).toEqual([
      expect.stringContaining('node: '),
      writes,
      'ok    options: they are right',
      `ok    data: ${data}`,
      'ok    disk: no network file system that is known here',
      `ok    token-secret: ${folder.in('data', 'token-secret')}`,
      `ok    api-key: ${folder.in('data', 'api-key')}`,
      expect.stringMatching(/^ok {4}database: .*fanfare\.db is whole, of version 1, \d+ bytes$/),
      expect.stringContaining('clock: '),
      'ok    tls: none, for only this machine should reach the server',
      `ok    port: a fanfare is running at 127.0.0.1:${server.port}`,
      'ok    metrics: at the main port, for the API key',
    ])
    // The list of readers beside the database is written by whoever reads it.
    const kept = (all: string[][]) => all.filter(([name]) => name !== 'fanfare.db-shm')
    expect(kept(files())).toEqual(kept(before))
    expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
  })
})

describe('the exit code', () => {
  test('CLI doctor ends with 1 where something is worth a look', async () => {
    using folder = temporaryFolder()
    expect((await diagnose(folder.in('data'), ['--no-limits'])).code).toBe(1)
  })

  test('CLI doctor ends with 2 where a server could not work', async () => {
    using folder = temporaryFolder()
    writeFileSync(folder.in('data'), 'a file')
    chmodSync(folder.in('data'), 0o700)
    expect(await diagnose(folder.in('data'))).toMatchObject({ code: 2 })
    expect(await complaints(folder.in('data'))).toEqual([
      `fail  data: ${folder.in('data')} is a file; move it, or choose another folder with --data`,
    ])
  })

  test('CLI doctor tells of a bad option as of the rest, and ends with 2', async () => {
    using folder = temporaryFolder()
    expect(await diagnose(folder.in('data'), ['--queue-bytes=x'])).toEqual({
      code: 2,
      lines: [
        expect.stringContaining('node: '),
        'fail  options: --queue-bytes is "x", but it takes a whole number, where 0 means no limit; see fanfare doctor --help; the rest was not looked at',
      ],
    })
  })
})

describe('what doctor finds', () => {
  test('CLI doctor warns of options that are not for strangers', async () => {
    using folder = temporaryFolder()
    expect(await complaints(folder.in('data'), ['--no-limits', '--metrics-port=0', '--metrics-host=0.0.0.0'])).toEqual([
      'warn  options: all limits are off; leave out --no-limits where strangers reach the server',
      'warn  options: whoever reaches 0.0.0.0:0 reads the metrics; let only who collects them reach it, or leave out --metrics-host',
    ])
  })

  test.skipIf(process.platform === 'win32')('CLI doctor warns of what others than the owner may read', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    await usedFolder(data)
    chmodSync(data, 0o755)
    for (const name of ['token-secret', 'fanfare.db']) chmodSync(folder.in('data', name), 0o644)
    expect(await complaints(data)).toEqual([
      `warn  data: others than its owner may enter ${data}; chmod 700 ${data}`,
      `warn  token-secret: others than its owner may read ${folder.in('data', 'token-secret')}; chmod 600 ${folder.in('data', 'token-secret')}, and replace it if they may have`,
      `warn  database: others than its owner may read ${folder.in('data', 'fanfare.db')}; chmod 600 ${folder.in('data', 'fanfare.db')}*`,
    ])
  })

  test.each([
    [
      { FANFARE_TOKEN_SECRET: 'hush' },
      'fail  token-secret: FANFARE_TOKEN_SECRET has 4 bytes, and needs 32 or more; set another one',
    ],
    [
      { FANFARE_TOKEN_SECRET: 'hush'.repeat(10) },
      'warn  token-secret: FANFARE_TOKEN_SECRET could be guessed; set one of 32 random bytes',
    ],
    [{ FANFARE_API_KEY: 'hush' }, 'warn  api-key: FANFARE_API_KEY could be guessed; set one of 32 random bytes'],
    [
      { FANFARE_API_KEY_FILE: '/nowhere/hush' },
      "fail  api-key: FANFARE_API_KEY_FILE names /nowhere/hush, which can't be read (ENOENT); name a readable file of text; a server would not start",
    ],
    [
      {
        FANFARE_API_KEY: 'V3ry-l0ng-and-hUsHed_key.of;32chars',
        FANFARE_TOKEN_SECRET: 'V3ry-l0ng-and-hUsHed_key.of;32chars',
      },
      'warn  secrets: both are the same; whoever has one has the other: give the API key another value',
    ],
  ])('CLI doctor judges the secrets without telling them: %j', async (env, line) => {
    using folder = temporaryFolder()
    const lines = await complaints(folder.in('data'), [], env)
    expect(lines).toEqual([line])
    expect(lines.join().replace('/nowhere/hush', '')).not.toMatch(/hush/i)
  })

  test('CLI doctor wants no token secret where there is a JWKS, and judges each of several API keys', async () => {
    using folder = temporaryFolder()
    const { lines } = await diagnose(folder.in('data'), ['--jwks-url=https://auth.example/keys'])
    expect(lines).toContain('ok    token-secret: none, and none is needed with --jwks-url')
    const keys = 'aa47d2f0c1b94e7e8d5f3021c6b7e8a9,hush'
    expect(await complaints(folder.in('data'), [], { FANFARE_API_KEY: keys })).toEqual([
      'warn  api-key: FANFARE_API_KEY could be guessed; set one of 32 random bytes',
    ])
  })

  test('CLI doctor finds a broker that the embedded database has no use for', async () => {
    using folder = temporaryFolder()
    expect(await complaints(folder.in('data'), ['--broker-url=nats://127.0.0.1'])).toEqual([
      expect.stringMatching(
        /^fail {2}options: the embedded database is for one server alone.*; a server would not start$/,
      ),
    ])
  })

  test('CLI doctor finds no fault with 32 random bytes, however they are written', async () => {
    using folder = temporaryFolder()
    const bytes = Buffer.from('8f4e2a91c07d35b6e8f1a2940c6d7b3e5a9081f2c3d4e6b7a8190f2e3d4c5b6a', 'hex')
    for (const encoding of ['hex', 'base64', 'base64url'] as const) {
      expect(await complaints(folder.in('data'), [], { FANFARE_TOKEN_SECRET: bytes.toString(encoding) })).toEqual([])
    }
  })

  test.each([
    [
      'of a newer version',
      (file: string) => new DatabaseSync(file).exec('PRAGMA user_version = 1000'),
      /^fail {2}database: .* is of version 1000, and this fanfare knows \d+; use the newer fanfare again$/,
    ],
    [
      'no database',
      (file: string) => writeFileSync(file, 'something else '.repeat(1_000)),
      /^fail {2}database: .* can't be read: file is not a database; put a backup/,
    ],
    [
      'damaged',
      (file: string) => damage(file),
      /^fail {2}database: .* (is damaged|can't be read): .*; .*backup in its place/,
    ],
    [
      "another program's",
      (file: string) => replaceByAnother(file),
      /^fail {2}database: .* is another program's; move it, or use another data folder$/,
    ],
    [
      'a folder',
      (file: string) => {
        rmSync(file)
        mkdirSync(file, { mode: 0o700 })
      },
      /^fail {2}database: .*fanfare\.db is no file; move it, or use another data folder$/,
    ],
    [
      'from the future',
      (file: string) => addEvent(file, Date.UTC(2090)),
      /^warn {2}database: its last event is from 2090-01-01T00:00:00\.000Z, which is yet to come; look at the clock$/,
    ],
  ])('CLI doctor finds a database that is %s', async (_, spoil, line) => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    await usedFolder(data)
    spoil(folder.in('data', 'fanfare.db'))
    expect(await complaints(data)).toEqual([expect.stringMatching(line)])
  })

  testOfRights.each([
    ['fanfare.db', 'only read', 0o400],
    ['fanfare.db', 'not even read', 0o000],
    ['fanfare.db.lock', 'not even read', 0o000],
    ['fanfare.db.lock', 'only read', 0o400],
  ])('CLI doctor and serve say to whom %s must be given that this user may %s', async (name, _, mode) => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    const [file, refused] = [folder.in('data', 'fanfare.db'), folder.in('data', name)]
    mkdirSync(data, { mode: 0o700 })
    writeFileSync(refused, '', { mode })
    giveToOrdinaryUser(folder.path)
    const why = `this user may not read and write ${refused} (EACCES); give it to the user that runs the server: chown USER ${file}* and chmod 600 ${file}*`
    const doctor = await runCommand(['doctor', '--port=0', '--data', data], ordinaryUser)
    expect(doctor.stdout).toContain(`fail  database: ${why}\n`)
    const serve = await runCommand(['serve', '--port=0', '--data', data], ordinaryUser)
    expect(serve).toMatchObject({ code: 2, stderr: `fanfare: ${file} can't be used: ${why}\n` })
  })

  testOfRights('CLI doctor says of a folder that is closed to it that it is, and ends with 2', async () => {
    using folder = temporaryFolder()
    mkdirSync(folder.in('closed'), { mode: 0o700 })
    giveToOrdinaryUser(folder.path)
    chmodSync(folder.in('closed'), 0o000)
    for (const data of [folder.in('closed'), folder.in('closed', 'data')]) {
      const { code, stdout, stderr } = await runCommand(['doctor', '--port=0', '--data', data], ordinaryUser)
      expect({ code, stderr }).toEqual({ code: 2, stderr: '' })
      expect(stdout).toContain(`fail  data: ${data} can't be used (EACCES)`)
      expect(stdout).not.toContain('database')
    }
  })

  test('CLI doctor finds that an empty file will be made the database, as serve makes it', async () => {
    using folder = temporaryFolder()
    mkdirSync(folder.in('data'), { mode: 0o700 })
    writeFileSync(folder.in('data', 'fanfare.db'), '', { mode: 0o600 })
    const { lines } = await diagnose(folder.in('data'))
    expect(lines).toContain(`ok    database: ${folder.in('data', 'fanfare.db')} is empty, and will get its tables`)
    await usedFolder(folder.in('data'))
  })

  test('CLI doctor finds another program at the port, be it the metrics’', async () => {
    using folder = temporaryFolder()
    const other = createServer((_, response) => response.end('{"live":false}'))
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo
    for (const option of ['port', 'metrics-port']) {
      expect(await complaints(folder.in('data'), [`--${option}=${port}`])).toEqual([
        `fail  ${option}: 127.0.0.1:${port} is taken by another program; end that one, or choose another with --${option}`,
      ])
    }
    other.close()
    expect(await complaints(folder.in('data'), ['--host=192.0.2.1'])).toEqual([
      'warn  tls: none, and others reach the server at 192.0.2.1; give --tls-cert and --tls-key, or put a proxy that ends TLS in front and let nobody else reach it',
      'fail  port: nobody can listen at 192.0.2.1:0 (EADDRNOTAVAIL); choose another with --port or --host',
    ])
  })

  test('CLI doctor finds a clock that was set back, or never set', () => {
    using folder = temporaryFolder()
    mkdirSync(folder.in('data'))
    writeFileSync(folder.in('data', 'fanfare.db'), '')
    const later = new Date(Date.now() + 3_600_000)
    utimesSync(folder.in('data', 'fanfare.db'), later, later)
    expect(checkClock(folder.in('data'), Date.now())).toMatchObject({
      state: 'warn',
      found: expect.stringContaining('set back'),
    })
    expect(checkClock(folder.in('data'), later.getTime())).toMatchObject({ state: 'ok' })
    expect(checkClock(folder.path, Date.UTC(1970))).toMatchObject({ state: 'fail' })
    expect(checkClock(folder.path, Date.UTC(2970))).toMatchObject({ state: 'fail' })
  })

  test('CLI doctor wants room on the disk', () => {
    expect([99, 100, 1_023, 1_024].map((mebibytes) => checkSpace('/', mebibytes * 1_048_576).state)).toEqual([
      'fail',
      'warn',
      'warn',
      'ok',
    ])
  })
})

/** Noise in the middle, behind the first page. */
function damage(file: string): void {
  const bytes = readFileSync(file)
  bytes.fill(0xaa, 4_096 * 2, statSync(file).size - 4_096)
  writeFileSync(file, bytes)
}

function replaceByAnother(file: string): void {
  rmSync(file)
  writeFileSync(file, '', { mode: 0o600 })
  using database = new DatabaseSync(file)
  database.exec('CREATE TABLE user (id INTEGER)')
}

function addEvent(file: string, at: number): void {
  using database = new DatabaseSync(file)
  database.prepare("INSERT INTO event (at, event_type, record_type) VALUES (?, 'update', 'user')").run(at)
}
