/** One types, some watch, and everybody is listened to. The first session types; those behind it watch. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Session } from './sessions.ts'

export interface Watch {
  readonly conversation: string
  readonly watchers: number
}

/** Lets the sessions behind the first one watch, and the first one type once, so that the server has heard of all there is to know. */
export async function watch(sessions: readonly Session[], { conversation, watchers }: Watch): Promise<void> {
  const [typist, ...others] = sessions
  await Promise.all(others.slice(0, watchers).map((session) => command(session, 'subscribe_typing', { conversation })))
  await command(typist!, 'typing', { conversation, event: 'begin' })
  await sleep(changeMs)
}

export interface Type {
  readonly conversation: string
  readonly changes: number
}

/** Changes the typist's state so often; says how many pushes of typing came to all sessions together. */
export async function type(sessions: readonly Session[], { conversation, changes }: Type): Promise<number> {
  let pushes = 0
  for (const session of sessions) {
    session.onFrame = (kind) => {
      if (kind === 'typing') pushes++
    }
  }
  for (let change = 1; change <= changes; change++) {
    const event = change === changes ? 'finished' : change % 2 === 1 ? 'pause' : 'begin'
    sessions[0]!.send(JSON.stringify({ id: 3, command: 'typing', args: { conversation, event } }))
    await sleep(changeMs)
  }
  return pushes
}

/** Changes that come faster than every 250 ms are pushed together (T5). */
const changeMs = 300

function command(session: Session, name: string, args: object): Promise<void> {
  return new Promise((resolve) => {
    session.onFrame = (kind) => {
      if (kind === 'reply') resolve()
    }
    session.send(JSON.stringify({ id: 2, command: name, args }))
  })
}
