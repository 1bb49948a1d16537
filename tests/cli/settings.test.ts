import { writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import type { Command } from '../../src/cli/commands.ts'
import type { Environment } from '../../src/cli/environment.ts'
import { optionsOf, variableOf } from '../../src/cli/options.ts'
import { readAsked, readSettings, secretsInSight } from '../../src/cli/settings.ts'
import { defaultLimits } from '../../src/engine/config.ts'
import { OperatorError } from '../../src/engine/operator-error.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** Two texts that differ from each other and from the default, and what they mean, for each option of the table. */
const samples: Readonly<
  Record<string, readonly [text: string, value: unknown, otherText: string, otherValue: unknown]>
> = {
  host: ['::1', '::1', '127.0.0.2', '127.0.0.2'],
  port: ['0', 0, '65535', 65_535],
  data: ['/a', '/a', 'b c', 'b c'],
  'database-url': ['postgres://a/b', 'postgres://a/b', 'postgresql:///b?host=/c', 'postgresql:///b?host=/c'],
  'broker-url': ['nats://a', 'nats://a', 'tls://b:4333,tls://c', 'tls://b:4333,tls://c'],
  origins: ['https://a.example', ['https://a.example'], 'http://b.example:81', ['http://b.example:81']],
  'trusted-proxies': ['127.0.0.1', ['127.0.0.1'], '::1, 10.0.0.0/8', ['::1', '10.0.0.0/8']],
  'jwks-url': ['https://a.example/keys', 'https://a.example/keys', 'http://[::1]:8080/', 'http://[::1]:8080/'],
  'token-issuer': ['https://a.example/', 'https://a.example/', 'b c', 'b c'],
  'token-audience': ['chat', ['chat'], 'a, b', ['a', 'b']],
  'tls-cert': ['/a', '/a', 'b c', 'b c'],
  'tls-key': ['/a', '/a', 'b c', 'b c'],
  listeners: ['1', true, '0', false],
  conversations: ['backend', 'backend', 'everyone', 'everyone'],
  'retention-days': ['7', 7, '0', 0],
  'queue-bytes': ['7', 7, '0', 0],
  'queues-bytes': ['7', 7, '0', 0],
  'drain-ms': ['7', 7, '0', 0],
  'log-level': ['debug', 'debug', 'silent', 'silent'],
  'metrics-port': ['7', 7, '0', 0],
  'metrics-host': ['::1', '::1', '127.0.0.2', '127.0.0.2'],
  'no-limits': ['true', true, 'false', false],
  ...Object.fromEntries(limitNames().map((name) => [name, ['7', 7, '0', 0]])),
}

function limitNames(): readonly string[] {
  return optionsOf('serve')
    .filter(({ key }) => Object.hasOwn(defaultLimits, key))
    .map(({ name }) => name)
}

/** The message of the error that `read` throws, which must be one for the operator. */
function complaint(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    expect(error).toBeInstanceOf(OperatorError)
    return (error as Error).message
  }
  throw new Error('it was taken')
}

describe.each(optionsOf('serve'))('--$name', (option) => {
  const variable = variableOf(option)
  const sample = samples[option.name]
  if (!sample) throw new Error(`--${option.name} has no sample`)
  const [text, value, otherText, otherValue] = sample

  test('CLI the command line wins over the environment, and the environment over the default', () => {
    const read = (args: readonly string[], environment = {}) => readSettings('serve', args, environment)[option.key]
    expect(read([])).toEqual(option.default)
    expect(read([], { [variable]: text })).toEqual(value)
    expect(read([`--${option.name}=${otherText}`], { [variable]: text })).toEqual(otherValue)
    expect(read([`--${option.name}=${text}`], { [variable]: otherText })).toEqual(value)
  })

  test('CLI an empty variable counts as unset', () => {
    expect(readSettings('serve', [], { [variable]: '' })[option.key]).toEqual(option.default)
  })

  test('CLI a value may follow the name, and a flag needs none', () => {
    const args = option.kind.placeholder === null ? [`--${option.name}`] : [`--${option.name}`, text]
    expect(readSettings('serve', args, {})[option.key]).toEqual(value)
  })

  test('CLI a bad value is told with what was given and what is taken', () => {
    const flawed = ['origins', 'trusted-proxies'].includes(option.name) ? '*' : ''
    const was = option.isSecret ? 'is something else' : `is ${JSON.stringify(flawed)}`
    expect(complaint(() => readSettings('serve', [`--${option.name}=${flawed}`], {}))).toBe(
      `--${option.name} ${was}, but it takes ${option.kind.takes}; see fanfare serve --help`,
    )
  })
})

