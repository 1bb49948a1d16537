/** What the log tells, and what it never tells. */
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import type { SessionFacts } from '../../src/engine/observer.ts'
import { Journal, stackOf } from '../../src/operator/journal.ts'
import { openLog } from '../../src/operator/log.ts'
import type { LogLevel } from '../../src/operator/log-level.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { connect, open } from '../../src/testing/raw-session.ts'
import { type LogLine, startServer, type TestServer } from '../../src/testing/start-server.ts'
import { codeOf } from '../chat/stage.ts'

/** The lines of an event, without the facts that no test can know. */
function linesOf(server: TestServer, event: string): object[] {
  return server.logged.filter((line) => line.event === event).map(({ time, event: _, ...facts }) => facts)
}

/** A journal on a clock of the test's, and what it has written. */
function openJournal(level: LogLevel) {
  const lines: LogLine[] = []
  const clock = new FakeClock()
  const log = openLog(level, { write: (line) => lines.push(JSON.parse(line)) }, false)
  return { journal: new Journal(log, clock), clock, lines }
}

const session: SessionFacts = { id: 'session/1', user: 'user/alice', listener: false, address: '::1', origin: null }
const refusal = { where: 'http', command: null, user: null, address: '::1', origin: null } as const

describe('a server', () => {
  test('OPERATOR a session leaves two lines at debug, with who it was, from where, its code and how long it lasted', async () => {
    const origin = 'https://app.example'
    await using server = await startServer({ origins: [origin] })
    await using alice = await connect(server, 'user/alice', { origin })
    await alice.end()
    await server.stop()
    const facts = { user: 'user/alice', session: alice.greeting.session, address: '127.0.0.1', origin }
    expect(linesOf(server, 'session_connected')).toEqual([{ level: 'debug', ...facts }])
    const lasted_ms = expect.any(Number)
    expect(linesOf(server, 'session_ended')).toEqual([{ level: 'debug', ...facts, code: 1000, lasted_ms }])
  })

  test('OPERATOR at info neither a session nor what it does leaves a line', async () => {
    await using server = await startServer({ logLevel: 'info' })
    await using alice = await connect(server, 'user/alice')
    await codeOf(alice.command('create_message', { conversation: 'conversation/none', body: '' }))
    await alice.end()
    await server.stop()
    expect(server.logged.map(({ event }) => event)).toEqual(['started', 'draining', 'stopped'])
  })

  test('OPERATOR who resumes is told of with what was missed, and who could not is told of too', async () => {
    await using server = await startServer()
    await using bob = await connect(server, 'user/bob')
    const { cursor } = await bob.command('ping')
    await server.call('create_conversation', { participants: ['user/bob'] }, 'user/alice')
    const token = await server.token('bob')
    await using second = await open(server)
    await second.command('connect', { token, cursor })
    await using third = await open(server)
    await third.command('connect', { token, cursor: 'none' })
    expect(linesOf(server, 'session_connected').slice(1)).toMatchObject([{ events: 1, gaps: 0 }, { reset: true }])
  })

  test('OPERATOR a refusal is told of with its place, its code and who it was, wherever it comes', async () => {
    await using server = await startServer()
    const origin = 'https://evil.example'
    await expect(open(server, { origin })).rejects.toThrow('403')
    await server.call('get_unread_count', {}, undefined, { authorization: 'Bearer nobody' })
    await server.call('no_such_command' as 'ping', {})
    await server.call('get_participants', { conversation: 'conversation/none' }, 'user/alice')
    await using alice = await connect(server, 'user/alice')
    await codeOf(alice.command('create_token', { user: 'user/bob' }))
    await using stranger = await open(server)
    await codeOf(stranger.command('connect', { token: 'nothing' }))
    const address = '127.0.0.1'
    const nobody = { user: null, address, origin: null }
    expect(linesOf(server, 'refused')).toEqual([
      { level: 'info', where: 'upgrade', command: null, code: 'forbidden', ...nobody, origin },
      { level: 'info', where: 'http', command: 'get_unread_count', code: 'unauthorized', ...nobody },
      { level: 'debug', where: 'http', command: 'unknown', code: 'unknown_command', ...nobody },
      {
        level: 'debug',
        where: 'http',
        command: 'get_participants',
        code: 'invalid_argument',
        ...nobody,
        user: 'user/alice',
      },
      { level: 'info', where: 'session', command: 'create_token', code: 'forbidden', ...nobody, user: 'user/alice' },
      { level: 'info', where: 'session', command: 'connect', code: 'unauthorized', ...nobody },
    ])
  })

  test('OPERATOR a session that ends by a limit is a warning', async () => {
    await using server = await startServer({ limits: { unauthenticatedPerAddress: 1 } })
    await using first = await open(server)
    await using second = await open(server)
    await second.closed
    expect(linesOf(server, 'session_ended')).toMatchObject([{ level: 'warn', code: 4429, user: null }])
    first.send('no frame')
    await first.closed
    expect(linesOf(server, 'session_ended').slice(1)).toMatchObject([{ level: 'warn', code: 4400, user: null }])
  })

  // It takes the 5 s for which storage waits.
  test('OPERATOR storage that fails is told of once, and once when it does its work again', {
    timeout: 60_000,
  }, async () => {
    await using server = await startServer()
    const rename = () => server.call('update_user', { name: 'Alice' }, 'user/alice')
    using other = new DatabaseSync(`${server.folder}/fanfare.db`)
    other.exec('BEGIN IMMEDIATE')
    expect((await rename()).status).toBe(503)
    expect((await rename()).status).toBe(503)
    other.exec('ROLLBACK')
    expect((await rename()).status).toBe(200)
    expect(linesOf(server, 'storage_failed')).toEqual([
      {
        level: 'error',
        reason: expect.stringMatching(/^database is locked: nothing of what was just asked for was stored/),
      },
    ])
    expect(linesOf(server, 'storage_recovered')).toEqual([{ level: 'warn', failed: expect.any(Number) }])
  })

  test('U1 no line has a user channel’s name, a token, a key, or a message’s content, whatever happens to them', async () => {
    await using server = await startServer({ listeners: true })
    const canary = 'canary-0123456789'
    const token = await server.token('alice')
    await using alice = await connect(server, 'user/alice')
    const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'], title: canary })
    await alice.command('create_message', { conversation: conversation.id, body: canary, metadata: { canary } })
    const say = (args: object) => codeOf(alice.commandOf({ command: 'create_message', args }))
    await say({ conversation: conversation.id, body: canary, [canary]: canary })
    await say({ conversation: conversation.id, body: canary.repeat(1_000) })
    await codeOf(alice.commandOf({ command: canary, args: { canary } }))
    const { user_channel } = await alice.command('get_user_channel')
    await using listener = await open(server)
    await listener.command('connect', { channel: user_channel.name })
    await alice.command('rotate_user_channel')
    await listener.closed
    const rotated = (await alice.command('get_user_channel')).user_channel
    await using late = await open(server)
    await codeOf(late.command('connect', { channel: user_channel.name }))
    await using bad = await open(server)
    await codeOf(bad.command('connect', { token: `${token}x`, cursor: canary }))
    await server.call('get_unread_count', {}, undefined, { authorization: `Bearer ${server.apiKey}x` })
    await server.call('create_message', { conversation: canary, body: canary }, 'user/alice')
    await fetch(`${server.url}/v2/connect?token=${token}`, { method: 'POST', body: canary })
    alice.send(`{"id":1,"command":"create_message","args":{"body":"${canary}`)
    await alice.closed
    await server.stop()

    expect(server.logged.length).toBeGreaterThan(15)
    const text = JSON.stringify(server.logged)
    for (const secret of [canary, user_channel.name, rotated.name, server.apiKey, server.tokenSecret, token]) {
      expect(text).not.toContain(secret)
    }
  })
})

