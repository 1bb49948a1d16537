import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { serverOptions } from '../../src/cli/server-options.ts'
import { defaultConfig, defaultLimits, type Limits, noLimits } from '../../src/engine/config.ts'
import { temporaryFolder } from './temporary-folder.ts'

test('CLI without options the server has the defaults of the contract', () => {
  using folder = temporaryFolder()
  expect(serverOptions('serve', ['--data', folder.in('data')], {})).toEqual({
    host: '127.0.0.1',
    port: 8080,
    dataFolder: folder.in('data'),
    tokenSecret: expect.stringMatching(/^[\w-]{43}$/),
    apiKey: expect.stringMatching(/^[\w-]{43}$/),
    origins: [],
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
    config: { listeners: true, conversations: 'backend' },
    log: { level: 'error' },
    metrics: { host: '::1', port: 82 },
    tls: { cert: '/cert', key: '/key' },
  })
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
