/** A chat of the SDK that ends with its test. */
import { vi } from 'vitest'
import { WebSocket } from 'ws'
import type { ConnectionState } from '../../src/client/connection.ts'
import { type Chat, type ChatOptions, createChat } from '../../src/client/index.ts'
import type { ScriptedServer, ScriptedSession } from './scripted-server.ts'

export function openChat(
  server: { readonly url: string },
  options: Partial<ChatOptions> = {},
): { chat: Chat } & Disposable {
  const chat = createChat({ url: server.url, token: 'token-1', WebSocket, ...options })
  return { chat, [Symbol.dispose]: () => chat.close() }
}

/** A chat whose session has begun. */
export async function openSession(
  server: ScriptedServer,
  options: Partial<ChatOptions> = {},
): Promise<{ chat: Chat; session: ScriptedSession } & Disposable> {
  const opened = openChat(server, options)
  const session = await server.session()
  await session.begin()
  await reached(opened.chat, 'connected')
  return { ...opened, session }
}

/** Settings of a session in which no ping comes between. */
export const quiet = {
  typing_interval_ms: 1_000,
  typing_expiry_ms: 5_000,
  ping_interval_ms: 0,
  max_frame_bytes: 65_536,
}

/** The state, once its status is `status`. */
export function reached(chat: Chat, status: ConnectionState['status']): Promise<ConnectionState> {
  if (chat.state.status === status) return Promise.resolve(chat.state)
  return new Promise((resolve) => {
    const stop = chat.onState((state) => {
      if (state.status !== status) return
      stop()
      resolve(state)
    })
  })
}

/** The test's clock from here on: timers of the SDK wait until the test moves on. Sockets stay real. */
export function holdTime(random = 0): void {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] })
  vi.spyOn(Math, 'random').mockReturnValue(random)
}

/** Breaks the link, and gives the session with which the chat comes back, not begun yet. It needs `holdTime`. */
export async function cutAndReturn(
  server: ScriptedServer,
  chat: Chat,
  session: ScriptedSession,
): Promise<ScriptedSession> {
  session.cut()
  await reached(chat, 'waiting')
  vi.advanceTimersByTime(500)
  return server.session()
}

/** The chat has read all that was sent to it, and the server all that came. */
export async function answered(chat: Chat, session: ScriptedSession): Promise<void> {
  const call = chat.getUnreadCount()
  session.reply((await session.command('get_unread_count')).id, { conversation: 0, message: 0 })
  await call
}

/** The chat has read all that was sent to it, and the server all that came of it, also while calls wait. */
export async function caughtUp(session: ScriptedSession): Promise<void> {
  await session.echo()
  // What a promise does comes behind the first.
  await session.echo()
}

/** The values that a callback gets, for whoever waits for the next one. */
export function recorder<T>(): { readonly callback: (value: T) => void; readonly got: T[]; next(): Promise<T> } {
  const got: T[] = []
  let taken = 0
  let wake: (() => void) | null = null
  return {
    got,
    callback(value) {
      got.push(value)
      wake?.()
    },
    async next() {
      if (got.length <= taken) {
        await new Promise<void>((resolve) => {
          wake = resolve
        })
      }
      return got[taken++] as T
    },
  }
}
