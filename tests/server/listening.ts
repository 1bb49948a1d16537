/** Listeners (U4), and connects that are refused. */

import type { ErrorBody } from '../../src/protocol/codes.ts'
import type { ConnectResult } from '../../src/protocol/commands.ts'
import { type Ending, open, type RawSession } from '../../src/testing/raw-session.ts'
import type { TestServer } from '../../src/testing/start-server.ts'

/** A listener by the channel's name. */
export async function listen(
  server: TestServer,
  channel: string,
  cursor?: string,
): Promise<RawSession & { readonly greeting: ConnectResult }> {
  const session = await open(server)
  const greeting = await session.command('connect', { channel, ...(cursor !== undefined && { cursor }) })
  return Object.assign(session, { greeting })
}

/** The error that `connect` is answered with, and how the session ends then. It fails where the session stays. */
export async function refusedConnect(
  server: TestServer,
  args: { token?: string; channel?: string; cursor?: string },
): Promise<{ error: ErrorBody; ending: Ending }> {
  await using session = await open(server)
  session.send(JSON.stringify({ id: 1_000, command: 'connect', args }))
  const reply = await session.reply(1_000)
  if (!('error' in reply)) throw new Error(`it was not refused: ${JSON.stringify(reply)}`)
  return { error: reply.error, ending: await session.closed }
}
