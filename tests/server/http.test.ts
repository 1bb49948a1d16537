/** Commands over HTTP (W7), and what comes to the same port and is no command. */
import { describe, expect, it, vi } from 'vitest'
import { errorCodes } from '../../src/protocol/codes.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { connect } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { exchange, sendBytes } from './raw-tcp.ts'
import { backendOnly, nobodys, sampleArgs, sessionOnly, userCommands } from './sample-args.ts'

async function bearer(server: TestServer, user: string, claims = {}): Promise<{ authorization: string }> {
  return { authorization: `Bearer ${await server.token(user, claims)}` }
}

function post(server: TestServer, path: string, body: string | Buffer | null, headers: Record<string, string> = {}) {
  const authorization = `Bearer ${server.apiKey}`
  return fetch(server.url + path, { method: 'POST', headers: { authorization, ...headers }, body })
}

async function expectAlive(server: TestServer): Promise<void> {
  expect((await server.call('get_unread_count', {}, 'user/alice')).status).toBe(200)
}

describe('a command over HTTP', () => {
  it('W7 is done as the user of the token, and answered with its result', async () => {
    await using server = await startServer()
    await using bob = await connect(server, 'user/bob')
    const response = await post(
      server,
      '/v2/create_conversation',
      '{"participants":["user/bob"]}',
      await bearer(server, 'alice'),
    )
    expect(response.status).toBe(200)
    expect(response.headers.get('content-type')).toBe('application/json; charset=utf-8')
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(await response.json()).toEqual({
      result: { conversation: expect.objectContaining({ created_by: 'user/alice' }), created: true },
    })
    expect((await bob.next()).data.record).toMatchObject({ created_by: 'user/alice' })
  })

  it('W7 may have no body where there are no args, and needs no content type', async () => {
    await using server = await startServer()
    const response = await post(server, '/v2/get_unread_count', null, { 'fanfare-as': 'user/alice' })
    expect(await response.json()).toEqual({ result: { conversation: 0, message: 0 } })
    const host = new URL(server.url).host
    const head = [`Host: ${host}`, `Authorization: bearer ${server.apiKey}`, 'fanfare-as: user/alice']
    const chunked = [...head, 'Transfer-Encoding: chunked']
    expect(await exchange(server, ['POST /v2/get_unread_count HTTP/1.1', ...head])).toMatchObject({ status: 200 })
    expect(
      await exchange(server, ['POST /v2/get_users HTTP/1.1', ...chunked], '5\r\n{"use\r\n9\r\nrs": [] }\r\n0\r\n\r\n'),
    ).toMatchObject({ status: 200, body: '{"result":{"users":[]}}' })
  })

  it('W7 answers each error with the status of its code', async () => {
    await using server = await startServer()
    const alice = await bearer(server, 'alice')
    const call = server.call.bind(server)
    const { conversation } = (await call('create_conversation', { participants: ['user/bob'] }, 'user/alice')).result
    const at = { conversation: conversation.id }
    const { message } = (await call('create_message', { ...at, body: 'gone soon' }, 'user/alice')).result
    await call('delete_message', { message: message.id }, 'user/alice')
    const answers = [
      [await call('create_message', at, 'user/alice'), 400, 'invalid_argument'],
      [await call('get_unread_count', {}, undefined, { authorization: 'Bearer nobody' }), 401, 'unauthorized'],
      [await call('create_token', { user: 'user/alice' }, undefined, alice), 403, 'forbidden'],
      [await call('delete_conversation', at, 'user/bob'), 403, 'forbidden'],
      [await call('delete_conversation', at, 'user/carol'), 404, 'not_found'],
      [await call('get_conversation', { conversation: nobodys.conversation }, 'user/bob'), 404, 'not_found'],
      [await call('no_such_command' as 'ping', {}, 'user/alice'), 404, 'unknown_command'],
      [await call('edit_message', { message: message.id, body: 'b' }, 'user/alice'), 409, 'conflict'],
      [await call('create_message', { ...at, body: 'x'.repeat(16_385) }, 'user/alice'), 413, 'too_large'],
    ] as const
    for (const [{ status, error, headers }, expected, code] of answers) {
      expect([status, error.code]).toEqual([expected, code])
      expect(status).toBe(errorCodes[code].status)
      expect(error).toEqual({
        code,
        message: expect.any(String),
        retryable: false,
        ...(code === 'too_large' && { details: { limit: 16_384 } }),
      })
      expect(headers.get('retry-after')).toBeNull()
    }
  })

  it('W7 the commands of a session are not there, whoever calls', async () => {
    await using server = await startServer()
    for (const command of sessionOnly) {
      for (const headers of [{}, await bearer(server, 'alice')]) {
        const { status, error } = await server.call(command, sampleArgs[command], undefined, headers)
        expect([command, status, error.code]).toEqual([command, 404, 'unknown_command'])
      }
    }
  })

  it('W7 typing is there, and is seen by who watches', async () => {
    await using server = await startServer()
    await using bob = await connect(server, 'user/bob')
    const { conversation } = await bob.command('create_conversation', { participants: ['user/alice'] })
    await bob.command('subscribe_typing', { conversation: conversation.id })
    const { status } = await server.call('typing', { conversation: conversation.id, event: 'begin' }, 'user/alice')
    expect(status).toBe(200)
    expect((await bob.nextTyping()).data[conversation.id]).toMatchObject({ 'user/alice': { event: 'begin' } })
  })

  it('W7 with a bad body is invalid_argument', async () => {
    await using server = await startServer()
    const bodies = ['{', 'null', '[]', '1', '"{}"', '{"users":[]}x', Buffer.from([0x7b, 0xff, 0x7d]), '\uFEFF{}x', ' ']
    for (const body of bodies) {
      const response = await post(server, '/v2/get_users', body, { 'fanfare-as': 'user/alice' })
      expect([body, response.status]).toEqual([body, 400])
      expect(await response.json()).toMatchObject({ error: { code: 'invalid_argument' } })
    }
  })
})

