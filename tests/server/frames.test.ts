/** What is a frame and what is none, and the exact shape of those that the server sends (W1–W5). */
import { describe, expect, it } from 'vitest'
import type { EventFrame } from '../../src/protocol/frames.ts'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { connect, open, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { sendBytes } from './raw-tcp.ts'

const badRequest = { code: 4400, reason: 'bad_request' }

const noCommands = [
  '',
  ' ',
  'ping',
  '{',
  '{"command":"ping"}}',
  "{'command':'ping'}",
  '\uFEFF{"command":"ping"}',
  'null',
  'true',
  '1',
  '"ping"',
  '[]',
  '[{"command":"ping"}]',
  '{}',
  '{"id":1}',
  '{"id":1,"args":{}}',
  '{"id":1,"command":null}',
  '{"id":1,"command":7}',
  '{"id":1,"command":["ping"]}',
  '{"id":1,"command":{"ping":{}}}',
  '{"id":"1","command":"ping"}',
  '{"id":null,"command":"ping"}',
  '{"id":true,"command":"ping"}',
  '{"id":1.5,"command":"ping"}',
  '{"id":1e400,"command":"ping"}',
  '{"id":9007199254740992,"command":"ping"}',
  '{"id":[1],"command":"ping"}',
  '{"id":1,"command":"ping","args":null}',
  '{"id":1,"command":"ping","args":[]}',
  '{"id":1,"command":"ping","args":"{}"}',
  '{"id":1,"command":"ping","args":0}',
  '{"id":1,"command":"ping","args":{},"more":1}',
  '{"id":1,"command":"ping","__proto__":{}}',
  '{"id":1,"command":"ping","":{}}',
  '{"event":"create","data":{}}',
  `${'['.repeat(20_000)}${']'.repeat(20_000)}`,
]

describe('frames from a client', () => {
  it('W1 a frame that is no command closes the session with 4400, and is answered by nothing else', async () => {
    await using server = await startServer({ limits: { sessionsPerUser: 0 } })
    for (const frame of noCommands) {
      await using session = await connect(server, 'user/alice')
      session.send(frame)
      session.send('{"id":99,"command":"ping"}')
      expect(await session.closed, frame.slice(0, 80)).toEqual(badRequest)
      expect(session.frames, frame.slice(0, 80)).toHaveLength(1)
    }
  })

  it('W1 a frame that is no command closes the session before connect, too', async () => {
    await using server = await startServer()
    for (const frame of noCommands) {
      await using session = await open(server)
      session.send(frame)
      expect(await session.closed, frame.slice(0, 80)).toEqual(badRequest)
      expect(session.frames).toEqual([])
    }
  })

  it('W1 a binary frame closes with 4400, be it a command or not, connected or not', async () => {
    await using server = await startServer()
    for (const bytes of [Buffer.from('{"id":1,"command":"ping"}'), Buffer.alloc(0), Buffer.from([0, 1, 255])]) {
      await using early = await open(server)
      early.send(bytes)
      expect(await early.closed).toEqual(badRequest)
      await using alice = await connect(server, 'user/alice')
      alice.send(bytes)
      expect(await alice.closed).toEqual(badRequest)
      expect(alice.frames).toHaveLength(1)
    }
  })

  it('W1 text that is no UTF-8 closes the session, with the code that WebSocket has for it', async () => {
    await using server = await startServer()
    for (const bytes of [[0xff], [0xc3, 0x28], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xe2, 0x82]]) {
      await using alice = await connect(server, 'user/alice')
      alice.webSocket.send(Buffer.from([...Buffer.from('{"id":1,"command":"'), ...bytes, 0x22, 0x7d]), {
        binary: false,
      })
      expect((await alice.closed).code).toBe(1007)
    }
  })

  it('W1 a command may come in pieces, cut within a character, with a ping between them', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    await using bob = await connect(server, 'user/bob')
    const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
    const args = { conversation: conversation.id, body: 'drôle 😀 日本' }
    const bytes = Buffer.from(JSON.stringify({ command: 'create_message', args }))
    for (let at = 0; at < bytes.length; at += 5) {
      const last = at + 5 >= bytes.length
      alice.webSocket.send(bytes.subarray(at, at + 5), { binary: false, fin: last })
      alice.webSocket.ping()
    }
    const { data } = await bob.next(({ data }) => data.record_type === 'message')
    expect(data.record).toMatchObject({ body: 'drôle 😀 日本' })
  })

  it('W1 there is no compression, also for who offers it', async () => {
    await using server = await startServer()
    await using session = await open(server, { perMessageDeflate: { threshold: 0 } })
    expect(session.webSocket.extensions).toBe('')
  })

  it('W1 there are no subprotocols: none of those that are offered is chosen, or told again', async () => {
    await using server = await startServer()
    for (const offered of ['chat', 'secret-of-somebody, chat']) {
      const head = [
        'GET /v2/socket HTTP/1.1',
        'Host: a',
        'Upgrade: websocket',
        'Connection: Upgrade',
        'Sec-WebSocket-Version: 13',
        'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
        `Sec-WebSocket-Protocol: ${offered}`,
      ]
      await using tcp = await sendBytes(server, `${head.join('\r\n')}\r\n\r\n`)
      const answer = await tcp.until('\r\n\r\n')
      expect(answer).toMatch(/^HTTP\/1\.1 101 /)
      expect(answer).not.toMatch(/websocket-protocol|secret/i)
    }
  })

  it('W1 what breaks WebSocket itself ends that session alone', async () => {
    await using server = await startServer()
    await using bob = await connect(server, 'user/bob')
    await using alice = await connect(server, 'user/alice')
    // A frame without a mask, with a reserved bit, of no known kind.
    const { _socket: tcp } = alice.webSocket as unknown as { _socket: { write(bytes: Uint8Array): void } }
    tcp.write(Buffer.from([0xf3, 0x02, 0x7b, 0x7d]))
    expect((await alice.closed).code).toBe(1002)
    expect(await bob.rest()).toEqual([])
  })
})

