/** Messages to all sessions at a steady rate, while one of them, the last, may have stopped reading. */
import { createMessage } from './dialects.ts'
import type { Session } from './sessions.ts'
import { atRate, type Latency, latencyOf } from './timing.ts'

export interface Steady {
  readonly conversation: string
  /** The first so many sessions are timed; what comes to the others is their own affair. */
  readonly timed: number
  readonly messages: number
  readonly perSecond: number
  readonly bodyBytes: number
}

/** Sends from the first session, whether or not the server keeps up. Gives the time from sending to each push, when the last one has been read. */
export async function steady(sessions: readonly Session[], job: Steady): Promise<Latency> {
  const { conversation, timed, messages, perSecond, bodyBytes } = job
  const body = 'x'.repeat(bodyBytes)
  const sentAt: number[] = []
  const milliseconds: number[] = []
  const { promise: done, resolve } = Promise.withResolvers<void>()
  for (const [index, session] of sessions.entries()) {
    // Pushes of one conversation come in its order.
    let pushes = 0
    session.onFrame = (kind) => {
      if (kind !== 'push' || index >= timed) return
      if (milliseconds.push(performance.now() - sentAt[pushes++]!) === messages * timed) resolve()
    }
  }
  await atRate(messages, perSecond, (index) => {
    sentAt[index] = performance.now()
    sessions[0]!.send(createMessage(index + 2, conversation, body))
  })
  await done
  return latencyOf(milliseconds)
}

export interface Read {
  /** The code of the server's goodbye, 1006 where there was none; null where the session went on. */
  readonly code: number | null
  /** What had waited for it: in its queue, and in the kernel. */
  readonly bytes: number
}

/** Lets a session that has stopped reading take what waits for it, up to its end or to the answer to a command, and ends it. */
export async function readOn(session: Session): Promise<Read> {
  const { promise: goesOn, resolve } = Promise.withResolvers<null>()
  session.onFrame = (kind) => {
    if (kind === 'reply') resolve(null)
  }
  const before = session.bytesRead
  const ended = session.readOn()
  session.send('{"id":2,"command":"ping","args":{}}')
  const code = await Promise.race([ended, goesOn])
  session.end()
  return { code, bytes: session.bytesRead - before }
}
