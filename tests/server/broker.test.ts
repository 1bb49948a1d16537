import { expect, vi } from 'vitest'
import { patience } from '../../src/testing/broker-contract.ts'
import { natsTest, startNats } from '../../src/testing/nats.ts'
import { startServer } from '../../src/testing/start-server.ts'

natsTest('BROKER a server with a broker has one connection to it, for as long as it runs', async () => {
  await using nats = await startNats()
  const connections = async () => (await nats.traffic()).connections
  {
    await using server = await startServer({ brokerUrl: nats.url })
    expect(await connections()).toBe(1)
    expect((await server.call('get_conversations', {}, 'user/alice')).status).toBe(200)
  }
  await vi.waitFor(async () => expect(await connections()).toBe(0), patience)
})

natsTest('BROKER a server whose broker is away serves all the same, and tells of it without the URL', async () => {
  await using nats = await startNats()
  await nats.stop()
  await using server = await startServer({ brokerUrl: nats.url.replace('//', '//fanfare:hush@') })
  expect((await server.call('get_conversations', {}, 'user/alice')).status).toBe(200)
  expect(server.logged.filter(({ level }) => level !== 'info')).toEqual([
    expect.objectContaining({ level: 'warn', event: 'broker' }),
  ])
  expect(JSON.stringify(server.logged)).toContain("the broker can't be reached (connection refused)")
  expect(JSON.stringify(server.logged)).not.toContain('hush')
})
