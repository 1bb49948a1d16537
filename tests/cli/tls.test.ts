/** A server that speaks HTTPS, as a process. */
import { readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { connect as connectTls } from 'node:tls'
import { describe, expect, test } from 'vitest'
import { RawSession } from '../../src/testing/raw-session.ts'
import { hasOpenssl, look, makeCertificate } from '../operator/certificates.ts'
import { linesOf, runCommand, startCommand } from './command.ts'
import { startServer } from './running-server.ts'
import { temporaryFolder } from './temporary-folder.ts'

describe.skipIf(!hasOpenssl)('a server with a certificate', () => {
  test('CLI serve with a certificate says https, and takes sessions over TLS from who trusts it', async () => {
    using folder = temporaryFolder()
    const { cert, key } = makeCertificate(folder)
    await using server = await startServer(folder.in('data'), ['--tls-cert', cert, '--tls-key', key])
    expect(server.url).toMatch(/^https:\/\/127\.0\.0\.1:\d+$/)
    const token = (await runCommand(['token', 'alice', '--data', folder.in('data')])).stdout.trim()
    await using alice = new RawSession(`${server.url.replace('https', 'wss')}/v2/socket`, { ca: readFileSync(cert) })
    await new Promise((resolve) => alice.webSocket.once('open', resolve))
    expect(await alice.command('connect', { token })).toMatchObject({ user: 'user/alice' })
    expect(await runCommand(['disconnect', 'alice', '--data', folder.in('data'), '--url', server.url])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /is not trusted here \(DEPTH_ZERO_SELF_SIGNED_CERT\), and nothing was done; .*NODE_EXTRA_CA_CERTS/,
      ),
    })
    const trusting = { env: { NODE_EXTRA_CA_CERTS: cert } }
    expect(
      await runCommand(['disconnect', 'alice', '--data', folder.in('data'), '--url', server.url], trusting),
    ).toMatchObject({ code: 0, stdout: '1 session of user/alice closed\n' })
    expect(await alice.closed).toMatchObject({ code: 4403 })
  })

  test('CLI serve with a certificate answers nobody without TLS, or with an old one', async () => {
    using folder = temporaryFolder()
    const { cert, key } = makeCertificate(folder)
    await using server = await startServer(folder.in('data'), ['--tls-cert', cert, '--tls-key', key])
    const plain = new Promise((_, reject) => {
      request(`${server.url.replace('https', 'http')}/livez`, () => reject(new Error('it answered')))
        .on('error', reject)
        .end()
    })
    await expect(plain).rejects.toThrow('socket hang up')
    const old = new Promise((resolve, reject) => {
      const options = {
        port: server.port,
        rejectUnauthorized: false,
        minVersion: 'TLSv1',
        maxVersion: 'TLSv1.1',
      } as const
      // The second level lets this side speak it at all.
      connectTls({ ...options, ciphers: 'DEFAULT@SECLEVEL=0' }, () => resolve('it answered')).on('error', reject)
    })
    await expect(old).rejects.toThrow(/alert protocol version|unsupported protocol/)
    expect((await look(server.url)).answer).toBe('{"live":true}')
  })

  test('CLI SIGHUP makes it read a renewed certificate, and its sessions go on', async () => {
    using folder = temporaryFolder()
    const { cert, key } = makeCertificate(folder)
    await using server = await startServer(folder.in('data'), ['--tls-cert', cert, '--tls-key', key])
    const token = (await runCommand(['token', 'alice', '--data', folder.in('data')])).stdout.trim()
    await using alice = new RawSession(`${server.url.replace('https', 'wss')}/v2/socket`, { rejectUnauthorized: false })
    await new Promise((resolve) => alice.webSocket.once('open', resolve))
    await alice.command('connect', { token })
    const { fingerprint } = await look(server.url)
    makeCertificate(folder)
    server.process.kill('SIGHUP')
    await expect.poll(async () => (await look(server.url)).fingerprint, { timeout: 15_000 }).not.toBe(fingerprint)
    await alice.command('ping')
    server.process.kill('SIGTERM')
    expect(await alice.closed).toMatchObject({ code: 4503 })
    const { code, stdout } = await server.ended
    const events = linesOf(stdout).log.map(({ event }) => event)
    expect([code, events]).toEqual([0, ['started', 'certificate', 'certificate', 'draining', 'stopped']])
  })

  test('CLI doctor judges the certificate, and knows the server that shows it', async () => {
    using folder = temporaryFolder()
    const { cert, key } = makeCertificate(folder)
    const tls = ['--tls-cert', cert, '--tls-key', key]
    await using server = await startServer(folder.in('data'), tls)
    const lines = async (args: readonly string[]) => {
      const { stdout } = await runCommand(['doctor', '--data', folder.in('data'), `--port=${server.port}`, ...args])
      return stdout.split('\n').filter((line) => /^\w+ +(tls|port): /.test(line))
    }
    expect(await lines(tls)).toEqual([
      expect.stringMatching(/^ok {4}tls: a certificate that is good until 20.*Z$/),
      `ok    port: a fanfare is running at 127.0.0.1:${server.port}`,
    ])
    makeCertificate(folder, 3)
    expect((await lines(tls))[0]).toMatch(/^warn {2}tls: .*; renew it/)
    expect((await lines(['--tls-cert', cert]))[0]).toBe(
      'fail  tls: --tls-cert and --tls-key go together: give both, or neither; a server would not start',
    )
  })
})