describe('commands and replies', () => {
  it('W2 the reply bears the id of its command, whatever integer that is', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    const ids = [0, -1, 7, 7, 1_000, 2 ** 31, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]
    for (const id of ids) alice.send(`{"id":${id},"command":"ping"}`)
    await alice.rest()
    const replies = alice.frames.slice(1, 1 + ids.length)
    expect(replies).toEqual(ids.map((id) => ({ id, result: { cursor: expect.any(String) } })))
  })

  it('W2 args may be left out, and keys may stand in any order', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    alice.send('{"command":"get_unread_count","id":1005}')
    alice.send('{ "args": {}, "command": "get_unread_count",\n"id": 1006 }')
    const result = { conversation: 0, message: 0 }
    expect(await alice.reply(1_005)).toEqual({ id: 1_005, result })
    expect(await alice.reply(1_006)).toEqual({ id: 1_006, result })
  })

  it('W2 a command without an id is done and not answered, and one that fails is not answered either', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    const { conversation } = await alice.command('create_conversation', { participants: [] })
    const before = alice.frames.length
    alice.send(
      JSON.stringify({ command: 'update_conversation', args: { conversation: conversation.id, title: 'new' } }),
    )
    alice.send('{"command":"update_conversation","args":{}}')
    alice.send('{"command":"no_such_command"}')
    alice.send('{"command":"disconnect_user","args":{"user":"user/alice"}}')
    const event = await alice.next(({ event }) => event === 'update')
    expect(event.data.record).toMatchObject({ title: 'new' })
    await alice.rest()
    const since = alice.frames.slice(before)
    expect(since.filter((frame) => 'id' in frame)).toHaveLength(1)
  })

  it('W2 connect without an id connects without a word', async () => {
    await using server = await startServer()
    await using alice = await open(server)
    alice.send(JSON.stringify({ command: 'connect', args: { token: await server.token('alice') } }))
    expect(await alice.command('get_user_channel')).toMatchObject({ user_channel: { user: 'user/alice' } })
    expect(alice.frames).toHaveLength(1)
  })

  it('W3 a failed command costs one reply and not the session', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    const nobodys = 'conversation/018f0000-0000-7000-8000-000000000000'
    const failing = [
      ['{"id":1000,"command":"get_conversation"}', 'invalid_argument'],
      [`{"id":1001,"command":"get_conversation","args":{"conversation":"${nobodys}"}}`, 'not_found'],
      ['{"id":1002,"command":"create_token","args":{"user":"user/bob"}}', 'forbidden'],
      ['{"id":1003,"command":"fly"}', 'unknown_command'],
      ['{"id":1004,"command":"connect","args":{"token":"x"}}', 'conflict'],
      ['{"id":1005,"command":"refresh_token","args":{"token":"x"}}', 'unauthorized'],
    ] as const
    for (const [frame] of failing) alice.send(frame)
    for (const [index, [, code]] of failing.entries()) {
      expect(await alice.reply(1_000 + index)).toMatchObject({ error: { code } })
    }
    expect(await alice.rest()).toEqual([])
    expect(alice.frames).toHaveLength(1 + failing.length + 1)
  })

  it('W3 an error has a code, a message, whether to retry, and details only where there are some', async () => {
    await using server = await startServer({ limits: { bodyBytes: 3, sessionsPerUser: 1 } })
    await using alice = await connect(server, 'user/alice')
    const { conversation } = await alice.command('create_conversation', { participants: [] })
    alice.send('{"id":1020,"command":"fly"}')
    alice.send(
      JSON.stringify({ id: 1_021, command: 'create_message', args: { conversation: conversation.id, body: 'four' } }),
    )
    await alice.reply(1_021)
    const text = (id: number) => alice.texts.find((text) => text.startsWith(`{"id":${id},`)) ?? ''
    expect(text(1_020)).toMatch(
      /^\{"id":1020,"error":\{"code":"unknown_command","message":"[^}]+","retryable":false\}\}$/,
    )
    expect(text(1_021)).toMatch(
      /^\{"id":1021,"error":\{"code":"too_large","message":"[^}]+","retryable":false,"details":\{"limit":3\}\}\}$/,
    )

    await using second = await open(server)
    await expect(second.command('connect', { token: await server.token('alice') })).rejects.toThrow()
    expect(second.frames).toEqual([
      {
        id: 1,
        error: {
          code: 'rate_limited',
          message: expect.any(String),
          retryable: true,
          details: { retry_after_ms: 10_000 },
        },
      },
    ])
  })

  it('W3 names that objects have of themselves are no commands', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    for (const command of [
      '',
      'Ping',
      'ping ',
      'constructor',
      '__proto__',
      'toString',
      'hasOwnProperty',
      'x'.repeat(60_000),
    ]) {
      await expect(alice.commandOf({ command }), command.slice(0, 20)).rejects.toMatchObject({
        code: 'unknown_command',
      })
    }
    expect(Math.max(...alice.texts.map(({ length }) => length))).toBeLessThan(1_000)
  })
})

