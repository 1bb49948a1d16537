import { expect, test } from 'vitest'
import { openNats } from '../../src/broker/nats.ts'
import { readNatsAddress } from '../../src/broker/nats-address.ts'

test('BROKER a NATS URL has a host, and a port unless it is the usual one', () => {
  const bare = { tls: false, credentials: null }
  expect(readNatsAddress('nats://nats')).toEqual({ ...bare, servers: ['nats:4222'] })
  expect(readNatsAddress('nats://10.0.0.1:80/')).toEqual({ ...bare, servers: ['10.0.0.1:80'] })
  expect(readNatsAddress('nats://[::1]:4333')).toEqual({ ...bare, servers: ['[::1]:4333'] })
  expect(readNatsAddress('tls://nats.example.com')).toEqual({ ...bare, servers: ['nats.example.com:4222'], tls: true })
})

test('BROKER several NATS URLs are parted by commas, and what lets one in holds for all', () => {
  const all = { servers: ['a:4222', 'b:4333', 'c:4222'], tls: true, credentials: { user: 'me', pass: 'p,@:/ é' } }
  const who = 'me:p%2C%40%3A%2F%20%C3%A9@'
  expect(readNatsAddress(`tls://${who}a,tls://b:4333, tls://c`)).toEqual(all)
  expect(readNatsAddress(`tls://a,tls://${who}b:4333,tls://${who}c`)).toEqual(all)
})

test('BROKER a user without a password is a token', () => {
  expect(readNatsAddress('nats://s3cr%25t@nats')?.credentials).toEqual({ token: 's3cr%t' })
})

test.each([
  '',
  'nats',
  'nats:4222',
  'nats://',
  'nats://:4222',
  'nats://a:99999',
  'nats://a:x',
  'nats://a/path',
  'nats://a?query',
  'nats://a#part',
  'nats://:password@a',
  'nats://bad%escape@a',
  'nats://bad%ff@a',
  'nats://a b',
  'nats://a,',
  ',nats://a',
  'nats://a,,nats://b',
  'nats://a,tls://b',
  'nats://one:x@a,nats://other:x@b',
  'nats://one:x@a,nats://one:y@b',
  'http://a',
  'ws://a',
  'NATS://a',
])('BROKER %j is no URL of NATS servers, and is not repeated', (text) => {
  expect(readNatsAddress(text)).toBeNull()
  expect(() => openNats(text, 'fanfare.test', () => {})).toThrow(/^this is no URL of NATS servers$/)
})
