/** Where a connection comes from, as its limits count it (L2, L3): the peer, or what a trusted proxy says of him. */
import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { networkOf } from '../../src/engine/network.ts'
import { open } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { TrustedProxies } from '../../src/transport/address.ts'

const proxies = new TrustedProxies(['127.0.0.1', '10.0.0.0/8', '2001:db8:1::/48', '::1'])

/** Whom a request from `peer` counts for, with what its proxies said. */
const client = (peer: string, said?: string) =>
  proxies.clientOf({
    socket: { remoteAddress: peer },
    headers: said === undefined ? {} : { 'x-forwarded-for': said },
  } as unknown as IncomingMessage)

describe('X-Forwarded-For', () => {
  it.each([
    ['a peer that says nothing of others', '203.0.113.7', undefined, '203.0.113.7'],
    ['a peer that is no proxy, whatever he says', '203.0.113.7', '198.51.100.1', '203.0.113.7'],
    ['a peer next to a trusted network', '11.0.0.1', '198.51.100.1', '11.0.0.1'],
    ['a proxy', '127.0.0.1', '203.0.113.7', '203.0.113.7'],
    ['a proxy that says nothing', '127.0.0.1', undefined, '127.0.0.1'],
    ['a proxy with an empty header', '127.0.0.1', '', '127.0.0.1'],
    ['a proxy of a network', '10.1.2.3', '203.0.113.7', '203.0.113.7'],
    ['a proxy behind another', '10.1.2.3', '203.0.113.7, 10.9.9.9', '203.0.113.7'],
    ['what the client says himself', '10.1.2.3', '198.51.100.1, 203.0.113.7', '203.0.113.7'],
    ['a client that names proxies of ours', '10.1.2.3', '127.0.0.1, 10.0.0.1, 203.0.113.7', '203.0.113.7'],
    ['proxies alone', '10.1.2.3', '127.0.0.1, 10.0.0.1', '127.0.0.1'],
    ['something that is no address', '10.1.2.3', '203.0.113.7, unknown', '10.1.2.3'],
    ['something else behind a proxy of ours', '10.1.2.3', 'unknown, 10.9.9.9', '10.9.9.9'],
    ['a name', '10.1.2.3', 'localhost', '10.1.2.3'],
    ['a port beside it', '10.1.2.3', '203.0.113.7:4711', '203.0.113.7'],
    ['IPv6 with a port', '10.1.2.3', '[2001:db8:2::7]:4711', '2001:db8:2::7'],
    ['IPv6 in brackets', '10.1.2.3', '[2001:db8:2::7]', '2001:db8:2::7'],
    ['IPv6 behind a proxy of a network', '2001:db8:1:ffff::1', '2001:db8:2::7', '2001:db8:2::7'],
    ['IPv6 of another network', '2001:db8:2::1', '203.0.113.7', '2001:db8:2::1'],
    ['a proxy that a socket for both kinds tells as IPv6', '::ffff:10.1.2.3', '203.0.113.7', '203.0.113.7'],
    ['a client so told', '::ffff:203.0.113.7', undefined, '203.0.113.7'],
    ['a client so told by a proxy', '127.0.0.1', '::FFFF:203.0.113.7', '203.0.113.7'],
    ['a connection that has gone', '', '203.0.113.7', ''],
  ])('L3 of %s: %s, %s', (_what, peer, said, expected) => {
    expect(client(peer, said)).toBe(expected)
  })

  it('L2, L3 where the proxy is trusted it decides whom a session counts for', async () => {
    const limits = { unauthenticatedPerAddress: 1, sessionsPerSecondPerAddress: 0.001, sessionsBurstPerAddress: 2 }
    await using server = await startServer({ limits, trustedProxies: ['127.0.0.0/8'] })
    await using opened = new AsyncDisposableStack()
    const openFrom = async (address: string) => opened.use(await open(server, from(address)))
    const first = await openFrom('203.0.113.1')
    const others = [await openFrom('203.0.113.2'), await openFrom('198.51.100.1, 203.0.113.3')]
    expect(await (await openFrom('203.0.113.1')).closed).toEqual(rateLimited)
    await expect(openFrom('203.0.113.1')).rejects.toThrow('429')
    for (const session of [first, ...others]) await session.command('connect', { token: await server.token('alice') })
  })

  it('L2, L3 where it is not trusted it changes nothing', async () => {
    const limits = { unauthenticatedPerAddress: 1, sessionsPerSecondPerAddress: 0.001, sessionsBurstPerAddress: 2 }
    await using server = await startServer({ limits, trustedProxies: ['10.0.0.0/8'] })
    await using opened = new AsyncDisposableStack()
    const openFrom = async (address: string) => opened.use(await open(server, from(address)))
    await openFrom('203.0.113.1')
    expect(await (await openFrom('203.0.113.2')).closed).toEqual(rateLimited)
    await expect(openFrom('203.0.113.3')).rejects.toThrow('429')
  })
})

const from = (address: string) => ({ headers: { 'x-forwarded-for': address } })
const rateLimited = { code: 4429, reason: 'rate_limited' }

describe('networks', () => {
  it.each([
    ['203.0.113.7', '203.0.113.7'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['2001:DB8:0:0:ffff:ffff:ffff:ffff', '2001:db8:0:0::/64'],
    ['2001:0db8:0000:0000:0001::', '2001:db8:0:0::/64'],
    ['2001:db8:0:1::1', '2001:db8:0:1::/64'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['fe80::a:b:c:d%eth1:0', 'fe80:0:0:0::/64'],
    ['', ''],
  ])('L2, L3 %j counts as %j, for who has one address of an IPv6 network has them all', (address, network) => {
    expect(networkOf(address)).toBe(network)
  })
})