/** The text that a push must have, key by key in this order, with no other keys. */
function envelope({ event, data, conversation, seq, cursor }: EventFrame): string {
  const { record_type, event_type, record, original_record } = data
  const envelopeOf = { event, data: { record_type, event_type, record, original_record } }
  return JSON.stringify(
    conversation === undefined ? { ...envelopeOf, cursor } : { ...envelopeOf, conversation, seq, cursor },
  )
}

async function pushTexts(session: RawSession): Promise<{ text: string; push: EventFrame }[]> {
  await session.rest()
  return session.texts.flatMap((text) => {
    const push = JSON.parse(text)
    return 'event' in push ? [{ text, push }] : []
  })
}

describe('pushes', () => {
  it('W4 a push of a conversation has event, data, conversation, seq and cursor, in this order and no other key', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    await using bob = await connect(server, 'user/bob')
    const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'], title: 'T' })
    const at = { conversation: conversation.id }
    const { message } = await alice.command('create_message', { ...at, body: 'one', metadata: { a: [1] } })
    await alice.command('edit_message', { message: message.id, body: 'two' })
    await alice.command('delete_message', { message: message.id })
    await alice.command('update_conversation', { ...at, title: 'U' })
    await alice.command('add_participants', { ...at, participants: ['user/carol'] })
    await bob.command('leave_conversation', at)
    const pushes = await pushTexts(bob)
    const told = pushes.map(({ push: { event, data, seq } }) => [event, data.record_type, data.event_type, seq])
    expect(told).toEqual([
      ['create', 'conversation', 'create', 1],
      ['create', 'message', 'create', 2],
      ['update', 'message', 'update', 3],
      ['delete', 'message', 'delete', 4],
      ['update', 'conversation', 'update', 5],
      ['update', 'conversation', 'update', 6],
      ['delete', 'conversation', 'delete', 7],
    ])
    for (const { text, push } of pushes) {
      expect(text).toBe(envelope(push))
      expect(text).toMatch(new RegExp(`^\\{"event":"${push.event}","data":\\{"record_type":"`))
      expect(push.conversation).toBe(conversation.id)
      expect(push.cursor).toEqual(expect.any(String))
      expect(push.data.original_record === null).toBe(push.event === 'create')
    }
  })

  it('W4 a push that concerns one user alone has event, data and cursor only', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    await using bob = await connect(server, 'user/bob')
    const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
    const { message } = await alice.command('create_message', { conversation: conversation.id, body: 'read me' })
    await bob.command('mark_as_last_message_read', { conversation: conversation.id, message: message.id })
    await bob.command('update_user', { name: 'Bob' })
    const pushes = (await pushTexts(bob)).slice(2)
    expect(pushes.map(({ push: { event, data } }) => [event, data.record_type])).toEqual([
      ['update', 'user_conversation'],
      ['update', 'user'],
    ])
    for (const { text, push } of pushes) {
      expect(text).toBe(envelope(push))
      expect(Object.keys(push)).toEqual(['event', 'data', 'cursor'])
    }
  })

  it('W4 each push has a cursor of its own, and the same bytes go to everyone of one audience', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    await using again = await connect(server, 'user/alice')
    await using bob = await connect(server, 'user/bob')
    const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
    for (const body of ['1', '2', '3']) await alice.command('create_message', { conversation: conversation.id, body })
    const texts = (await pushTexts(bob)).map(({ text }) => text)
    expect(texts).toHaveLength(4)
    expect(new Set((await pushTexts(bob)).map(({ push }) => push.cursor)).size).toBe(4)
    expect((await pushTexts(again)).map(({ text }) => text)).toEqual(texts)
    expect((await pushTexts(alice)).map(({ text }) => text)).toEqual(texts)
  })

  it('W5 a typing push has event and data only, users within conversations, and a time with milliseconds', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    await using bob = await connect(server, 'user/bob')
    const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
    const at = { conversation: conversation.id }
    expect(await alice.command('subscribe_typing', at)).toEqual({ typing: {} })
    expect(await bob.command('typing', { ...at, event: 'begin' })).toEqual({})
    const typing = await alice.nextTyping()
    const time = typing.data[conversation.id as ConversationId]?.['user/bob']?.at ?? ''
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    expect(alice.texts.at(-1)).toBe(
      `{"event":"typing","data":{"${conversation.id}":{"user/bob":{"event":"begin","at":"${time}"}}}}`,
    )
  })
})