describe('a fault', () => {
  test('OPERATOR has its stack and those of its causes', () => {
    const { journal, lines } = openJournal('info')
    journal.fault('create_message', new Error('outer', { cause: new TypeError('inner') }))
    expect(lines).toMatchObject([{ level: 'error', event: 'fault', doing: 'create_message' }])
    expect(lines[0]?.error).toMatch(/^Error: outer\n {4}at .*\n[\s\S]*\ncaused by TypeError: inner\n {4}at .*/)
  })

  test.each([
    'canary',
    '{"body":"canary"',
    '{"a":canary}',
    '{"a":"canary"}x',
    '["canary\u0001"]',
    `${'x'.repeat(99)}canary`,
  ])('OPERATOR does not quote the JSON that could not be read: %j', (text) => {
    let error: unknown
    try {
      JSON.parse(text)
    } catch (caught) {
      error = caught
    }
    expect(stackOf(error)).toMatch(/^SyntaxError: .*JSON/)
    expect(stackOf(error)).not.toContain('canary')
    expect(stackOf(new Error(`SyntaxError: ${(error as Error).message}\n    at worker.ts`))).not.toContain('canary')
  })
})

describe('what could fill the disk', () => {
  test('OPERATOR at most 20 lines of one event go out in a second, and the next one says how many were left out', () => {
    const { journal, clock, lines } = openJournal('info')
    for (let index = 0; index < 1_000; index++) journal.refused({ ...refusal, code: 'unauthorized' })
    journal.sessionEnded(session, 4409, 5)
    expect(lines.map(({ event }) => event)).toEqual([...Array(20).fill('refused'), 'session_ended'])
    clock.advance(1_000)
    journal.refused({ ...refusal, code: 'unauthorized' })
    journal.refused({ ...refusal, code: 'unauthorized' })
    expect(lines.slice(21).map(({ left_out }) => left_out)).toEqual([980, undefined])
  })

  test('OPERATOR at debug no line is left out', () => {
    const { journal, lines } = openJournal('debug')
    for (let index = 0; index < 100; index++) journal.refused({ ...refusal, code: 'unauthorized' })
    expect(lines).toHaveLength(100)
  })

  test('OPERATOR an origin that was refused is cut', () => {
    const { journal, lines } = openJournal('info')
    journal.refused({ ...refusal, code: 'forbidden', origin: 'x'.repeat(10_000) })
    expect(lines[0]?.origin).toBe('x'.repeat(200))
  })
})

