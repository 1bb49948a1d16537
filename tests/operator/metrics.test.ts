/** What /metrics tells. */
import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { FakeClock } from '../../src/testing/clock.ts'
import { connect, open } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { codeOf } from '../chat/stage.ts'

/** The metrics as text. */
async function read(server: TestServer): Promise<string> {
  const answer = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${server.apiKey}` } })
  expect([answer.status, answer.headers.get('content-type')]).toEqual([200, expect.stringContaining('text/plain')])
  return answer.text()
}

/** The samples of all metrics of our own, by name and labels as they are written. */
async function samples(server: TestServer): Promise<ReadonlyMap<string, number>> {
  const lines = (await read(server)).split('\n').filter((line) => line.startsWith('fanfare_'))
  return new Map(lines.map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ')))]))
}

test('OPERATOR sessions are counted by kind while they are open, and by close code when they have ended', async () => {
  await using server = await startServer({ listeners: true })
  await using alice = await connect(server, 'user/alice')
  const { user_channel } = await alice.command('get_user_channel')
  await using listener = await open(server)
  await listener.command('connect', { channel: user_channel.name })
  await using stranger = await open(server)
  const before = await samples(server)
  expect(before.get('fanfare_sessions{kind="user"}')).toBe(1)
  expect(before.get('fanfare_sessions{kind="listener"}')).toBe(1)
  expect(before.get('fanfare_sessions{kind="unconnected"}')).toBe(1)
  expect(before.get('fanfare_sessions_total')).toBe(2)
  await alice.command('rotate_user_channel')
  await listener.closed
  stranger.send('no frame')
  await stranger.closed
  alice.webSocket.close(4999)
  await alice.closed
  const after = await samples(server)
  for (const kind of ['user', 'listener', 'unconnected']) expect(after.get(`fanfare_sessions{kind="${kind}"}`)).toBe(0)
  expect(after.get('fanfare_sessions_total')).toBe(2)
  const closes = [...after].filter(([name]) => name.startsWith('fanfare_closes_total'))
  expect(Object.fromEntries(closes)).toEqual({
    'fanfare_closes_total{code="4410"}': 1,
    'fanfare_closes_total{code="4400"}': 1,
    'fanfare_closes_total{code="other"}': 1,
  })
})

test('OPERATOR commands are counted by name and result, and refusals by place and code', async () => {
  await using server = await startServer()
  await using alice = await connect(server, 'user/alice')
  await alice.command('ping')
  await alice.command('ping')
  alice.send('{"command":"ping"}')
  await codeOf(alice.commandOf({ command: 'no_such_command' }))
  await codeOf(alice.commandOf({ command: 'another' }))
  await server.call('get_unread_count', {}, 'user/alice')
  await server.call('get_unread_count', {}, undefined, { authorization: 'Bearer nobody' })
  await expect(open(server, { origin: 'https://evil.example' })).rejects.toThrow('403')
  await using stranger = await open(server)
  await codeOf(stranger.command('connect', { token: 'nothing' }))
  const found = await samples(server)
  const of = (name: string) => Object.fromEntries([...found].filter(([sample]) => sample.startsWith(`${name}{`)))
  expect(of('fanfare_commands_total')).toEqual({
    'fanfare_commands_total{command="connect",result="ok"}': 1,
    'fanfare_commands_total{command="connect",result="unauthorized"}': 1,
    'fanfare_commands_total{command="ping",result="ok"}': 3,
    'fanfare_commands_total{command="unknown",result="unknown_command"}': 2,
    'fanfare_commands_total{command="get_unread_count",result="ok"}': 1,
  })
  expect(of('fanfare_refusals_total')).toEqual({
    'fanfare_refusals_total{where="session",code="unknown_command"}': 2,
    'fanfare_refusals_total{where="session",code="unauthorized"}': 1,
    'fanfare_refusals_total{where="http",code="unauthorized"}': 1,
    'fanfare_refusals_total{where="upgrade",code="forbidden"}': 1,
  })
})

test('OPERATOR pushes are counted by sessions and kind, and bytes both ways, also of sessions that are gone', async () => {
  await using server = await startServer()
  await using alice = await connect(server, 'user/alice')
  await using first = await connect(server, 'user/bob')
  await using second = await connect(server, 'user/bob')
  const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
  await first.command('subscribe_typing', { conversation: conversation.id })
  await alice.command('typing', { conversation: conversation.id, event: 'begin' })
  await first.nextTyping()
  const body = 'x'.repeat(10_000)
  await alice.command('create_message', { conversation: conversation.id, body })
  await Promise.all([first, second].map((session) => session.next(({ data }) => data.record_type === 'message')))
  const before = await samples(server)
  // The conversation's and the message's, to Alice and to both of Bob's sessions.
  expect(before.get('fanfare_pushes_total{kind="event"}')).toBe(6)
  expect(before.get('fanfare_pushes_total{kind="typing"}')).toBe(2)
  expect(before.get('fanfare_typing_leases')).toBe(0)
  await alice.command('typing', { conversation: conversation.id, event: 'begin' })
  expect((await samples(server)).get('fanfare_typing_leases')).toBe(1)
  await Promise.all([alice, first, second].map((session) => session.end()))
  const after = await samples(server)
  for (const [name, least] of [
    ['fanfare_sent_bytes_total', 30_000],
    ['fanfare_received_bytes_total', 10_000],
  ] as const) {
    expect(before.get(name)).toBeGreaterThan(least)
    expect(after.get(name)).toBeGreaterThan(before.get(name)!)
    expect(after.get(name)).toBeLessThan(before.get(name)! + 10_000)
  }
})

test('OPERATOR batches are measured, with how many operations shared one', async () => {
  // By a clock that stands still the log is not pruned meanwhile, which would be an operation too.
  await using server = await startServer({ clock: new FakeClock() })
  const before = await samples(server)
  await Promise.all(
    Array.from({ length: 20 }, (_, index) => server.call('update_user', { name: `${index}` }, 'user/a')),
  )
  const after = await samples(server)
  const more = (name: string) => after.get(name)! - before.get(name)!
  expect(more('fanfare_storage_batch_operations_sum')).toBe(20)
  expect(more('fanfare_storage_batch_operations_count')).toBeGreaterThanOrEqual(1)
  expect(more('fanfare_storage_batch_seconds_count')).toBe(more('fanfare_storage_batch_operations_count'))
  expect(more('fanfare_storage_batch_seconds_sum')).toBeGreaterThan(0)
  expect(after.get('fanfare_storage_failed_operations_total')).toBe(0)
})

test('OPERATOR resumes are counted with what was missed, and gaps', async () => {
  await using server = await startServer()
  await using bob = await connect(server, 'user/bob')
  const { cursor } = await bob.command('ping')
  const { result } = await server.call('create_conversation', { participants: ['user/bob'] }, 'user/alice')
  const { id: conversation } = result.conversation
  for (let sent = 0; sent < 3; sent++) await server.call('create_message', { conversation, body: '.' }, 'user/alice')
  const token = await server.token('bob')
  await using resumed = await open(server)
  await resumed.command('connect', { token, cursor })
  await using reset = await open(server)
  await reset.command('connect', { token, cursor: 'none' })
  const found = await samples(server)
  expect(found.get('fanfare_resumes_total{result="resumed"}')).toBe(1)
  expect(found.get('fanfare_resumes_total{result="reset"}')).toBe(1)
  expect(found.get('fanfare_resume_events_sum')).toBe(4)
  expect(found.get('fanfare_gaps_total')).toBe(0)
})

describe('who may read them', () => {
  const authorizations = ['', 'Bearer', 'Bearer nobody', 'Basic api-key-of-a-test', 'api-key-of-a-test']

  test('OPERATOR without the API key the metrics are unauthorized, and a user’s token is none', async () => {
    await using server = await startServer()
    const all = [...authorizations, `Bearer ${await server.token('alice')}`]
    for (const authorization of all) {
      const answer = await fetch(`${server.url}/metrics`, { headers: { authorization } })
      expect([authorization, answer.status]).toEqual([authorization, 401])
      expect(await answer.text()).not.toContain('fanfare_')
    }
  })

  test('OPERATOR with a port of their own they are there without a key, with the probes, and nowhere else', async () => {
    await using server = await startServer({ metrics: { host: '127.0.0.1', port: 0 } })
    const there = async (path: string) => (await fetch(server.metricsUrl + path)).status
    expect(await there('/metrics')).toBe(200)
    expect(await there('/livez')).toBe(200)
    expect(await there('/readyz')).toBe(200)
    expect(await there('/')).toBe(404)
    expect((await fetch(`${server.metricsUrl}/v2/ping`, { method: 'POST' })).status).toBe(404)
    const authorization = `Bearer ${server.apiKey}`
    expect((await fetch(`${server.url}/metrics`, { headers: { authorization } })).status).toBe(404)
    const { metricsUrl } = server
    await server.stop()
    await expect(fetch(`${metricsUrl}/livez`)).rejects.toThrow()
  })
})

test('OPERATOR docs/metrics.md has every metric that there is, with its type, its meaning and when to worry, and no other', async () => {
  await using server = await startServer()
  const page = readFileSync(new URL('../../docs/metrics.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| `(fanfare_\w+)` \| (\w+) \| (.+?) \| (.+?) \|$/gm)]
  const described = rows.map(([, name, type, meaning]) => `${name} ${type}: ${meaning}`)
  const text = await read(server)
  const all = [...text.matchAll(/^# HELP (\S+) (.*)\n# TYPE \1 (\w+)$/gm)]
  const there = all.map(([, name, help, type]) => `${name} ${type}: ${help}`)
  // Elsewhere some of the process are missing.
  expect(described).toEqual(process.platform === 'linux' ? there : expect.arrayContaining(there))
  expect(there.every((name) => name.startsWith('fanfare_'))).toBe(true)
})
