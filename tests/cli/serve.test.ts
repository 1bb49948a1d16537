import { once } from 'node:events'
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { SignJWT } from 'jose'
import { describe, expect, test } from 'vitest'
import { linesOf, runCommand, startCommand, startNode } from './command.ts'
import { call, startServer, urlOf } from './running-server.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** Asks as the demo page does; gives the status. */
async function askForToken(url: string): Promise<number> {
  return (await fetch(`${url}/demo/token`, { method: 'POST', body: '{"user":"alice"}' })).status
}

function tokenOf(user: string, secret: string): Promise<string> {
  return new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(user)
    .setIssuedAt()
    .setExpirationTime('10m')
    .sign(new TextEncoder().encode(secret))
}

function read(path: string): string {
  return readFileSync(path, 'utf8')
}

/** Makes a Node tell, by `loads PACKAGE` on standard error, of each package that it loads. */
const tellingLoads = `--import=data:text/javascript,${encodeURIComponent(`
  import { registerHooks } from 'node:module'
  import { writeSync } from 'node:fs'
  registerHooks({ load(url, context, next) {
    writeSync(2, 'loads ' + /.*node_modules\\/(@[^/]+\\/)?[^/]+/.exec(url)?.[0].split('node_modules/').at(-1) + '\\n')
    return next(url, context)
  } })`)}`

describe('a server that starts', () => {
  test('CLI a server without a broker does not load the client of NATS', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'), [], { env: { NODE_OPTIONS: tellingLoads } })
    server.process.kill('SIGTERM')
    const { stderr } = await server.ended
    expect(stderr).toContain('loads ws\n')
    expect(stderr).not.toContain('@nats-io')
  })

  test.each(['SIGTERM', 'SIGINT'] as const)(
    'CLI serve says on one line where it listens, answers there, and ends with 0 at %s',
    async (signal) => {
      using folder = temporaryFolder()
      await using server = await startServer(folder.in('data'))
      expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/)
      expect((await call(server.url, 'get_user_channel', 'no token')).status).toBe(401)
      server.process.kill(signal)
      const { code, stdout, stderr } = await server.ended
      const { plain, log } = linesOf(stdout)
      expect({ code, plain, stderr }).toEqual({ code: 0, plain: [`Fanfare is listening on ${server.url}`], stderr: '' })
      expect(log.map(({ event }) => event)).toEqual(['started', 'refused', 'draining', 'stopped'])
    },
  )

  test('CLI two signals that come together are one, as a Ctrl-C under npm is', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'))
    server.process.kill('SIGINT')
    server.process.kill('SIGTERM')
    expect(await server.ended).toMatchObject({ code: 0, stderr: '' })
  })

  test('CLI dev says besides which address to open, and gives a token to whoever asks there', async () => {
    using folder = temporaryFolder()
    await using command = startCommand(['dev', '--port=0'], { cwd: folder.path })
    const url = await urlOf(command)
    expect(await command.line('Open ')).toBe(`Open ${url} in a browser. Ctrl-C ends it.`)
    expect(await askForToken(url)).toBe(200)
    command.process.kill('SIGINT')
    const ending = await command.ended
    expect(ending).toMatchObject({ code: 0, stderr: '' })
    expect(linesOf(ending.stdout).plain).toHaveLength(2)
    expect(readdirSync(folder.path)).toEqual(['data'])
  })

  test('CLI serve gives a token to nobody', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'))
    expect(await askForToken(server.url)).toBe(404)
  })

  test('CLI everything may come from the environment', async () => {
    using folder = temporaryFolder()
    await using command = startCommand(['serve'], {
      env: { FANFARE_PORT: '0', FANFARE_HOST: 'localhost', FANFARE_DATA: folder.in('data'), FANFARE_NO_LIMITS: '1' },
    })
    expect(new URL(await urlOf(command)).port).not.toBe('8080')
    expect(readdirSync(folder.in('data'))).toContain('fanfare.db')
  })

  test('CLI an IPv6 address stands in brackets', async ({ skip }) => {
    if (!(await listens('::1'))) skip('SKIPPED: this machine has no IPv6')
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'), ['--host', '::1'])
    expect(server.url).toMatch(/^http:\/\/\[::1\]:\d+$/)
    expect((await call(server.url, 'get_user_channel', 'no token')).status).toBe(401)
  })

  test('CLI the options reach the server', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'), ['--conversations=backend'])
    const token = await tokenOf('alice', read(folder.in('data', 'token-secret')))
    const answer = await call(server.url, 'create_conversation', token, { participants: ['user/bob'] })
    expect(answer).toMatchObject({ status: 403, body: { error: { code: 'forbidden' } } })
  })
})