describe('on a terminal', () => {
  /** What a terminal gets of a line with these facts. */
  function shown(facts: object): string {
    const lines: string[] = []
    openLog('info', { write: (line) => lines.push(line) }, true).info(facts, 'told')
    return lines.join('')
  }

  test('OPERATOR a line is time, level, event and facts, and a stack stands below it', () => {
    expect(
      shown({ user: 'user/alice', address: '::1', code: 4409, words: 'two words', error: 'Error: a\n    at b' }),
    ).toMatch(
      /^\d\d:\d\d:\d\d\.\d{3} info {2}told user=user\/alice address=::1 code=4409 words="two words"\n {4}Error: a\n {8}at b\n$/,
    )
  })

  test.each(['a\nb', 'a\r\nb', 'a\u2028b', 'a\u0085b', '\u001b[2Jb', '\u009b2Jb', '\u202eb', '\0b', '\u007fb'])(
    'OPERATOR no fact can end its line or command the terminal: %j',
    (text) => {
      for (const line of [shown({ text }), shown({ error: `Error: ${text.replaceAll('\n', '')}` })]) {
        // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
        expect(line.slice(0, -1)).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e]/)
      }
      expect(shown({ text }).split('\n')).toHaveLength(2)
    },
  )

  test('OPERATOR a line of JSON is one line, whatever is in it', () => {
    const lines: string[] = []
    openLog('info', { write: (line) => lines.push(line) }, false).info({ text: 'a\r\nb' }, 'told')
    expect(lines.join('').split(/[\r\n]/)).toHaveLength(2)
    expect(JSON.parse(lines.join(''))).toMatchObject({ text: 'a\r\nb', event: 'told', level: 'info' })
  })
})
