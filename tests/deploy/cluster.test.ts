/** Several servers on one PostgreSQL behind the reverse proxies of deploy/, which send anybody anywhere. */
import { describe, expect } from 'vitest'
import { connect, open } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { PostgresDatabase, postgresOfFile, withoutPostgres } from '../storage/postgres-database.ts'
import { startProxy, testsBehind } from './proxies.ts'

const trusting = { rejectUnauthorized: false }

describe.skipIf(withoutPostgres).each(['nginx', 'haproxy'] as const)('two servers behind %s', (name) => {
  const proxyTest = testsBehind(name)
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
})