describe('who calls over HTTP', () => {
  it('W7 without a valid token or key a call is unauthorized, whatever it asks for', async () => {
    await using server = await startServer()
    const token = await server.token('alice')
    const credentials = [
      '',
      'Bearer',
      'Bearer ',
      `Bearer ${token} ${token}`,
      `Bearer ${token}x`,
      token,
      `Basic ${token}`,
      `Bearer ${server.apiKey}x`,
      `Bearer ${server.apiKey.slice(1)}`,
      `Bearer ${server.apiKey.toUpperCase()}`,
      `Bearer ${server.tokenSecret}`,
      `Bearer ${await server.token('alice', { exp: 1 })}`,
      `Bearer ${await server.token('not a name')}`,
    ]
    for (const authorization of credentials) {
      for (const command of ['get_unread_count', 'create_token', 'no_such_command', 'ping'] as const) {
        const { status, error } = await server.call(command as 'ping', {}, 'user/alice', { authorization })
        expect([authorization, status, error.code]).toEqual([authorization, 401, 'unauthorized'])
      }
    }
    const response = await fetch(`${server.url}/v2/get_unread_count?token=${token}&access_token=${token}`, {
      method: 'POST',
    })
    expect(response.status).toBe(401)
    expect(response.headers.get('www-authenticate')).toBe('Bearer')
  })

  it('W7 with the API key a command of a user needs Fanfare-As, and is then done as that user', async () => {
    await using server = await startServer()
    for (const command of userCommands) {
      const { status, error } = await server.call(command, sampleArgs[command])
      expect([command, status, error?.code]).toEqual([command, 400, 'invalid_argument'])
      expect(error.message).toContain('Fanfare-As')
    }
    const { result } = await server.call('get_user_channel', {}, 'user/alice')
    expect(result.user_channel.user).toBe('user/alice')
  })

  it('W7 where there are several API keys each is good, and nothing that is only like one of them', async () => {
    await using server = await startServer({ apiKeys: ['second-key', 'third-key'] })
    const status = async (key: string) =>
      (await server.call('create_token', { user: 'user/alice' }, undefined, { authorization: `Bearer ${key}` })).status
    for (const key of [server.apiKey, 'second-key', 'third-key']) expect([key, await status(key)]).toEqual([key, 200])
    const all = [server.apiKey, 'second-key', 'third-key'].join(',')
    for (const key of [all, 'second-key,', 'second-ke', 'second-key1', 'SECOND-KEY', ',']) {
      expect([key, await status(key)]).toEqual([key, 401])
    }
  })

  it('W7 with Fanfare-As it has the rights of that user and no more', async () => {
    await using server = await startServer()
    const { conversation } = (await server.call('create_conversation', { participants: ['user/bob'] }, 'user/alice'))
      .result
    const at = { conversation: conversation.id }
    const statuses = async (user: UserId) => [
      (await server.call('get_conversation', at, user)).status,
      (await server.call('update_conversation', { ...at, title: user }, user)).status,
    ]
    expect(await statuses('user/alice')).toEqual([200, 200])
    expect(await statuses('user/bob')).toEqual([200, 403])
    expect(await statuses('user/carol')).toEqual([404, 404])
  })

  it('W7 a Fanfare-As that is no user id, or beside a token, is refused', async () => {
    await using server = await startServer()
    const others = ['', 'alice', 'user/', 'user/a b', 'user/a,user/b', 'User/alice', 'session/alice', 'user/é']
    for (const as of others) {
      const { status, error } = await server.call('get_unread_count', {}, as as UserId, { 'fanfare-as': as })
      expect([as, status, error.code]).toEqual([as, 400, 'invalid_argument'])
    }
    const host = new URL(server.url).host
    const twice = ['Fanfare-As: user/alice', 'Fanfare-As: user/alice']
    const head = ['POST /v2/get_unread_count HTTP/1.1', `Host: ${host}`, `Authorization: Bearer ${server.apiKey}`]
    expect(await exchange(server, [...head, ...twice])).toMatchObject({ status: 400 })
    for (const as of ['user/alice', 'user/bob'] as const) {
      const { status } = await server.call('get_unread_count', {}, as, await bearer(server, 'alice'))
      expect(status).toBe(403)
    }
  })

  it('W7 a token never does what is for the API key', async () => {
    await using server = await startServer()
    for (const command of backendOnly) {
      const { error } = await server.call(command, sampleArgs[command], undefined, await bearer(server, 'alice'))
      expect([command, error.code]).toEqual([command, 'forbidden'])
    }
  })
})

