import { expect, vi } from 'vitest'
import { entry, newUser, patience, settled, taken } from '../../src/testing/broker-contract.ts'
import { natsTest, startNats } from '../../src/testing/nats.ts'
import { startProxy, type TcpProxy } from '../../src/testing/tcp-proxy.ts'
import { type NatsNode, startNode } from './nats-stage.ts'

/** Through the proxy. */
function urlOf(proxy: TcpProxy): string {
  return `nats://127.0.0.1:${proxy.port}`
}

async function connectedAgain(node: NatsNode): Promise<void> {
  await vi.waitFor(() => expect(node.broker.connected).toBe(true), patience)
}

async function cutOff(node: NatsNode): Promise<void> {
  await vi.waitFor(() => expect(node.broker.connected).toBe(false), patience)
}

natsTest('BROKER a server that falls silent while its connections stay is given up, and found again', async () => {
  await using nats = await startNats()
  await using a = await startNode(nats.url)
  await using b = await startNode(nats.url)
  const user = newUser()
  b.broker.subscribe(user)
  await settled(b, a)
  nats.pause()
  await cutOff(a)
  await cutOff(b)
  a.broker.publish(entry(1), null)
  nats.goOn()
  await connectedAgain(a)
  await connectedAgain(b)
  await vi.waitFor(() => expect(Math.min(a.interruptions, b.interruptions)).toBeGreaterThan(0), patience)
  a.broker.publish(entry(2), [user])
  expect(await taken(b, 1)).toEqual([entry(2)])
})

natsTest('BROKER a pause that is shorter than a silence loses nothing, and nobody is told', async () => {
  await using nats = await startNats()
  await using a = await startNode(nats.url)
  await using b = await startNode(nats.url)
  nats.pause()
  a.broker.publish(entry(1), null)
  nats.goOn()
  expect(await taken(b, 1)).toEqual([entry(1)])
  expect([a, b].map(({ interruptions, troubles }) => [interruptions, troubles])).toEqual(Array(2).fill([0, []]))
})

natsTest(
  'BROKER a node whose line was cut is told, and so are the others, who may miss what it published',
  async () => {
    await using nats = await startNats()
    await using proxy = await startProxy({ port: nats.port })
    await using a = await startNode(nats.url)
    await using b = await startNode(urlOf(proxy))
    proxy.set('toServer', { silent: true })
    b.broker.publish(entry(1), null)
    proxy.cut()
    proxy.set('toServer', { silent: false })
    await vi.waitFor(() => expect([a.interruptions, b.interruptions]).toEqual([1, 1]), patience)
    expect(a.broker.connected && b.broker.connected).toBe(true)
    expect(a.received).toEqual([])
    expect(a.troubles).toEqual([])
    expect(b.troubles).toEqual([
      'the connection to the broker is lost; until it is back, what happens here reaches other nodes late',
      'the broker is reached again',
    ])
  },
)

natsTest('BROKER a line whose other end has vanished is given up, also while its buffers are full', async () => {
  await using nats = await startNats()
  await using proxy = await startProxy({ port: nats.port })
  await using a = await startNode(nats.url)
  await using b = await startNode(urlOf(proxy))
  for (const connection of proxy.connections) connection.set('both', { silent: true })
  for (let position = 1; position <= 40; position++) b.broker.publish(entry(position, 'x'.repeat(1_000_000)), null)
  await cutOff(b)
  await connectedAgain(b)
  await vi.waitFor(() => expect(a.interruptions).toBe(1), patience)
  b.broker.publish(entry(100), null)
  expect(await taken(a, 1)).toEqual([entry(100)])
})