test('CLI the names of the variables are these, and no others', () => {
  expect(optionsOf('serve').map(variableOf)).toEqual([
    'FANFARE_HOST',
    'FANFARE_PORT',
    'FANFARE_DATA',
    'FANFARE_DATABASE_URL',
    'FANFARE_BROKER_URL',
    'FANFARE_ORIGINS',
    'FANFARE_TRUSTED_PROXIES',
    'FANFARE_JWKS_URL',
    'FANFARE_TOKEN_ISSUER',
    'FANFARE_TOKEN_AUDIENCE',
    'FANFARE_TLS_CERT',
    'FANFARE_TLS_KEY',
    'FANFARE_LISTENERS',
    'FANFARE_CONVERSATIONS',
    'FANFARE_RETENTION_DAYS',
    'FANFARE_QUEUE_BYTES',
    'FANFARE_QUEUES_BYTES',
    'FANFARE_DRAIN_MS',
    'FANFARE_LOG_LEVEL',
    'FANFARE_METRICS_PORT',
    'FANFARE_METRICS_HOST',
    'FANFARE_NO_LIMITS',
    'FANFARE_MAX_FRAME_BYTES',
    'FANFARE_MAX_BODY_BYTES',
    'FANFARE_MAX_METADATA_BYTES',
    'FANFARE_MAX_PARTICIPANTS',
    'FANFARE_MAX_SESSIONS_PER_USER',
    'FANFARE_MAX_CONVERSATIONS_PER_USER',
    'FANFARE_MAX_UNAUTHENTICATED_PER_ADDRESS',
    'FANFARE_MAX_PAGE_LENGTH',
    'FANFARE_MAX_LISTENERS_PER_USER',
    'FANFARE_MAX_TYPING_WATCHES_PER_SESSION',
    'FANFARE_MAX_READS_AT_ONCE',
    'FANFARE_MAX_COMMANDS_PER_SECOND',
    'FANFARE_MAX_COMMANDS_BURST',
    'FANFARE_MAX_MESSAGES_PER_SECOND',
    'FANFARE_MAX_MESSAGES_BURST',
    'FANFARE_MAX_TYPING_PER_SECOND',
    'FANFARE_MAX_TYPING_BURST',
    'FANFARE_MAX_SESSIONS_PER_SECOND_PER_ADDRESS',
    'FANFARE_MAX_SESSIONS_BURST_PER_ADDRESS',
  ])
})

test('CLI dev takes the same options, and has listeners on unless told otherwise', () => {
  expect(optionsOf('dev').map(({ name }) => name)).toEqual(optionsOf('serve').map(({ name }) => name))
  expect(readSettings('dev', [], {}).listeners).toBe(true)
  expect(readSettings('dev', ['--listeners=0'], {}).listeners).toBe(false)
  expect(readSettings('dev', [], { FANFARE_LISTENERS: '0' }).listeners).toBe(false)
  expect(readSettings('serve', [], {}).listeners).toBe(false)
})

test('L4 every limit has an option, whose default is the limit of the contract', () => {
  const byKey = new Map(optionsOf('serve').map((option) => [option.key as string, option.default]))
  for (const [key, value] of Object.entries(defaultLimits)) expect([key, byKey.get(key)]).toEqual([key, value])
})

