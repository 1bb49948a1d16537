/** What is left of a server that could not start. */
import { readdir } from 'node:fs/promises'
import { expect, it } from 'vitest'
import { defaultConfig } from '../../src/engine/config.ts'
import { openLog } from '../../src/operator/log.ts'
import { startServer } from '../../src/server.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'

const trust = { secret: 'token-secret-of-a-test-32-bytes-long', jwksUrl: null, issuer: null, audiences: [] }

it.each([
  ['a token secret that is too short', { tokenTrust: { ...trust, secret: 'short' } }],
  ['a proxy that is no address', { trustedProxies: ['nowhere'] }],
])('CLI a server that is given %s opens no database', async (_what, wrong) => {
  using folder = temporaryFolder()
  const starting = startServer({
    host: '127.0.0.1',
    port: 0,
    dataFolder: folder.path,
    databaseUrl: null,
    tokenTrust: trust,
    apiKeys: ['api-key-of-a-test-that-is-long-enough'],
    brokerUrl: null,
    origins: [],
    trustedProxies: [],
    config: defaultConfig,
    demo: false,
    log: openLog('error', { write() {} }, false),
    metrics: null,
    tls: null,
    ...wrong,
  })
  await expect(starting).rejects.toThrow()
  expect(await readdir(folder.path)).toEqual([])
})
