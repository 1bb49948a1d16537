/** Fanfare behind the reverse proxies of deploy/, each as its file has it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { pingIntervalMs } from '../../src/engine/session.ts'
import { connect, open } from '../../src/testing/raw-session.ts'
import { startServer, type TestServerOptions } from '../../src/testing/start-server.ts'
import { root } from '../house/run.ts'
import { type ProxyName, startProxy, testsBehind } from './proxies.ts'

/** Whoever signed the certificate. */
const trusting = { rejectUnauthorized: false }

async function startBehind(name: ProxyName, options: TestServerOptions = {}) {
  const server = await startServer({ trustedProxies: ['127.0.0.1'], ...options })
  const proxy = await startProxy(name, server).catch(async (error: unknown) => {
    await server[Symbol.asyncDispose]()
    throw error
  })
  const end = async () => {
    await proxy[Symbol.asyncDispose]()
    await server[Symbol.asyncDispose]()
  }
  return { server, proxy, [Symbol.asyncDispose]: end }
}

describe.each(['nginx', 'haproxy'] as const)('behind %s', (name) => {
  const proxyTest = testsBehind(name)

  proxyTest(`DEPLOY ${name} finds nothing wrong with its configuration`, async () => {
    await using behind = await startBehind(name)
    expect(await behind.proxy.check()).toEqual({ exitCode: 0, output: '', errors: '' })
  })

  proxyTest(`W1, W4 behind ${name} two people write to each other`, async () => {
    await using behind = await startBehind(name)
    await using alice = await connect(behind.proxy.reached, 'user/alice', trusting)
    await using bob = await connect(behind.proxy.reached, 'user/bob', trusting)
    const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
    const body = 'Hällo '.repeat(2_000)
    await alice.command('create_message', { conversation: conversation.id, body })
    const { data } = await bob.next(({ data }) => data.record_type === 'message')
    expect(data.record).toMatchObject({ body, created_by: 'user/alice' })
  })

  proxyTest(
    `W7, L1 behind ${name} a backend calls with bodies of up to 1 MiB, and reads why a longer one is refused`,
    async () => {
      await using behind = await startBehind(name)
      const headers = { authorization: `Bearer ${behind.server.apiKey}` }
      const call = (bytes: number) =>
        behind.proxy.ask('/v2/create_token', { method: 'POST', headers }, '{"user":"user/alice"}'.padEnd(bytes))
      const { status, body } = await call(1_048_576)
      expect([status, JSON.parse(body)]).toEqual([
        200,
        { result: expect.objectContaining({ token: expect.any(String) }) },
      ])
      const longer = await call(1_048_577)
      expect([longer.status, JSON.parse(longer.body)]).toMatchObject([413, { error: { code: 'too_large' } }])
    },
  )

  proxyTest(
    `L2, L3 behind ${name} a session counts for the address that it comes from, whatever its client says`,
    async () => {
      await using behind = await startBehind(name)
      const options = { ...trusting, localAddress: '127.0.0.2', headers: { 'x-forwarded-for': '203.0.113.7' } }
      await using alice = await connect(behind.proxy.reached, 'user/alice', options)
      const connected = behind.server.logged.filter(({ event }) => event === 'session_connected')
      expect(connected).toMatchObject([{ session: alice.greeting.session, address: '127.0.0.2' }])
    },
  )

  proxyTest(
    `S8 behind ${name} a page of the proxy's own origin may connect, and a page of another may not`,
    async () => {
      await using behind = await startBehind(name)
      await using page = await open(behind.proxy.reached, { ...trusting, origin: behind.proxy.url })
      await page.command('connect', { token: await behind.server.token('alice') })
      const elsewhere = open(behind.proxy.reached, { ...trusting, origin: 'https://elsewhere.example' })
      await expect(elsewhere).rejects.toThrow('403')
    },
  )

  proxyTest(
    `S7, R2 behind ${name} a server that ends says so to its sessions, and they go on at the next one`,
    async () => {
      await using behind = await startBehind(name)
      await using alice = await connect(behind.proxy.reached, 'user/alice', trusting)
      const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
      const { cursor } = await alice.command('ping')
      await behind.server.stop()
      expect(await alice.closed).toEqual({ code: 4503, reason: expect.stringMatching(/^draining \d+$/) })
      expect((await behind.proxy.ask('/livez')).status).toBeOneOf([502, 503])

      await behind.server.start()
      await expect.poll(() => behind.proxy.ask('/livez'), { timeout: 15_000 }).toMatchObject({ status: 200 })
      await behind.server.call('create_message', { conversation: conversation.id, body: 'Hello' }, 'user/bob')
      await using again = await open(behind.proxy.reached, trusting)
      const greeting = await again.command('connect', { token: await behind.server.token('alice'), cursor })
      expect(greeting.resumed).toBe(true)
      expect((await again.next()).data).toMatchObject({ record_type: 'message', record: { body: 'Hello' } })
    },
  )

  proxyTest(`DEPLOY ${name} sends who comes without TLS to where there is some`, async () => {
    await using behind = await startBehind(name)
    const { status, location } = await behind.proxy.askPlainly('/v2/socket?a=b')
    expect(status).toBe(301)
    expect(location).toMatch(/^https:\/\/127\.0\.0\.1(:\d+)?\/v2\/socket\?a=b$/)
  })
})

test.each([
  ['deploy/nginx.conf', /proxy_(?:read|send)_timeout (\d+)s;/g, 2],
  ['deploy/haproxy.cfg', /timeout tunnel (\d+)s$/gm, 1],
])('S5 %s waits longer for a session than the server does between its pings', (file, timeout, count) => {
  const seconds = [...readFileSync(join(root, file), 'utf8').matchAll(timeout)].map(([, seconds]) => Number(seconds))
  expect(seconds).toHaveLength(count)
  for (const patience of seconds) expect(patience * 1000).toBeGreaterThan(2 * pingIntervalMs)
})