test.each(['127.0.0.1', '::1', 'localhost'])('CLI dev listens on %s', (host) => {
  expect(readSettings('dev', ['--host', host], {}).host).toBe(host)
})

test.each([
  '0.0.0.0',
  '::',
  '192.168.0.1',
  '128.0.0.1',
  '127.0.0.1x',
  'LOCALHOST.',
  '::ffff:10.0.0.1',
  'localhost.example.com',
  '127.0.0.1.example.com',
])('CLI dev refuses to listen on %s, which others may reach, wherever it was said', (host) => {
  const takes =
    'takes a host that only this machine can reach (127.0.0.1, ::1, localhost), since dev gives tokens to whoever asks'
  expect(complaint(() => readSettings('dev', ['--host', host], {}))).toBe(
    `--host is "${host}", but it ${takes}; see fanfare dev --help`,
  )
  expect(complaint(() => readSettings('dev', [], { FANFARE_HOST: host }))).toBe(
    `FANFARE_HOST is "${host}", but it ${takes}; see fanfare dev --help`,
  )
  expect(readSettings('serve', ['--host', host], {}).host).toBe(host)
})

test('CLI origins come with commas, several times, or both, and the command line replaces those of the environment', () => {
  const read = (...args: readonly string[]) =>
    readSettings('serve', args, { FANFARE_ORIGINS: 'https://from.environment.example' }).origins
  expect(read('--origins', 'https://a.example, https://b.example,')).toEqual(['https://a.example', 'https://b.example'])
  expect(read('--origins=https://a.example', '--origins', 'http://localhost:3000,capacitor://localhost')).toEqual([
    'https://a.example',
    'http://localhost:3000',
    'capacitor://localhost',
  ])
  expect(read('--origins=')).toEqual([])
  expect(read()).toEqual(['https://from.environment.example'])
})

test.each([
  ['*', 'would be anybody'],
  ['https://*.example.com', 'no browser sends a pattern'],
  ['null', 'is what any sandboxed page sends'],
  ['example.com', 'has no scheme'],
  ['https://example.com/', 'has a path'],
  ['https://example.com/chat', 'has a path'],
  ['https://Example.com', 'has a capital'],
  ['https://example.com:443', 'has the usual port, which browsers leave out'],
  ['http://example.com:80', 'has the usual port, which browsers leave out'],
  ['https://user@example.com', 'has a user'],
  ['https://example.com?a', 'has a query'],
  ['https://', 'has no host'],
  ['https://good.example,https://bad.example/', 'has one good and one bad origin'],
])('CLI an origin that could never match, or matches too much, is refused: %s %s', (text) => {
  expect(complaint(() => readSettings('serve', ['--origins', text], {}))).toContain(
    `--origins is "${text}", but it takes`,
  )
})

test.each([
  ['port', '-1'],
  ['port', '65536'],
  ['port', '8080x'],
  ['port', '0x50'],
  ['port', '1e3'],
  ['port', ' 80'],
  ['port', '8080.0'],
  ['port', 'tcp://10.0.0.1:8080'],
  ['host', 'two words'],
  ['host', 'http://127.0.0.1'],
  ['conversations', 'Backend'],
  ['conversations', 'toString'],
  ['trusted-proxies', 'proxy.example.com'],
  ['trusted-proxies', '10.0.0.0/33'],
  ['trusted-proxies', '::1/129'],
  ['trusted-proxies', '0.0.0.0/0'],
  ['trusted-proxies', '::/0'],
  ['trusted-proxies', '10.0.0.0/8/8'],
  ['trusted-proxies', '10.0.0/8'],
  ['trusted-proxies', 'fe80::1%eth0'],
  ['trusted-proxies', '127.0.0.1,*'],
  ['jwks-url', 'auth.example.com/jwks.json'],
  ['jwks-url', 'file:///etc/jwks.json'],
  ['jwks-url', 'https://user:password@auth.example.com/jwks.json'],
  ['jwks-url', 'https://auth.example.com/#keys'],
  ['jwks-url', ' https://auth.example.com/'],
  ['token-issuer', 'two\nlines'],
  ['token-audience', ' ,'],
  ['token-audience', 'a,b\0'],
  ['max-frame-bytes', '64k'],
  ['max-frame-bytes', '9007199254740993'],
  ['max-participants', '-5'],
])('CLI --%s refuses %s', (name, text) => {
  expect(complaint(() => readSettings('serve', [`--${name}`, text], {}))).toContain(
    `--${name} is ${JSON.stringify(text)}, but it takes`,
  )
  const variable = variableOf({ name })
  expect(complaint(() => readSettings('serve', [], { [variable]: text }))).toContain(
    `${variable} is ${JSON.stringify(text)}, but it takes`,
  )
})