describe('requests that are no commands', () => {
  it('W7 another path or method is not_found, and the socket without an upgrade says what it is', async () => {
    await using server = await startServer()
    const headers = { authorization: `Bearer ${server.apiKey}`, 'fanfare-as': 'user/alice' }
    const requests = [
      ['GET', '/v2/get_unread_count'],
      ['PUT', '/v2/get_unread_count'],
      ['DELETE', '/v2/get_unread_count'],
      ['POST', '/v2/get_unread_count/'],
      ['POST', '/v2//get_unread_count'],
      ['POST', '/V2/get_unread_count'],
      ['POST', '/v1/get_unread_count'],
      ['POST', '/v2/Get_unread_count'],
      ['POST', '/v2/get_unread_coun%74'],
      ['POST', '/v2/'],
      ['POST', '/v2'],
      ['POST', '/'],
      ['GET', '/'],
      ['GET', '/demo/index.html'],
      ['POST', '/demo/token'],
    ] as const
    for (const [method, path] of requests) {
      const response = await fetch(server.url + path, { method, headers })
      expect([method, path, response.status]).toEqual([method, path, 404])
      expect(await response.json()).toMatchObject({ error: { code: 'not_found' } })
    }
    const head = await fetch(`${server.url}/v2/get_unread_count`, { method: 'HEAD', headers })
    expect([head.status, await head.text()]).toEqual([404, ''])
    const socket = await fetch(`${server.url}/v2/socket`)
    expect([socket.status, socket.headers.get('upgrade')]).toEqual([426, 'websocket'])
  })

  it('W7 a malformed request costs its connection at most, never the server', async () => {
    await using server = await startServer()
    const { host } = new URL(server.url)
    const targets = ['//', '*', '/%', '/%zz', '/v2/%00', '?', '#', '\\', '/\xff\xfe', '/\0', '/../..', 'x:', '']
    const absolute = [`http://${host}/v2/socket`, 'http://', 'http://[', 'https://elsewhere/v2/get_unread_count']
    const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
    const key = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=='
    for (const target of [...targets, ...absolute]) {
      for (const method of ['GET', 'POST', 'OPTIONS', 'CONNECT', 'NONSENSE']) {
        const line = `${method} ${target} HTTP/1.1`
        const { status } = await exchange(server, [line, `Host: ${host}`])
        expect([line, status]).toEqual([line, expect.toBeOneOf([0, 400, 403, 404])])
        await using tcp = await sendBytes(server, `${[line, `Host: ${host}`, ...upgrade, key].join('\r\n')}\r\n\r\n`)
        await tcp.until('\r\n\r\n')
        expect([line, tcp.text]).toEqual([line, expect.not.stringMatching(/^HTTP\/1.1 (1|2|5)/)])
      }
    }
    const handshakes = [
      [...upgrade],
      [...upgrade, 'Sec-WebSocket-Key: short'],
      ['Connection: Upgrade', 'Upgrade: websocket', key],
      ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 99', key],
      [...upgrade, key, 'Sec-WebSocket-Protocol: ,,'],
      [...upgrade, key, 'Origin: ]['],
    ]
    for (const head of handshakes) {
      await using tcp = await sendBytes(
        server,
        `${['GET /v2/socket HTTP/1.1', `Host: ${host}`, ...head].join('\r\n')}\r\n\r\n`,
      )
      await tcp.closed
      expect([head, tcp.text]).toEqual([head, expect.stringMatching(/^HTTP\/1.1 4\d\d /)])
    }
    for (const bytes of ['\0\0\0', '\x16\x03\x01\x02\0\x01', 'GET\r\n\r\n', '{"id":1}\n'.repeat(10_000)]) {
      await using tcp = await sendBytes(server, bytes)
      tcp.socket.end()
      await tcp.closed
    }
    await expectAlive(server)
  })

  it('W7 who asks beside for another protocol is answered in this one', async () => {
    await using server = await startServer()
    const head = [
      'POST /v2/get_unread_count HTTP/1.1',
      `Host: ${new URL(server.url).host}`,
      `Authorization: Bearer ${server.apiKey}`,
      'Fanfare-As: user/alice',
      'Connection: Upgrade, HTTP2-Settings',
      'Upgrade: h2c',
      'HTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA',
      'Content-Length: 2',
    ]
    await using tcp = await sendBytes(server, `${head.join('\r\n')}\r\n\r\n{}`)
    expect(await tcp.until('}}')).toMatch(/^HTTP\/1.1 200 /)
  })

  it('W7 a body that stops half-way is no fault of the server', async () => {
    const faults = vi.spyOn(console, 'error').mockImplementation(() => {})
    try {
      await using server = await startServer()
      const head = [`Host: ${new URL(server.url).host}`, `Authorization: Bearer ${server.apiKey}`, 'Content-Length: 99']
      await using tcp = await sendBytes(server, `POST /v2/get_users HTTP/1.1\r\n${head.join('\r\n')}\r\n\r\n{"users"`)
      await expectAlive(server)
      tcp.socket.destroy()
      await tcp.closed
      await expectAlive(server)
      await server.stop()
      expect(faults.mock.calls).toEqual([])
    } finally {
      faults.mockRestore()
    }
  })

  it('W7 one connection carries many calls, also behind refused ones', async () => {
    await using server = await startServer()
    const { host } = new URL(server.url)
    const request = (command: string, more: string[], body: string) =>
      `${[`POST /v2/${command} HTTP/1.1`, `Host: ${host}`, ...more, `Content-Length: ${body.length}`].join('\r\n')}\r\n\r\n${body}`
    const key = [`Authorization: Bearer ${server.apiKey}`, 'Fanfare-As: user/alice']
    const token = [`Authorization: Bearer ${await server.token('alice')}`]
    const calls = [
      request('get_users', key, '{"users":[]}'),
      request('get_users', [], '{"users":[]}'),
      request('get_users', token, `"${'x'.repeat(300_000)}"`),
      request('no_such_command', key, '{}'),
      request('get_unread_count', token, '{}'),
    ]
    await using tcp = await sendBytes(server, calls.join(''))
    await tcp.until('unknown_command')
    await tcp.until('"message":0}}')
    const statuses = [...tcp.text.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => Number(status))
    expect(statuses).toEqual([200, 401, 413, 404, 200])
  })
})
