/** Who reads through crashes, by the SDK, and writes down what its callbacks were told. */
import { WebSocket } from 'ws'
import { type Chat, createChat } from '../../../src/client/index.ts'
import type { WebSocketClass } from '../../../src/client/platform.ts'
import type { ConversationId, UserId } from '../../../src/protocol/ids.ts'
import type { RecordEvent } from '../../../src/protocol/records.ts'
import { tokenFor } from '../server-process.ts'

/** What tells one event of a conversation from all its others. */
export function nameOf({ event_type, record_type, record }: RecordEvent): string {
  return record_type === 'message' ? `${event_type} ${record.id} ${record.revision}` : `${event_type} ${record_type}`
}

export class Reader implements Disposable {
  readonly user: UserId
  /** The events that came, by conversation, in the order in which they came. */
  readonly told = new Map<ConversationId, string[]>()
  readonly problems: string[] = []
  /** How many sessions it has had. */
  sessions = 0
  chat: Chat
  readonly #url: string
  readonly #WebSocket: WebSocketClass

  constructor(url: string, user: UserId, webSocket: WebSocketClass = WebSocket) {
    this.#url = url
    this.#WebSocket = webSocket
    this.user = user
    this.chat = this.#open()
  }

  /** Resolves when it is connected for the first time: from then on nothing may escape it. */
  connected(): Promise<void> {
    return new Promise((resolve) => {
      const look = () => {
        if (this.chat.state.status === 'connected') resolve()
      }
      this.chat.onState(look)
      look()
    })
  }

  /** Leaves, as a page does that is reloaded, and comes back with the cursor that it kept. */
  reload(): void {
    const { cursor } = this.chat
    this.chat.close()
    this.chat = this.#open(cursor)
  }

  [Symbol.dispose](): void {
    this.chat.close()
  }

  #open(cursor: string | null = null): Chat {
    const chat = createChat({ url: this.#url, token: () => tokenFor(this.user), cursor, WebSocket: this.#WebSocket })
    chat.subscribe((event) => this.#note(event))
    chat.onState(({ status, error }) => {
      if (status === 'connected') this.sessions++
      if (status === 'closed' && error) this.problems.push(`${this.user} was closed: ${error.message}`)
    })
    chat.onGap((gap) => this.problems.push(`${this.user} was told of a gap: ${JSON.stringify(gap)}`))
    chat.onReset(() => this.problems.push(`${this.user} was told to begin anew`))
    return chat
  }

  #note(event: RecordEvent): void {
    const { record_type, record } = event
    if (record_type !== 'message' && record_type !== 'conversation') return
    const conversation = record_type === 'message' ? record.conversation : record.id
    const told = this.told.get(conversation) ?? []
    this.told.set(conversation, told)
    told.push(nameOf(event))
  }
}