test('CLI a value with line breaks is told in one line', () => {
  expect(complaint(() => readSettings('serve', [], { FANFARE_PORT: '80\n81' }))).toMatch(
    /^FANFARE_PORT is "80\\n81", .*$/,
  )
})

test.each<[Command, readonly string[], string]>([
  ['serve', ['--prot', '80'], 'unknown option --prot; see fanfare serve --help'],
  ['serve', ['--token-secret=hush'], 'unknown option --token-secret; see fanfare serve --help'],
  ['dev', ['-p8080'], 'unknown option -p; see fanfare dev --help'],
  ['serve', ['--no-listeners'], 'unknown option --no-listeners; see fanfare serve --help'],
  ['serve', ['--__proto__=1'], 'unknown option --__proto__; see fanfare serve --help'],
  ['serve', ['--port'], '--port needs a value: a port from 0 to 65535; see fanfare serve --help'],
  ['serve', ['--data', '--port', '80'], '--data needs a value: the path of a folder; see fanfare serve --help'],
  ['dev', ['8080'], 'fanfare dev takes options only, not "8080"; see fanfare dev --help'],
  ['serve', ['--listeners', '1'], 'fanfare serve takes options only, not "1"; see fanfare serve --help'],
  ['serve', ['--', '--port'], 'fanfare serve takes options only, not "--port"; see fanfare serve --help'],
])('CLI fanfare %s %j is refused by name, without repeating what may be a secret', (command, args, message) => {
  expect(complaint(() => readSettings(command, args, {}))).toBe(message)
})

test.each([
  [['alice'], 'user/alice'],
  [['user/alice'], 'user/alice'],
  [['--ttl', '60', 'a.b@c:d~e-f_g'], 'user/a.b@c:d~e-f_g'],
  [['--', '-x'], 'user/-x'],
])('CLI a user may be named with or without user/, before or behind options: %j', (args, user) => {
  expect(readAsked('token', args, {}).operand).toBe(user)
})

test.each<[Command, readonly string[], string]>([
  ['token', [], "fanfare token needs USER: a user's id,"],
  ['token', ['alice', 'bob'], 'fanfare token takes one USER, and not "bob" besides'],
  ['rotate', ['user/'], 'USER is "user/", but it takes'],
  ['rotate', ['a/b'], 'USER is "a/b", but it takes'],
  ['disconnect', ['user/user/a'], 'USER is "user/user/a", but it takes'],
  ['disconnect', ['a b'], 'USER is "a b", but it takes'],
  ['backup', [], 'fanfare backup needs FILE: the path of a file that is not there yet'],
  ['backup', [''], 'FILE is "", but it takes'],
  ['doctor', ['a'], 'fanfare doctor takes options only, not "a"'],
  ['token', ['a', '--port=1'], 'unknown option --port'],
  ['token', ['a', '--ttl=0'], '--ttl is "0", but it takes'],
  ['token', ['a', '--ttl=31536001'], '--ttl is "31536001", but it takes'],
  ['rotate', ['a', '--url=ftp://a'], '--url is "ftp://a", but it takes'],
  ['rotate', ['a', '--url=http://key@a'], '--url is "http://key@a", but it takes'],
])('CLI fanfare %s %j is refused', (command, args, message) => {
  expect(complaint(() => readAsked(command, args, {}))).toContain(message)
})

