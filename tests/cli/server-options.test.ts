import { readdirSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import type { Environment } from '../../src/cli/environment.ts'
import { serverOptions } from '../../src/cli/server-options.ts'
import { defaultConfig, defaultLimits, type Limits, noLimits } from '../../src/engine/config.ts'
import { OperatorError } from '../../src/engine/operator-error.ts'
import { temporaryFolder } from './temporary-folder.ts'

test('CLI without options the server has the defaults of the contract', () => {
  using folder = temporaryFolder()
  expect(serverOptions('serve', ['--data', folder.in('data')], {})).toEqual({
    host: '127.0.0.1',
    port: 8080,
    dataFolder: folder.in('data'),
    tokenTrust: { secret: expect.stringMatching(/^[\w-]{43}$/), jwksUrl: null, issuer: null, audiences: [] },
    apiKeys: [expect.stringMatching(/^[\w-]{43}$/)],
    databaseUrl: null,
    brokerUrl: null,
    origins: [],
    trustedProxies: [],
    config: defaultConfig,
    demo: false,
    metrics: null,
    tls: null,
    log: expect.objectContaining({ level: 'info' }),
  })
  expect(readdirSync(folder.in('data')).sort()).toEqual(['api-key', 'token-secret'])
})

test('CLI dev has the demo page, and listeners', () => {
  using folder = temporaryFolder()
  const options = serverOptions('dev', ['--data', folder.in('data')], {})
  expect(options).toMatchObject({ host: '127.0.0.1', demo: true, config: { ...defaultConfig, listeners: true } })
})

test('CLI every other option reaches the server', () => {
  using folder = temporaryFolder()
  const args = [
    '--data',
    folder.path,
    '--host=::',
    '--port=81',
    '--origins=https://a.example',
    '--trusted-proxies=10.0.0.0/8',
    '--listeners',
    '--conversations=backend',
    '--log-level=error',
    '--metrics-host=::1',
    '--metrics-port=82',
    '--tls-cert=/cert',
    '--tls-key=/key',
  ]
  expect(serverOptions('serve', args, {})).toMatchObject({
    host: '::',
    port: 81,
    origins: ['https://a.example'],
    trustedProxies: ['10.0.0.0/8'],
    config: { listeners: true, conversations: 'backend' },
    log: { level: 'error' },
    metrics: { host: '::1', port: 82 },
    tls: { cert: '/cert', key: '/key' },
  })
})

const jwksUrl = 'https://auth.example.com/jwks.json'

test('S2 with a JWKS a token secret counts only where it was given, and dev has one for its page', () => {
  using folder = temporaryFolder()
  const args = ['--data', folder.path, '--jwks-url', jwksUrl, '--token-issuer=https://a', '--token-audience=chat,web']
  const trust = { secret: null, jwksUrl, issuer: 'https://a', audiences: ['chat', 'web'] }
  expect(serverOptions('serve', args, {}).tokenTrust).toEqual(trust)
  expect(readdirSync(folder.path)).toEqual(['api-key'])
  const secret = 'x'.repeat(32)
  expect(serverOptions('serve', args, { FANFARE_TOKEN_SECRET: secret }).tokenTrust).toEqual({ ...trust, secret })
  writeFileSync(folder.in('given'), `${secret}\n`)
  const fromFile = serverOptions('serve', args, { FANFARE_TOKEN_SECRET_FILE: folder.in('given') })
  expect(fromFile.tokenTrust).toEqual({ ...trust, secret })
  expect(() => serverOptions('serve', args, { FANFARE_TOKEN_SECRET: 'short' })).toThrow('needs 32 or more')

  const made = serverOptions('dev', args, {}).tokenTrust.secret
  expect(made).toMatch(/^[\w-]{43}$/)
  // One that is kept from before there was a JWKS was not asked for either.
  expect(serverOptions('serve', args, {}).tokenTrust).toEqual(trust)
})

test('CLI several API keys reach the server, wherever they come from', () => {
  using folder = temporaryFolder()
  const keys = (environment: Record<string, string>) =>
    serverOptions('serve', ['--data', folder.path], environment).apiKeys
  const [kept] = keys({})
  expect(keys({ FANFARE_API_KEY: 'old,new' })).toEqual(['old', 'new'])
  expect(keys({ FANFARE_API_KEY: ' old , new ,' })).toEqual(['old', 'new'])
  for (const text of ['old\nnew', 'old\r\nnew\r\n', '\nold,new\n\n']) {
    writeFileSync(folder.in('given'), text)
    expect(keys({ FANFARE_API_KEY_FILE: folder.in('given') })).toEqual(['old', 'new'])
  }
  writeFileSync(folder.in('api-key'), `${kept}\nnew\n`)
  expect(keys({})).toEqual([kept, 'new'])
})

const limitFlags: Readonly<Record<keyof Limits, string>> = {
  frameBytes: '--max-frame-bytes',
  bodyBytes: '--max-body-bytes',
  metadataBytes: '--max-metadata-bytes',
  participants: '--max-participants',
  sessionsPerUser: '--max-sessions-per-user',
  conversationsPerUser: '--max-conversations-per-user',
  unauthenticatedPerAddress: '--max-unauthenticated-per-address',
  pageLength: '--max-page-length',
  listenersPerUser: '--max-listeners-per-user',
  typingWatchesPerSession: '--max-typing-watches-per-session',
  readsAtOnce: '--max-reads-at-once',
  commandsPerSecond: '--max-commands-per-second',
  commandsBurst: '--max-commands-burst',
  messagesPerSecond: '--max-messages-per-second',
  messagesBurst: '--max-messages-burst',
  typingPerSecond: '--max-typing-per-second',
  typingBurst: '--max-typing-burst',
  sessionsPerSecondPerAddress: '--max-sessions-per-second-per-address',
  sessionsBurstPerAddress: '--max-sessions-burst-per-address',
}

test.each(Object.entries(limitFlags))(
  'L4 the limit %s is set by %s, and turned off by 0, and no other changes',
  (key, flag) => {
    using folder = temporaryFolder()
    const limits = (value: string) => serverOptions('serve', ['--data', folder.path, flag, value], {}).config.limits
    expect(limits('12345')).toEqual({ ...defaultLimits, [key]: 12_345 })
    expect(limits('0')).toEqual({ ...defaultLimits, [key]: 0 })
  },
)

test('L4 --no-limits turns all limits off, whatever else is said', () => {
  using folder = temporaryFolder()
  const limits = (args: readonly string[], environment = {}) =>
    serverOptions('serve', ['--data', folder.path, ...args], environment).config.limits
  expect(Object.values(noLimits)).toEqual(Object.values(defaultLimits).map(() => 0))
  expect(limits(['--no-limits'])).toEqual(noLimits)
  expect(limits(['--no-limits', '--max-participants=3'])).toEqual(noLimits)
  expect(limits([], { FANFARE_NO_LIMITS: '1' })).toEqual(noLimits)
  expect(limits(['--no-limits=0'], { FANFARE_NO_LIMITS: '1' })).toEqual(defaultLimits)
})

const shared = ['--database-url=postgres://fanfare@db.example/chat']

test('CLI serve makes no secret and no folder where nodes share a database, and wants those that they must have alike', () => {
  using folder = temporaryFolder()
  const read = (environment: Environment, ...more: readonly string[]) =>
    serverOptions('serve', ['--data', folder.in('data'), ...shared, ...more], environment)
  const key = { FANFARE_API_KEY: 'key' }
  const secret = { FANFARE_TOKEN_SECRET: 'x'.repeat(32) }
  const refusal = (names: string) =>
    new RegExp(`^nodes that share a database .* make none; set ${names}, the same at each .*$`)
  expect(() => read({})).toThrow(OperatorError)
  expect(() => read({})).toThrow(refusal('FANFARE_TOKEN_SECRET and FANFARE_API_KEY'))
  expect(() => read(key)).toThrow(refusal('FANFARE_TOKEN_SECRET'))
  expect(() => read(secret)).toThrow(refusal('FANFARE_API_KEY'))
  expect(() => read({}, '--jwks-url', jwksUrl)).toThrow(refusal('FANFARE_API_KEY'))
  const options = { databaseUrl: 'postgres://fanfare@db.example/chat', apiKeys: ['key'], brokerUrl: null }
  expect(read({ ...key, ...secret })).toMatchObject(options)
  expect(read(key, '--jwks-url', jwksUrl)).toMatchObject(options)
  expect(read({ ...key, ...secret }, '--broker-url=nats://nats')).toMatchObject({ brokerUrl: 'nats://nats' })
  writeFileSync(folder.in('given'), 'key')
  expect(read({ ...secret, FANFARE_API_KEY_FILE: folder.in('given') })).toMatchObject(options)
  expect(readdirSync(folder.path)).toEqual(['given'])
})

test('CLI dev, which is alone, keeps its secrets also with a database elsewhere', () => {
  using folder = temporaryFolder()
  expect(serverOptions('dev', ['--data', folder.in('data'), ...shared], {}).apiKeys).toHaveLength(1)
  expect(readdirSync(folder.in('data')).sort()).toEqual(['api-key', 'token-secret'])
})

test('CLI a broker is refused with the embedded database, which is for one server, before anything is made', () => {
  using folder = temporaryFolder()
  const read = () => serverOptions('serve', ['--data', folder.in('data'), '--broker-url=nats://nats'], {})
  expect(read).toThrow(OperatorError)
  expect(read).toThrow(
    /^the embedded database is for one server alone, .* leave --broker-url and FANFARE_BROKER_URL out$/,
  )
  expect(readdirSync(folder.path)).toEqual([])
})
