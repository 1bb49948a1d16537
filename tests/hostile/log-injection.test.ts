/** Whatever is sent, a line of the log is one line, whole JSON, and the server's own (U1, W3). */
import { expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { connect, RawSession } from '../../src/testing/raw-session.ts'
import { exchange, sendBytes } from '../server/raw-tcp.ts'
import { startServerProcess } from './server-process.ts'

const forged = '{"level":"fatal","event":"forged"}'
const tricks = [
  `\n${forged}\n`,
  `\r\n${forged}\r\n`,
  `\u2028${forged}\u2029`,
  `\u0085${forged}`,
  `","event":"forged","x":"`,
  `\u001b[2J\u001b[31mforged\u001b]0;forged\u0007`,
  `\u202e\u2066forged`,
  '%s%d%j%o forged',
  // biome-ignore lint/suspicious/noTemplateCurlyInString: it is one for whoever would fill it in.
  '${process.env.FANFARE_API_KEY} forged',
  '\\n\\u000aforged',
]

it('W3 names, origins, paths, ids and bodies with line ends and control characters make no line of their own in the log', async () => {
  await using server = await startServerProcess(['--log-level=debug', '--listeners', '--trusted-proxies=127.0.0.1'])
  await using alice = await connect(server, 'user/alice')
  const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
  const told: string[] = []
  for (const trick of tricks) {
    const attempts: [string, object][] = [
      [trick, {}],
      ['create_message', { conversation: conversation.id, body: trick, metadata: { [trick]: trick } }],
      ['create_message', { conversation: trick, body: trick }],
      ['create_message', { conversation: conversation.id, body: 'b', [trick]: trick }],
      ['create_message', { conversation: conversation.id, body: 'b', client_id: trick }],
      ['update_user', { name: trick, avatar_url: trick }],
      ['get_users', { users: [trick, `user/${trick}`] }],
      ['subscribe_typing', { conversation: `conversation/${trick}` }],
      ['refresh_token', { token: trick }],
      ['refresh_token', { token: await server.token(trick) }],
      ['connect', { token: trick }],
    ]
    for (const [command, args] of attempts) {
      await alice.commandOf({ command, args }).catch((error: Error) => told.push(error.message))
    }
    for (const args of [
      { token: trick },
      { token: await server.token(trick) },
      { channel: trick },
      { cursor: trick },
    ]) {
      await using session = new RawSession(server.socketUrl, {})
      await new Promise((resolve) => session.webSocket.once('open', resolve))
      await session.commandOf({ command: 'connect', args }).catch((error: Error) => told.push(error.message))
    }
    // What HTTP can carry of it: Node refuses line ends in a head by itself, and so is the server's answer 400.
    const bytes = Buffer.from(trick).toString('latin1')
    const header = bytes.replaceAll(/[\r\n]/g, ' ')
    const upgrade = ['Upgrade: websocket', 'Connection: Upgrade', 'Sec-WebSocket-Version: 13']
    const heads = [
      [`POST /v2/get_users HTTP/1.1`, `Authorization: Bearer ${server.apiKey}`, `Fanfare-As: user/${header}`],
      [`POST /v2/get_users HTTP/1.1`, `Authorization: Bearer ${header}`],
      [`POST /v2/get_users HTTP/1.1`, `Origin: http://${header}`],
      [`POST /v2/get_users HTTP/1.1`, `X-Forwarded-For: ${header}`, `Origin: ${header}`],
      [`GET /v2/socket HTTP/1.1`, ...upgrade, 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', `Origin: ${header}`],
      [`POST /v2/${encodeURIComponent(trick)} HTTP/1.1`],
      [`POST /v2/${header.replaceAll(' ', '')} HTTP/1.1`],
      [`POST /v2/get_users HTTP/1.1`, `X-Injected: a\r\n\r\n${forged}`],
    ]
    for (const head of heads) {
      const { body } = await exchange(server, [head[0]!, 'Host: a', 'Content-Length: 0', ...head.slice(1)])
      if (body.startsWith('{')) told.push(JSON.parse(body).error.message)
    }
    await using garbage = await sendBytes(server, `${bytes}\r\n\r\n`)
    await garbage.closed
    // A close with a reason of the peer's own.
    const closing = new WebSocket(server.socketUrl)
    await new Promise((resolve) => closing.once('open', resolve))
    closing.close(4000, trick.slice(0, 40))
    await new Promise((resolve) => closing.once('close', resolve))
  }
  await alice.end()
  const { stdout, stderr, code } = await server.stop()
  expect([code, stderr]).toEqual([0, ''])

  const lines = stdout.split('\n').slice(0, -1)
  const [plain, log] = [lines.filter((line) => !line.startsWith('{')), lines.filter((line) => line.startsWith('{'))]
  expect(plain).toEqual([`Fanfare is listening on ${server.url}`])
  const entries = log.map((line) => JSON.parse(line) as { level: string; event: string })
  expect(entries.filter(({ event }) => event === 'forged')).toEqual([])
  expect(new Set(entries.map(({ level }) => level))).toEqual(new Set(['info', 'debug']))
  expect(entries.length).toBeGreaterThan(tricks.length * 10)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  expect(stdout).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u2029]/)
  // Errors say what is wrong in one line as well.
  expect(told.length).toBeGreaterThan(tricks.length * 8)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for.
  for (const text of told) expect(text).not.toMatch(/[\u0000-\u001f]/)
  for (const secret of [server.apiKey, 'token-secret']) expect(stdout).not.toContain(secret)
}, 60_000)