test('CLI what is meant for one call comes from the command line alone', () => {
  const environment = { FANFARE_TTL: '5', FANFARE_REVOKE: '1', FANFARE_TO: 'postgres:///a', FANFARE_TO_FILE: '/b' }
  expect(readAsked('token', ['alice'], environment).settings.ttl).toBe(3_600)
  expect(readAsked('rotate', ['alice'], environment).settings.revoke).toBe(false)
  expect(readSettings('copy', [], environment).to).toBeNull()
})

test('CLI of an option that is given twice the last counts', () => {
  expect(readSettings('serve', ['--port', '80', '--port=81'], {}).port).toBe(81)
})

describe('an option that may hold a secret', () => {
  const secret = 'nats://fanfare:hush@nats'
  const read = (environment: Environment, ...args: readonly string[]) =>
    readSettings('serve', args, environment).brokerUrl

  test('CLI it comes from its variable, or from the file that the one with _FILE names', () => {
    using folder = temporaryFolder()
    writeFileSync(folder.in('given'), `${secret}\n`)
    expect(read({ FANFARE_BROKER_URL: secret })).toBe(secret)
    expect(read({ FANFARE_BROKER_URL: '', FANFARE_BROKER_URL_FILE: folder.in('given') })).toBe(secret)
    expect(read({ FANFARE_BROKER_URL_FILE: folder.in('given') }, '--broker-url=nats://a')).toBe('nats://a')
    expect(complaint(() => read({ FANFARE_BROKER_URL: secret, FANFARE_BROKER_URL_FILE: folder.in('given') }))).toBe(
      'FANFARE_BROKER_URL and FANFARE_BROKER_URL_FILE are both set; unset one of them',
    )
    expect(complaint(() => read({ FANFARE_BROKER_URL_FILE: folder.in('gone') }))).toBe(
      `FANFARE_BROKER_URL_FILE names ${folder.in('gone')}, which can't be read (ENOENT); name a readable file of text`,
    )
  })

  test.each([secret, 'nats://t0ken@nats', `nats://a,${secret}`, 'http://fanfare:hush@nats'])(
    'CLI with a secret in it the command line takes it, and tells that it is in sight: %s',
    (url) => {
      expect(secretsInSight('serve', ['--port', '1', `--broker-url=${url}`])).toEqual(['--broker-url'])
      expect(secretsInSight('serve', ['--port', '1', '--broker-url=nats://a'])).toEqual([])
    },
  )

  test.each([
    'postgres://fanfare:hush@db/chat',
    'postgresql:///chat?host=/run&password=hush',
    'postgres://fanfare:hush@db:a port/chat',
    'http://fanfare:hush@db',
  ])('CLI so it is with that of a database, when it has a password: %s', (url) => {
    expect(secretsInSight('serve', [`--database-url=${url}`])).toEqual(['--database-url'])
    const said = complaint(() => readSettings('serve', [], { FANFARE_DATABASE_URL: `x${url}` }))
    expect(said).toMatch(/^FANFARE_DATABASE_URL is something else, but it takes postgres:/)
  })

  test('CLI a bad value of it is not repeated, wherever it was said', () => {
    using folder = temporaryFolder()
    writeFileSync(folder.in('given'), 'hush')
    const complaints = [
      complaint(() => read({}, '--broker-url=hush')),
      complaint(() => read({ FANFARE_BROKER_URL: 'hush' })),
      complaint(() => read({ FANFARE_BROKER_URL_FILE: folder.in('given') })),
      complaint(() => readSettings('copy', ['--to', 'postgres:/fanfare:hush@db/chat'], {})),
    ]
    for (const each of complaints) expect(each).not.toContain('hush')
    expect(complaints[2]).toContain(`the secret in ${folder.in('given')} (FANFARE_BROKER_URL_FILE) is something else`)
  })
})