describe('the secrets', () => {
  test('CLI a restart keeps the secrets, the data folder is its owner’s alone, and nothing of them is printed', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    const kept = () => ['token-secret', 'api-key'].map((file) => read(folder.in('data', file)))

    await using first = await startServer(data)
    const [tokenSecret, apiKey] = kept()
    const token = await tokenOf('alice', tokenSecret!)
    const channel = await call(first.url, 'get_user_channel', token)
    expect(channel.status).toBe(200)
    expect((await call(first.url, 'create_token', apiKey!, { user: 'user/bob' })).status).toBe(200)
    first.process.kill('SIGTERM')
    const firstEnding = await first.ended

    await using second = await startServer(data)
    expect(kept()).toEqual([tokenSecret, apiKey])
    expect(await call(second.url, 'get_user_channel', token)).toEqual(channel)
    second.process.kill('SIGTERM')
    const secondEnding = await second.ended

    expect(statSync(data).mode & 0o777).toBe(0o700)
    for (const file of ['token-secret', 'api-key']) expect(statSync(folder.in('data', file)).mode & 0o777).toBe(0o600)
    for (const secret of [tokenSecret!, apiKey!]) {
      expect(JSON.stringify([firstEnding, secondEnding])).not.toContain(secret)
    }
  })

  test('CLI all that a server makes is its owner’s alone, also in a folder that others may enter', async () => {
    using folder = temporaryFolder()
    mkdirSync(folder.in('data'), { mode: 0o755 })
    await using server = await startServer(folder.in('data'))
    const open = readdirSync(folder.in('data')).filter((name) => statSync(folder.in('data', name)).mode & 0o077)
    expect([server.process.exitCode, open]).toEqual([null, []])
  })

  test('CLI given secrets are the ones that count, and none are made', async () => {
    using folder = temporaryFolder()
    writeFileSync(folder.in('key'), 'the-key-of-the-backend\n')
    const secret = 'thirty-two bytes or more, as given'
    await using server = await startServer(folder.in('data'), [], {
      env: { FANFARE_TOKEN_SECRET: secret, FANFARE_API_KEY_FILE: folder.in('key') },
    })
    expect((await call(server.url, 'get_user_channel', await tokenOf('alice', secret))).status).toBe(200)
    expect((await call(server.url, 'get_user_channel', await tokenOf('alice', `${secret}!`))).status).toBe(401)
    expect((await call(server.url, 'create_token', 'the-key-of-the-backend', { user: 'user/bob' })).status).toBe(200)
    expect(readdirSync(folder.in('data')).filter((name) => !name.startsWith('fanfare.db'))).toEqual([])
  })
})

test.each(['SIGTERM', 'SIGKILL'] as const)(
  'M3 every message that was answered before a %s is there after the restart, though it came amid many',
  async (signal) => {
    using folder = temporaryFolder()
    await using first = await startServer(folder.in('data'))
    const token = await tokenOf('alice', read(folder.in('data', 'token-secret')))
    const made = await call(first.url, 'create_conversation', token, { participants: ['user/bob'] })
    const { id: conversation } = made.body.result!.conversation as { id: string }

    const answered: string[] = []
    const sends = Array.from({ length: 100 }, async (_, index) => {
      const body = `message ${index}`
      const { status } = await call(first.url, 'create_message', token, { conversation, body })
      if (status !== 200) return
      answered.push(body)
      if (answered.length === 10) first.process.kill(signal)
    })
    // Those that the server no longer took fail, as they should.
    await Promise.allSettled(sends)
    expect((await first.ended).code).toBe(signal === 'SIGTERM' ? 0 : null)
    expect(answered.length).toBeGreaterThanOrEqual(10)

    await using second = await startServer(folder.in('data'))
    const page = await call(second.url, 'get_messages', token, { conversation, limit: 200 })
    const { messages } = page.body.result as { messages: { body: string }[] }
    expect(messages.map(({ body }) => body)).toEqual(expect.arrayContaining(answered))
  },
)