natsTest('BROKER no more than 64 MB waits for a server that takes nothing', async () => {
  await using nats = await startNats()
  await using proxy = await startProxy({ port: nats.port })
  await using a = await startNode(urlOf(proxy))
  proxy.set('both', { silent: true })
  const megabyte = entry(1, 'x'.repeat(1_000_000))
  // The line goes within a few turns, and not only after a silence.
  const turns = async () => {
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve))
    return a.broker.connected
  }
  for (let count = 0; count < 60; count++) a.broker.publish(megabyte, null)
  expect(await turns()).toBe(true)
  for (let count = 0; count < 10; count++) a.broker.publish(megabyte, null)
  expect(await turns()).toBe(false)
})

natsTest('BROKER a server that takes what it is sent is not given up, however much that is', async () => {
  await using nats = await startNats()
  await using a = await startNode(nats.url)
  await using b = await startNode(nats.url)
  const megabyte = entry(1, 'x'.repeat(1_000_000))
  const nobody = newUser()
  // More than may wait, in less than the second after which a server is asked anyway.
  for (let ten = 1; ten <= 15; ten++) {
    for (let count = 0; count < 10; count++) a.broker.publish(megabyte, [nobody])
    a.broker.publish(entry(ten), null)
    expect(await taken(b, 1)).toEqual([entry(ten)])
  }
  expect([a.broker.connected, a.interruptions, b.interruptions]).toEqual([true, 0, 0])
})

natsTest('BROKER a node that reads too slowly is cut off by the server, and told', async () => {
  await using nats = await startNats({ config: 'max_pending: 2MB' })
  await using proxy = await startProxy({ port: nats.port })
  await using a = await startNode(nats.url)
  await using b = await startNode(urlOf(proxy))
  for (const connection of proxy.connections) connection.set('toClient', { silent: true })
  for (let position = 1; position <= 40; position++) a.broker.publish(entry(position, 'x'.repeat(1_000_000)), null)
  await vi.waitFor(async () => expect((await nats.traffic()).slow_consumers).toBeGreaterThan(0), patience)
  await vi.waitFor(() => expect(b.interruptions).toBeGreaterThan(0), patience)
  await settled(b, a)
  a.broker.publish(entry(100), null)
  expect(await taken(b, 1)).toEqual([entry(100)])
})

natsTest(
  'BROKER a publication that the server would not take is left out, told once, and the others are told',
  async () => {
    await using nats = await startNats({ config: 'max_payload: 2000' })
    await using a = await startNode(nats.url)
    await using b = await startNode(nats.url)
    a.broker.publish(entry(1, 'x'.repeat(2_000)), null)
    a.broker.publish(entry(2, 'x'.repeat(2_000)), [newUser()])
    a.broker.publish(entry(3, 'x'.repeat(1_800)), null)
    expect(await taken(b, 1)).toEqual([entry(3, 'x'.repeat(1_800))])
    expect([a.interruptions, b.interruptions]).toEqual([0, 2])
    expect(a.troubles).toEqual([
      'the broker takes no more than 2000 bytes, so a longer publication was left out; raise its max_payload',
    ])
    expect(a.broker.connected).toBe(true)
  },
)

natsTest('BROKER what can not be delivered is told, and what follows it comes', async () => {
  await using nats = await startNats()
  await using a = await startNode(nats.url)
  await using b = await startNode(nats.url)
  const { push } = b.received
  b.received.push = (...publications) => {
    b.received.push = push
    throw new Error(`no room for ${publications.length}`)
  }
  a.broker.publish(entry(1), null)
  a.broker.publish(entry(2), null)
  expect(await taken(b, 1)).toEqual([entry(2)])
  expect(b.troubles).toEqual([
    expect.stringMatching(/^what another node published could not be delivered: Error: no room for 1\n +at /),
  ])
})

natsTest(
  'BROKER a node that finds a server which takes its connection and says nothing starts all the same',
  async () => {
    await using nats = await startNats()
    nats.pause()
    await using a = await startNode(nats.url)
    expect(a.broker.connected).toBe(false)
    expect(a.troubles).toEqual([expect.stringContaining("the broker can't be reached (timeout)")])
    nats.goOn()
    await connectedAgain(a)
    expect(a.interruptions).toBe(1)
  },
)
