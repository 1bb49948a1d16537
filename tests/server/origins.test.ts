/** Which browser pages may come in, and that no cookie is looked at (S8). */
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { connect as dial } from 'node:net'
import { describe, expect, it } from 'vitest'
import { connect, open, RawSession } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { codeOf } from '../chat/stage.ts'
import { exchange, RawTcp } from './raw-tcp.ts'

const allowed = ['https://app.example', 'http://localhost:5173']

/** What nearly is an allowed origin, or the server's own. */
function lookAlikes(server: TestServer): string[] {
  const { host, hostname, port } = new URL(server.url)
  return [
    '',
    'null',
    '*',
    'https://',
    'file://',
    'app.example',
    '//app.example',
    'http://app.example',
    'wss://app.example',
    'HTTPS://app.example',
    'https://APP.example',
    'https://app.example.',
    'https://app.example/',
    'https://app.example:443',
    'https://app.example:8443',
    'https://app.example.evil',
    'https://app.exampl',
    'https://app.examplee',
    'https://my.app.example',
    'https://evilapp.example',
    'https://app-example',
    'https://app.example@evil',
    'https://evil/https://app.example',
    'https://app.example,http://localhost:5173',
    'https://app.example https://evil',
    'https://evil, https://app.example',
    'http://localhost',
    'http://localhost:51730',
    'http://127.0.0.1:5173',
    host,
    `http://${hostname}`,
    `http://${hostname}:${port}0`,
    `http://${hostname}:0${port}`,
    `http://${hostname}.:${port}`,
    `http://localhost:${port}`,
    `http://${host}/`,
    `http://x@${host}`,
    `http://${host}.evil`,
    `ws://${host}`,
    `HTTP://${host}`,
    'http://undefined',
  ]
}

function welcome(server: TestServer): string[] {
  const { host } = new URL(server.url)
  return [...allowed, `http://${host}`, `https://${host}`]
}

/** The status that a page of `origin` gets when it wants a session. */
async function upgradeStatus(server: TestServer, origin: string, more: readonly string[] = []): Promise<number> {
  const upgrade = ['Connection: Upgrade', 'Upgrade: websocket', 'Sec-WebSocket-Version: 13']
  const key = 'Sec-WebSocket-Key: short'
  const head = ['GET /v2/socket HTTP/1.1', `Host: ${new URL(server.url).host}`, `Origin: ${origin}`]
  // With this key the handshake itself would be refused next, with 400: so no session has to be ended.
  return (await exchange(server, [...head, ...more, ...upgrade, key])).status
}

function call(server: TestServer, method: string, origin: string, more: readonly string[] = [], body = '{}') {
  const head = [`${method} /v2/create_conversation HTTP/1.1`, `Host: ${new URL(server.url).host}`, `Origin: ${origin}`]
  return exchange(server, [...head, ...more, `Content-Length: ${body.length}`], body)
}