/** Whether something can listen on `host` here. */
async function listens(host: string): Promise<boolean> {
  const probe = createServer().listen(0, host)
  try {
    await once(probe, 'listening')
    return true
  } catch {
    return false
  } finally {
    probe.close()
  }
}

/** One line on stderr, exit code 2, nothing on stdout. */
async function refusal(args: readonly string[]): Promise<string> {
  const ending = await runCommand(['serve', ...args])
  expect(ending).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(/^fanfare: [^\n]+\n$/) })
  return ending.stderr.slice('fanfare: '.length, -1)
}

describe('what keeps a server from starting', () => {
  test('CLI a taken port is one line on stderr and exit code 2, and who has it goes on', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('first'))
    expect(await refusal([`--port=${server.port}`, '--data', folder.in('second')])).toBe(
      `127.0.0.1:${server.port} is taken by another program; end that one, or choose another port with --port (0 takes a free one)`,
    )
    expect((await call(server.url, 'get_user_channel', 'no token')).status).toBe(401)
    await using second = await startServer(folder.in('second'))
    expect(second.port).not.toBe(server.port)
  })

  test('CLI a taken port for the metrics is told as that, and nothing is left open', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('first'))
    const args = ['--port=0', `--metrics-port=${server.port}`, '--data', folder.in('second')]
    expect(await refusal(args)).toBe(
      `127.0.0.1:${server.port} is taken by another program; end that one, or choose another port with --metrics-port (0 takes a free one)`,
    )
  })

  test('CLI an address of another machine is one line on stderr and exit code 2', async () => {
    using folder = temporaryFolder()
    expect(await refusal(['--port=0', '--host=192.0.2.1', '--data', folder.in('data')])).toBe(
      '192.0.2.1 is no address of this machine; choose one with --host (0.0.0.0 is all of them)',
    )
  })

  test('CLI a host without an address is one line on stderr and exit code 2', async () => {
    using folder = temporaryFolder()
    expect(await refusal(['--port=0', '--host=nowhere.invalid', '--data', folder.in('data')])).toBe(
      'no address is known for the host nowhere.invalid; choose another with --host',
    )
  })

  test('CLI a data folder that another server uses is one line on stderr and exit code 2, and that one goes on', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'))
    const token = await tokenOf('alice', read(folder.in('data', 'token-secret')))
    const channel = await call(server.url, 'get_user_channel', token)
    expect(await refusal(['--port=0', '--data', folder.in('data')])).toContain('in use by another running fanfare')
    expect(await call(server.url, 'get_user_channel', token)).toEqual(channel)
  })

  test('CLI a database of a newer version is one line on stderr and exit code 2, and it stays as it was', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'))
    server.process.kill('SIGTERM')
    await server.ended
    const file = folder.in('data', 'fanfare.db')
    using database = new DatabaseSync(file)
    database.exec('PRAGMA user_version = 1000')
    database.close()
    const before = readFileSync(file)
    expect(await refusal(['--port=0', '--data', folder.in('data')])).toContain('newer')
    expect(readFileSync(file).equals(before)).toBe(true)
  })

  test('CLI a file that is no database is one line on stderr and exit code 2, and it stays as it was', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'))
    server.process.kill('SIGTERM')
    await server.ended
    const file = folder.in('data', 'fanfare.db')
    writeFileSync(file, 'something else that somebody keeps under this name, and not for us to touch'.repeat(100))
    const before = readFileSync(file)
    expect(await refusal(['--port=0', '--data', folder.in('data')])).toContain(file)
    expect(readFileSync(file).equals(before)).toBe(true)
  })
})

test('CLI what nobody expected has its stack on stderr, and exit code 1', async () => {
  const module = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
  const script = `const { main } = await import(${JSON.stringify(module)})
    await main(['serve'], new Proxy({}, { get() { throw new Error('nobody expected this') } }))`
  await using command = startNode(['--input-type=module', '--eval', script])
  expect(await command.ended).toEqual({
    code: 1,
    stdout: '',
    stderr: expect.stringMatching(/^Error: nobody expected this\n(?: {4}at .+\n)+$/),
  })
})
