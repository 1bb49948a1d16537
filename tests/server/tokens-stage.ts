/** How a token fares, on a session and over HTTP. */
import { expect } from 'vitest'
import { open } from '../../src/testing/raw-session.ts'
import type { TestServer } from '../../src/testing/start-server.ts'

/** The code that `connect` is answered with and the code that the session is closed with then; null where it stays. */
export async function connecting(server: TestServer, token: string): Promise<[string, string | null]> {
  await using session = await open(server)
  session.send(JSON.stringify({ id: 1_000, command: 'connect', args: { token } }))
  const reply = await session.reply(1_000)
  if ('result' in reply) return ['connected', null]
  const { code, reason } = await session.closed
  expect(session.frames).toHaveLength(1)
  return [reply.error.code, `${code} ${reason}`]
}

export async function expectTaken(server: TestServer, token: string, what: string): Promise<void> {
  expect([what, ...(await connecting(server, token))]).toEqual([what, 'connected', null])
  expect([what, (await calling(server, token)).status]).toEqual([what, 200])
}

export async function expectRefused(server: TestServer, token: string, what: string): Promise<void> {
  expect([what, ...(await connecting(server, token))]).toEqual([what, 'unauthorized', '4401 unauthorized'])
  expect([what, (await calling(server, token)).status]).toEqual([what, 401])
}

export function calling(server: TestServer, token: string) {
  return server.call('get_unread_count', {}, undefined, { authorization: `Bearer ${token}` })
}