describe('the origin of a page', () => {
  it('S8 an allowed origin may open a session, the same origin always, and so may who is no browser', async () => {
    await using server = await startServer({ origins: allowed })
    for (const origin of welcome(server)) {
      await using alice = await connect(server, 'user/alice', { origin })
      expect(await alice.rest()).toEqual([])
    }
    await using nobodysPage = await connect(server, 'user/alice')
    expect(await nobodysPage.rest()).toEqual([])
    await using closed = await startServer()
    await using own = await connect(closed, 'user/alice', { origin: closed.url })
    expect(await own.rest()).toEqual([])
  })

  it('S8 what is not exactly an allowed origin gets no session', async () => {
    await using server = await startServer({ origins: allowed })
    await expect(open(server, { origin: 'https://evil' })).rejects.toThrow('403')
    for (const origin of lookAlikes(server)) {
      expect([origin, await upgradeStatus(server, origin)]).toEqual([origin, 403])
    }
    for (const origin of welcome(server)) {
      expect([origin, await upgradeStatus(server, origin)]).toEqual([origin, 400])
      const second = await upgradeStatus(server, origin, ['Origin: https://evil'])
      expect([origin, second]).toEqual([origin, 403])
    }
  })

  it('S8 without --origins no page of elsewhere gets a session', async () => {
    await using server = await startServer()
    for (const origin of [...lookAlikes(server), ...allowed]) {
      expect([origin, await upgradeStatus(server, origin)]).toEqual([origin, 403])
    }
  })

  it('S8 who is refused a session is hung up on, be it that he never hangs up himself', async () => {
    await using server = await startServer()
    const { hostname, port } = new URL(server.url)
    const head = ['Connection: Upgrade', 'Upgrade: websocket', `Host: ${hostname}:${port}`]
    for (const line of ['GET /v2/socket HTTP/1.1\r\nOrigin: https://evil', 'GET /elsewhere HTTP/1.1']) {
      const socket = dial({ port: Number(port), host: hostname, allowHalfOpen: true })
      await using tcp = new RawTcp(socket)
      socket.write(`${[line, ...head].join('\r\n')}\r\n\r\n`)
      await once(socket, 'end')
      expect(tcp.text).toMatch(/^HTTP\/1.1 40[34] .*"code":"(forbidden|not_found)"/s)
      // Half of the connection is open still, for this side: the server would have to wait for it.
      await server.stop()
      await server.start()
    }
  })

  it('S8 a request that names no host has no same origin', async () => {
    await using server = await startServer({ origins: allowed })
    const head = ['POST /v2/get_unread_count HTTP/1.0', `Authorization: Bearer ${await server.token('alice')}`]
    expect((await exchange(server, head)).status).toBe(200)
    for (const origin of ['http://undefined', 'https://undefined', 'http://']) {
      expect([origin, (await exchange(server, [...head, `Origin: ${origin}`])).status]).toEqual([origin, 403])
    }
  })

  it('S8 over HTTP a page of an allowed origin may read the answer, and so it is told before it asks', async () => {
    await using server = await startServer({ origins: allowed })
    const token = [`Authorization: Bearer ${await server.token('alice')}`]
    for (const origin of welcome(server)) {
      const asked = await call(server, 'POST', origin, token, '{"participants":[]}')
      expect([origin, asked.status]).toEqual([origin, 200])
      const refused = await call(server, 'POST', origin, [], '{"participants":[]}')
      expect([origin, refused.status]).toEqual([origin, 401])
      const preflight = await call(server, 'OPTIONS', origin, ['Access-Control-Request-Method: POST'], '')
      expect([origin, preflight.status, preflight.body]).toEqual([origin, 204, ''])
      for (const { head } of [asked, refused, preflight]) {
        expect(head.toLowerCase()).toContain(`\r\naccess-control-allow-origin: ${origin}\r\n`)
        expect(head.toLowerCase()).toContain('\r\nvary: origin\r\n')
        expect(head.toLowerCase()).not.toContain('allow-credentials')
        expect(head.toLowerCase()).toContain('\r\naccess-control-expose-headers: retry-after\r\n')
      }
      expect(preflight.head.toLowerCase()).toContain(
        '\r\naccess-control-allow-headers: authorization, content-type\r\n',
      )
    }
  })

  it('S8 over HTTP what is not exactly an allowed origin is forbidden, learns nothing, and nothing is done', async () => {
    await using server = await startServer({ origins: allowed })
    await using alice = await connect(server, 'user/alice')
    const token = [`Authorization: Bearer ${await server.token('alice')}`]
    for (const origin of lookAlikes(server)) {
      for (const method of ['POST', 'OPTIONS']) {
        const { status, head, body } = await call(server, method, origin, token, '{"participants":[]}')
        expect([origin, status]).toEqual([origin, 403])
        expect(JSON.parse(body)).toMatchObject({ error: { code: 'forbidden' } })
        expect(head.toLowerCase()).not.toContain('access-control')
      }
    }
    expect(await alice.rest()).toEqual([])
  })
})

describe('cookies', () => {
  it('S8 no cookie proves who one is, none is needed, and none is set', async () => {
    await using server = await startServer({ origins: allowed })
    const token = await server.token('alice')
    const names = ['token', 'authorization', 'access_token', 'session', 'fanfare', 'jwt', 'api_key']
    const cookie = names.map((name) => `${name}=${name === 'api_key' ? server.apiKey : token}`).join('; ')

    await using session = new RawSession(server.socketUrl, { origin: server.url, headers: { cookie } })
    const begun = once(session.webSocket, 'open')
    const [handshake] = (await once(session.webSocket, 'upgrade')) as [IncomingMessage]
    expect(handshake.headers['set-cookie']).toBeUndefined()
    await begun
    expect(await codeOf(session.command('get_unread_count'))).toBe('unauthorized')
    expect(await session.closed).toEqual({ code: 4401, reason: 'unauthorized' })

    const asked = await call(server, 'POST', server.url, [`Cookie: ${cookie}`, 'Fanfare-As: user/alice'])
    expect(asked.status).toBe(401)
    const other = await server.call('get_user_channel', {}, undefined, {
      authorization: `Bearer ${await server.token('bob')}`,
      cookie,
    })
    expect(other.result.user_channel.user).toBe('user/bob')
    for (const headers of [asked.head, [...other.headers].join()]) expect(headers).not.toMatch(/set-cookie/i)
  })
})
