/** Several servers on one PostgreSQL, be it that NATS carries between them, behind the reverse proxies of deploy/, which send anybody anywhere. */
import { once } from 'node:events'
import { describe, expect, vi } from 'vitest'
import { WebSocket } from 'ws'
import { startNats } from '../../src/testing/nats.ts'
import { connect, open } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { run } from '../house/run.ts'
import { PostgresDatabase, postgresOfFile, withoutPostgres } from '../storage/postgres-database.ts'
import { startProxy, testsBehind } from './proxies.ts'

const trusting = { rejectUnauthorized: false }

describe.skipIf(withoutPostgres).each(['nginx', 'haproxy'] as const)('two servers behind %s', (name) => {
  const proxyTest = testsBehind(name)
  const curlTest = testsBehind(name, 'curl', 'nats-server')
  const postgres = postgresOfFile()

  proxyTest(
    `R3, S7 behind ${name} who was at a server that ends goes on at the other, at once and without a gap`,
    async () => {
      await using database = await PostgresDatabase.create(postgres())
      const options = { databaseUrl: database.url, trustedProxies: ['127.0.0.1'] }
      await using one = await startServer(options)
      await using other = await startServer(options)
      await using proxy = await startProxy(name, one, other)
      await using sessions = new AsyncDisposableStack()
      const serverOf = (session: string) =>
        [one, other].find(({ logged }) =>
          logged.some((line) => line.event === 'session_connected' && line.session === session),
        )
      const opening = [1, 2, 3, 4].map(async () => sessions.use(await connect(proxy.reached, 'user/bob', trusting)))
      const bobs = await Promise.all(opening)
      const places = bobs.map(({ greeting }) => serverOf(greeting.session))
      expect(new Set(places)).toEqual(new Set([one, other]))

      const { result } = await other.call('create_conversation', { participants: ['user/bob'] }, 'user/alice')
      const conversation = result.conversation.id
      const bob = bobs[places.indexOf(one)]!
      await bob.next(({ data }) => data.record_type === 'conversation')
      const { cursor } = await bob.command('ping')
      await one.stop()
      expect((await bob.closed).code).toBe(4503)
      await other.call('create_message', { conversation, body: 'Hello' }, 'user/alice')
      await using again = await open(proxy.reached, trusting)
      const greeting = await again.command('connect', { token: await other.token('bob'), cursor })
      expect(greeting.resumed).toBe(true)
      expect(serverOf(greeting.session)).toBe(other)
      await again.next(({ data }) => data.record_type === 'message' && data.record.body === 'Hello')
    },
  )

  curlTest(`W1, W4, W7 behind ${name} what curl asks of one server a WebSocket hears at the other`, async () => {
    await using nats = await startNats()
    await using database = await PostgresDatabase.create(postgres())
    const options = { databaseUrl: database.url, brokerUrl: nats.url, trustedProxies: ['127.0.0.1'] }
    await using one = await startServer(options)
    await using other = await startServer(options)
    await using proxy = await startProxy(name, one, other)
    const curl = async (command: string, args: object) => {
      const token = await one.token('alice')
      const { exitCode, output } = await run('curl', [
        ...['--silent', '--insecure', '--header', `Authorization: Bearer ${token}`],
        ...['--data', JSON.stringify(args), `${proxy.url}/v2/${command}`],
      ])
      expect(exitCode).toBe(0)
      return JSON.parse(output).result
    }

    const token = await one.token('bob')
    const heard = await Promise.all(
      Array.from({ length: 4 }, async () => {
        const socket = new WebSocket(proxy.reached.socketUrl, trusting)
        const frames: { event?: string; result?: object; data?: { record: { body?: string } } }[] = []
        socket.on('message', (data) => frames.push(JSON.parse(String(data))))
        await once(socket, 'open')
        socket.send(JSON.stringify({ id: 1, command: 'connect', args: { token } }))
        await vi.waitFor(() => expect(frames).toHaveLength(1))
        return { socket, frames }
      }),
    )
    for (const server of [one, other]) {
      expect(server.logged.filter(({ event }) => event === 'session_connected').length).toBeGreaterThan(0)
    }
    const { conversation } = await curl('create_conversation', { participants: ['user/bob'] })
    const bodies = ['one', 'two', 'three', 'four']
    for (const body of bodies) await curl('create_message', { conversation: conversation.id, body })
    for (const { socket, frames } of heard) {
      await vi.waitFor(() => expect(frames).toHaveLength(6))
      expect(frames.slice(2).map(({ event, data }) => [event, data?.record.body])).toEqual(
        bodies.map((body) => ['create', body]),
      )
      socket.terminate()
    }
  })
})
