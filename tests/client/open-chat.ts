/** A chat of the SDK that ends with its test. */
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