describe('what keeps it from starting', () => {
  async function refusal(args: readonly string[], data: string): Promise<string> {
    const { code, stdout, stderr } = await runCommand(['serve', '--port=0', '--data', data, ...args])
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toMatch(/^fanfare: [^\n]+\n$/)
    return stderr
  }

  test('CLI a certificate without a key, or a key without one, is one line and exit code 2', async () => {
    using folder = temporaryFolder()
    for (const option of ['cert', 'key']) {
      expect(await refusal([`--tls-${option}=a`], folder.in('data'))).toContain(
        '--tls-cert and --tls-key go together: give both, or neither',
      )
    }
  })

  test('CLI a certificate that can’t be read is one line and exit code 2', async () => {
    using folder = temporaryFolder()
    const missing = folder.in('missing')
    expect(await refusal([`--tls-cert=${missing}`, `--tls-key=${missing}`], folder.in('data'))).toContain(
      `--tls-cert names ${missing}, which can't be read (ENOENT); name a file that this user may read`,
    )
  })

  test.skipIf(!hasOpenssl)(
    'CLI a certificate with another’s key, or none at all, is one line and exit code 2',
    async () => {
      using folder = temporaryFolder()
      using other = temporaryFolder()
      const { cert, key } = makeCertificate(folder)
      const args = (one: string, another: string) => [`--tls-cert=${one}`, `--tls-key=${another}`]
      const says = 'are no certificate with its key'
      expect(await refusal(args(cert, makeCertificate(other).key), folder.in('data'))).toContain(says)
      writeFileSync(cert, 'no certificate')
      expect(await refusal(args(cert, key), folder.in('data'))).toContain(says)
    },
  )
})

test('CLI a server that others reach without TLS warns of it and names both ways, and one on loopback, or behind proxies, does not', async () => {
  using folder = temporaryFolder()
  const warnings = async (host: string, ...args: readonly string[]) => {
    await using server = startCommand(['serve', '--port=0', '--host', host, '--data', folder.in('data'), ...args])
    await server.line('listening on ')
    server.process.kill('SIGTERM')
    const { log } = linesOf((await server.ended).stdout)
    return log.filter(({ level }) => level === 'warn').map(({ event, advice }) => [event, advice])
  }
  expect(await warnings('127.0.0.1')).toEqual([])
  expect(await warnings('0.0.0.0', '--trusted-proxies=192.0.2.1')).toEqual([])
  expect(await warnings('0.0.0.0')).toEqual([['unencrypted', expect.stringMatching(/--tls-cert.*--tls-key.*proxy/)]])
})
