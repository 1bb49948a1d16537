/** How a certificate is renewed. */
import { X509Certificate } from 'node:crypto'
import { readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { FakeClock } from '../../src/testing/clock.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { Certificate } from '../../src/transport/certificate.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'
import { hasOpenssl, look, makeCertificate } from './certificates.ts'

const minuteMs = 60_000

function fingerprintOf(file: string): string {
  return new X509Certificate(readFileSync(file)).fingerprint256
}

function told(server: TestServer): string[] {
  return server.logged.map(({ event }) => event).filter((event) => event.startsWith('certificate'))
}

test.skipIf(!hasOpenssl)(
  'OPERATOR a certificate that was renewed is shown within a minute, to whoever connects then',
  async () => {
    using folder = temporaryFolder()
    const clock = new FakeClock(Date.now())
    const tls = makeCertificate(folder)
    await using server = await startServer({ tls, clock })
    const first = fingerprintOf(tls.cert)
    expect(await look(server.url)).toEqual({ fingerprint: first, answer: '{"live":true}' })
    makeCertificate(folder)
    const second = fingerprintOf(tls.cert)
    expect(second).not.toBe(first)
    clock.advance(minuteMs - 1)
    expect((await look(server.url)).fingerprint).toBe(first)
    clock.advance(1)
    expect((await look(server.url)).fingerprint).toBe(second)
    clock.advance(minuteMs)
    expect(told(server)).toEqual(['certificate', 'certificate'])
  },
)

test.skipIf(!hasOpenssl)(
  'OPERATOR a renewal that is half done is told of, and the certificate stays until it is done',
  async () => {
    using folder = temporaryFolder()
    const clock = new FakeClock(Date.now())
    const tls = makeCertificate(folder)
    await using server = await startServer({ tls, clock })
    const first = fingerprintOf(tls.cert)
    const key = readFileSync(tls.key)
    makeCertificate(folder)
    const newKey = readFileSync(tls.key)
    writeFileSync(tls.key, key)
    clock.advance(minuteMs)
    expect((await look(server.url)).fingerprint).toBe(first)
    rmSync(tls.key)
    clock.advance(minuteMs)
    expect((await look(server.url)).fingerprint).toBe(first)
    expect(told(server)).toEqual(['certificate', 'certificate_kept', 'certificate_kept'])
    writeFileSync(tls.key, newKey)
    clock.advance(minuteMs)
    expect((await look(server.url)).fingerprint).toBe(fingerprintOf(tls.cert))
    expect(told(server).at(-1)).toBe('certificate')
  },
)

test.skipIf(!hasOpenssl)('OPERATOR a certificate that is over is an error in the log', async () => {
  using folder = temporaryFolder()
  await using server = await startServer({ tls: makeCertificate(folder), clock: new FakeClock(Date.UTC(2090)) })
  expect(server.logged.find(({ event }) => event === 'certificate')?.level).toBe('error')
})

test.skipIf(!hasOpenssl)('OPERATOR files that are links count as changed when they lead elsewhere', () => {
  using folder = temporaryFolder()
  using other = temporaryFolder()
  const one = makeCertificate(folder)
  const another = makeCertificate(other)
  const links = { cert: folder.in('link.cert'), key: folder.in('link.key') }
  for (const name of ['cert', 'key'] as const) symlinkSync(one[name], links[name])
  const certificate = new Certificate(links)
  expect(certificate.renew()).toBe(false)
  for (const name of ['cert', 'key'] as const) {
    rmSync(links[name])
    symlinkSync(another[name], links[name])
  }
  expect(certificate.renew()).toBe(true)
  expect(certificate.credentials.cert).toEqual(readFileSync(another.cert))
})
