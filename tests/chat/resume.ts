/** What the tests on resuming have in common: a session that goes on from a cursor, and what came to it. */
import type { ConnectResult } from '../../src/protocol/commands.ts'
import type { EventFrame, GapFrame, PushFrame } from '../../src/protocol/frames.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { isEvent, open, type RawSession } from '../../src/testing/raw-session.ts'
import type { TestServer } from '../../src/testing/start-server.ts'
import type { Stage } from './stage.ts'

/** A session of `user` that goes on from `cursor`; it ends with its scope. */
export async function resume(
  { server }: { readonly server: TestServer },
  user: UserId,
  cursor: string,
): Promise<RawSession & { readonly greeting: ConnectResult }> {
  const session = await open(server)
  const token = await server.token(user.slice('user/'.length))
  return Object.assign(session, { greeting: await session.command('connect', { token, cursor }) })
}

/** Resolves when the session has all that it missed: from then on the cursor of `ping` is that of everybody. */
export async function caughtUp(session: RawSession, live: RawSession): Promise<void> {
  for (;;) {
    const { cursor } = await live.command('ping')
    if ((await session.command('ping')).cursor === cursor) return
  }
}

/** All that `user` is told who goes on from `cursor`, until nothing is missing. */
export async function missedSince(stage: Stage, user: UserId, cursor: string, live: RawSession): Promise<PushFrame[]> {
  await using session = await resume(stage, user, cursor)
  if (!session.greeting.resumed) throw new Error(`${cursor} was not gone on from`)
  await caughtUp(session, live)
  return session.pushes
}

/** What an event says besides where it stands: a message's body, or what it was that came. */
export function said({ data }: EventFrame): string {
  return data.record_type === 'message' ? data.record.body : `${data.event_type} ${data.record_type}`
}

export async function restOfEvents(session: RawSession): Promise<EventFrame[]> {
  return (await session.rest()).filter(isEvent)
}

export function isGap(push: PushFrame): push is GapFrame {
  return 'gap' in push
}
