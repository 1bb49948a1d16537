/** What the load generator says to each kind of server, and how it tells the server's frames apart by a few of their bytes. */

export type DialectName = 'fanfare' | 'floor' | 'socket.io'

/** What a frame is to the load generator. */
export type Kind = 'push' | 'typing' | 'reply' | 'refusal' | 'ready' | 'ask' | 'other'

export interface Dialect {
  /** Where sessions connect. */
  readonly path: string
  /** Where a publisher connects that is none of the sessions; null where one of them publishes. */
  readonly publisherPath: string | null
  /** A session's first word; null where it has none to say before it is asked. */
  hello(token: string, cursor?: string): string | null
  /** Whether a session is ready without any answer. */
  readonly readyAtOnce: boolean
  /** What must be said to an `ask`. */
  answer(bytes: Buffer, from: number): string
  kindOf(bytes: Buffer, from: number): Kind
  /** A message to all. */
  publish(id: number, conversation: string, body: string): string
}

const code = (text: string) => text.charCodeAt(0)

const fanfare: Dialect = {
  path: '/v2/socket',
  publisherPath: null,
  hello: (token, cursor) => JSON.stringify({ id: 1, command: 'connect', args: { token, cursor } }),
  readyAtOnce: false,
  answer: () => '',
  // {"event":"create",… | {"event":"typing",… | {"id":7,"result":… | {"id":7,"error":… | {"gap":…
  kindOf(bytes, from) {
    if (bytes[from + 2] === code('e')) {
      if (bytes[from + 10] === code('c')) return 'push'
      return bytes[from + 10] === code('t') ? 'typing' : 'other'
    }
    if (bytes[from + 2] !== code('i')) return 'other'
    let comma = from + 6
    while (bytes[comma] !== code(',')) comma++
    if (bytes[comma + 2] === code('e')) return 'refusal'
    return comma === from + 7 && bytes[from + 6] === code('1') ? 'ready' : 'reply'
  },
  publish: createMessage,
}

/** The bare writers, in C and in Node, and `ws` alone: whatever comes from /pub goes to all of /sub. */
const floor: Dialect = {
  path: '/sub',
  publisherPath: '/pub',
  hello: () => null,
  readyAtOnce: true,
  answer: () => '',
  kindOf: () => 'push',
  publish: (_id, _conversation, body) => body,
}

/** Engine.IO and Socket.IO: 0 opens, 40 connects, 42 is an event, 2 is a ping and 3 its answer. */
const socketIo: Dialect = {
  path: '/socket.io/?EIO=4&transport=websocket',
  publisherPath: null,
  hello: () => null,
  readyAtOnce: false,
  answer: (bytes, from) => (bytes[from] === code('0') ? '40' : '3'),
  kindOf(bytes, from) {
    if (bytes[from] !== code('4')) return 'ask'
    return bytes[from + 1] === code('0') ? 'ready' : 'push'
  },
  publish: (_id, _conversation, body) => `42["message",${JSON.stringify(body)}]`,
}

export const dialects: Readonly<Record<DialectName, Dialect>> = { fanfare, floor, 'socket.io': socketIo }

/** The command of Fanfare that publishes. */
export function createMessage(id: number, conversation: string, body: string): string {
  return `{"id":${id},"command":"create_message","args":{"conversation":"${conversation}","body":"${body}"}}`
}
