/** Who never gets so far as to be a session: dribbled heads, silence, and handshakes that are none (W1, W7). */
import { expect, it } from 'vitest'
import { connect } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { type RawTcp, sendBytes } from '../server/raw-tcp.ts'

const head = (...lines: string[]) => `${['GET /v2/socket HTTP/1.1', 'Host: a', ...lines].join('\r\n')}\r\n\r\n`
const upgrade = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13']
const key = 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='

it('W1, W7 who sends a head byte by byte, or nothing at all, is cut off, and until then costs nobody else anything', async () => {
  await using server = await startServer()
  await using dribbling = new AsyncDisposableStack()
  const slow: RawTcp[] = []
  for (const path of ['GET /v2/socket', 'POST /v2/get_users']) {
    for (let count = 0; count < 100; count++) {
      slow.push(dribbling.use(await sendBytes(server, `${path} HTTP/1.1\r\nHost: a\r\nX-Slow: `)))
    }
  }
  const silent = dribbling.use(await sendBytes(server, ''))
  const dribble = setInterval(() => {
    for (const { socket } of slow) socket.write('x')
  }, 500)
  try {
    await using alice = await connect(server, 'user/alice')
    expect(await alice.command('get_unread_count')).toEqual({ conversation: 0, message: 0 })
    // Node gives them 10 s, and looks at them every 2 s. What ends the test here is the test's own end.
    await Promise.all([...slow, silent].map(({ closed }) => closed))
    for (const { text } of slow) expect(text).toMatch(/^(HTTP\/1\.1 408 Request Timeout\r\n|$)/)
    expect(await alice.rest()).toEqual([])
  } finally {
    clearInterval(dribble)
  }
}, 60_000)

it.each([
  ['no key', head(...upgrade), 400],
  ['a key that is none', head(...upgrade, 'Sec-WebSocket-Key: short'), 400],
  ['a version that there is not', head(...upgrade.slice(0, 2), 'Sec-WebSocket-Version: 12', key), 400],
  ['another protocol', head('Upgrade: h2c', 'Connection: Upgrade'), 426],
  ['a POST', head(...upgrade, key).replace('GET', 'POST'), 405],
  ['another path', head(...upgrade, key).replace('/v2/socket', '/v2/socket/'), 404],
  ['a path within a path', head(...upgrade, key).replace('/v2/socket', '/v2/../v2/socket'), 404],
  ['a whole URL', head(...upgrade, key).replace('/v2/socket', 'http://a/v2/socket'), 404],
  ['a foreign origin', head(...upgrade, key, 'Origin: http://evil.example'), 403],
  ['a bad subprotocol', head(...upgrade, key, 'Sec-WebSocket-Protocol: a,,b'), 400],
])('W1 a handshake with %s is refused, and the server goes on', async (_what, bytes, status) => {
  await using server = await startServer()
  await using tcp = await sendBytes(server, bytes)
  await tcp.until('\r\n\r\n')
  expect(tcp.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `))
  expect(tcp.text).not.toMatch(/ at .*:\d+:\d+|node_modules|node:/)
  await using alice = await connect(server, 'user/alice')
  expect(await alice.rest()).toEqual([])
})
