/** What an operator asks of a server with fanfare token, rotate and disconnect. */
import { readFileSync } from 'node:fs'
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { rotate } from '../../src/cli/at-server.ts'
import type { Args } from '../../src/protocol/commands.ts'
import { RawSession } from '../../src/testing/raw-session.ts'
import { type Ending, runCommand } from './command.ts'
import { call, startServer } from './running-server.ts'
import { temporaryFolder } from './temporary-folder.ts'

function session(url: string): RawSession {
  return new RawSession(`${url.replace('http', 'ws')}/v2/socket`, { perMessageDeflate: false })
}

async function opened(url: string, proof: Args<'connect'>): Promise<RawSession> {
  const one = session(url)
  await new Promise((resolve) => one.webSocket.once('open', resolve))
  await one.command('connect', proof)
  return one
}

async function tokenFor(data: string, user: string): Promise<string> {
  const { code, stdout, stderr } = await runCommand(['token', user, '--data', data])
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout.trimEnd()
}

const someKey = { FANFARE_API_KEY: 'some-key' }

/** What else may answer at an address. */
async function startOther(answer: RequestListener): Promise<AsyncDisposable & { readonly url: string }> {
  const other = createServer(answer)
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(other.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      other.closeAllConnections()
      await new Promise((resolve) => other.close(resolve))
    },
  }
}

/** One line on standard error, exit code 2, nothing on standard output. */
function refusal(ending: Ending): string {
  expect(ending).toEqual({ code: 2, stdout: '', stderr: expect.stringMatching(/^fanfare: [^\n]+\n$/) })
  return ending.stderr.slice('fanfare: '.length, -1)
}

describe('fanfare token', () => {
  test('CLI token prints a token of the user that the server takes, and lives as long as was said', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    await using server = await startServer(data)
    const { stdout } = await runCommand(['token', 'alice', '--ttl', '60', '--data', data])
    expect(stdout).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+\n$/)
    expect((await call(server.url, 'get_user_channel', stdout.trim())).body.result).toMatchObject({
      user_channel: { user: 'user/alice' },
    })
    const { iat, exp } = JSON.parse(Buffer.from(stdout.split('.')[1]!, 'base64url').toString()) as Record<
      string,
      number
    >
    expect(exp! - iat!).toBeGreaterThanOrEqual(60)
    expect(exp! - iat!).toBeLessThanOrEqual(61)
  })

  test('CLI token takes the secret from the environment too', async () => {
    using folder = temporaryFolder()
    const env = { FANFARE_TOKEN_SECRET: 'thirty-two bytes or more, as given' }
    await using server = await startServer(folder.in('data'), [], { env })
    const { stdout } = await runCommand(['token', 'alice'], { env, cwd: folder.path })
    expect((await call(server.url, 'get_user_channel', stdout.trim())).status).toBe(200)
  })

  test('CLI token has the issuer and an audience that the server wants', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    const wants = ['--token-issuer=https://auth.example', '--token-audience=chat']
    await using server = await startServer(data, wants)
    const tokens = [[], wants].map((args) => runCommand(['token', 'alice', '--data', data, ...args]))
    const answers = (await Promise.all(tokens)).map(({ stdout }) => call(server.url, 'get_user_channel', stdout.trim()))
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual([401, 200])
  })

  test('CLI token makes no secret where there is none, since that would be no server’s', async () => {
    using folder = temporaryFolder()
    const ending = await runCommand(['token', 'alice', '--data', folder.in('data')])
    expect(refusal(ending)).toBe(
      `there is no secret in ${folder.in('data', 'token-secret')}: name the server's data folder with --data, or set FANFARE_TOKEN_SECRET`,
    )
  })
})

describe('fanfare disconnect', () => {
  test('CLI disconnect closes the sessions of the user, and of nobody else', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    await using server = await startServer(data)
    const token = await tokenFor(data, 'alice')
    await using first = await opened(server.url, { token })
    await using second = await opened(server.url, { token })
    await using bob = await opened(server.url, { token: await tokenFor(data, 'bob') })
    const disconnect = () => runCommand(['disconnect', 'user/alice', '--url', server.url, '--data', data])
    expect(await disconnect()).toEqual({ code: 0, stdout: '2 sessions of user/alice closed\n', stderr: '' })
    expect(await Promise.all([first.closed, second.closed])).toMatchObject([{ code: 4403 }, { code: 4403 }])
    await bob.command('ping')
    expect(await disconnect()).toEqual({ code: 0, stdout: '0 sessions of user/alice closed\n', stderr: '' })
  })
})

describe('fanfare rotate', () => {
  test('U8 fanfare rotate gives the user a new name without telling it, and listeners by the old one are out', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    await using server = await startServer(data, ['--listeners'])
    const token = await tokenFor(data, 'alice')
    await using alice = await opened(server.url, { token })
    const { user_channel } = await alice.command('get_user_channel')
    await using listener = await opened(server.url, { channel: user_channel.name })
    const ending = await runCommand(['rotate', 'alice', '--url', server.url, '--data', data])
    expect(ending).toEqual({
      code: 0,
      stdout: 'user/alice has a new user channel; whoever listened by the old name is out\n',
      stderr: '',
    })
    expect(await listener.closed).toMatchObject({ code: 4410 })
    const rotated = (await alice.command('get_user_channel')).user_channel
    expect(rotated.name).not.toBe(user_channel.name)
    expect((await call(server.url, 'get_user_channel', token)).status).toBe(200)
  })

  test('U7, U8 fanfare rotate --revoke besides ends all sessions, and the tokens made until then', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    await using server = await startServer(data)
    const token = await tokenFor(data, 'alice')
    await using alice = await opened(server.url, { token })
    const ending = await runCommand(['rotate', 'alice', '--revoke', '--data', data], {
      env: { FANFARE_URL: server.url },
    })
    expect(ending).toEqual({
      code: 0,
      stdout: 'user/alice has a new user channel and is logged out everywhere: tokens made until now count no more\n',
      stderr: '',
    })
    expect(await alice.closed).toMatchObject({ code: 4403 })
    expect((await call(server.url, 'get_user_channel', token)).body.error).toMatchObject({ code: 'token_revoked' })
  })
})

describe('a server that does not do it', () => {
  test('CLI nobody at the address is one line that says what to do', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'))
    server.process.kill('SIGTERM')
    await server.ended
    const ending = await runCommand(['disconnect', 'alice', '--url', server.url, '--data', folder.in('data')])
    expect(refusal(ending)).toBe(
      `no server answers at ${server.url} (ECONNREFUSED); start it, or say where it is with --url or FANFARE_URL`,
    )
  })

  test('CLI a key that the server does not take is one line, without the key', async () => {
    using folder = temporaryFolder()
    await using server = await startServer(folder.in('data'))
    const ending = await runCommand(['rotate', 'alice', '--url', server.url], {
      env: { FANFARE_API_KEY: 'another-key' },
      cwd: folder.path,
    })
    expect(refusal(ending)).toContain('does not take this API key')
    expect(ending.stderr).not.toContain('another-key')
  })

  test('CLI of several keys the first is shown', async () => {
    using folder = temporaryFolder()
    const env = { FANFARE_API_KEY: 'first-of-the-keys,second-of-the-keys' }
    await using server = await startServer(folder.in('data'), [], { env })
    const ending = await runCommand(['disconnect', 'alice', '--url', server.url], { env, cwd: folder.path })
    expect(ending).toMatchObject({ code: 0, stderr: '' })
  })

  test('CLI a key that is nowhere is one line, and none is made', async () => {
    using folder = temporaryFolder()
    const ending = await runCommand(['rotate', 'alice', '--data', folder.in('data')])
    expect(refusal(ending)).toContain(`there is no secret in ${folder.in('data', 'api-key')}`)
  })

  test.each([
    ['text', 200, {}, 'is no fanfare (status 200)'],
    ['{"error":{"code":"\\u001b[2J"}}', 500, {}, 'is no fanfare (status 500)'],
    ['{"error":{"code":"conflict"}}', 409, {}, 'refused, and nothing was done: conflict; its log says more at'],
    ['{"error":{"code":"unavailable"}}', 503, {}, 'failed (unavailable), and it may have been done all the same;'],
    ['{"error":{"code":"internal"}}', 500, {}, 'failed (internal), and it may have been done all the same;'],
    ['', 302, { location: 'https://evil.example/' }, 'is no fanfare (status 302)'],
  ])('CLI what else may answer there is one line: %j with %i', async (body, status, headers, says) => {
    await using other = await startOther((_, response) => response.writeHead(status, headers).end(body))
    const ending = await runCommand(['rotate', 'alice', '--url', other.url], { env: someKey })
    expect(refusal(ending)).toContain(says)
  })

  test('CLI a path that is not the server’s is told apart from a refusal', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    await using server = await startServer(data)
    const ending = await runCommand(['disconnect', 'alice', '--url', `${server.url}/foo`, '--data', data])
    expect(refusal(ending)).toBe(
      `there are no commands at ${server.url}/foo/v2 (not_found); say where the server is with --url, without a path unless a proxy gives it one`,
    )
  })

  test('CLI a server without TLS that is asked with it is not taken for none', async () => {
    await using other = await startOther((_, response) => response.end())
    const url = other.url.replace('http:', 'https:')
    const ending = await runCommand(['disconnect', 'alice', '--url', url], { env: someKey })
    expect(refusal(ending)).toMatch(
      /^what listens at https:\S+ speaks no TLS .*, and nothing was done; of a server without it the address begins with http:/,
    )
  })

  test('CLI a connection that broke before the answer may have brought what was asked', async () => {
    await using other = await startOther((request) => request.socket.destroy())
    const ending = await runCommand(['rotate', 'alice', '--url', other.url], { env: someKey })
    expect(refusal(ending)).toMatch(
      /^no answer came from \S+ \(\w+\), and it may have been done all the same; ask again; of a server with TLS .* https:/,
    )
  })

  test('CLI a server that hangs is not taken for none: what was asked may have been done', async () => {
    const patience = new AbortController()
    const timeout = vi.spyOn(AbortSignal, 'timeout').mockReturnValue(patience.signal)
    onTestFinished(() => timeout.mockRestore())
    // The 30 s are over when the server has heard what is asked of it.
    await using other = await startOther(() => patience.abort(new DOMException('too late', 'TimeoutError')))
    await expect(rotate(['alice', '--url', other.url], someKey)).rejects.toThrow(
      `no answer came from ${other.url} (too late), and it may have been done all the same; ask again`,
    )
    expect(timeout).toHaveBeenCalledWith(30_000)
  })
})

test('CLI the secrets that the commands read are told to nobody', async () => {
  using folder = temporaryFolder()
  const data = folder.in('data')
  await using server = await startServer(data)
  const endings = await Promise.all([
    runCommand(['token', 'alice', '--data', data]),
    runCommand(['rotate', 'alice', '--data', data, '--url', server.url]),
    runCommand(['disconnect', 'alice', '--data', data, '--url', server.url]),
    runCommand(['doctor', '--data', data]),
  ])
  const text = JSON.stringify(endings)
  for (const file of ['token-secret', 'api-key'])
    expect(text).not.toContain(readFileSync(folder.in('data', file), 'utf8'))
})
