/** What the application's page keeps for tests to reach. Read with the DOM's types by the page, and without them by the tests. */
import type { Chat, ConnectionState, ConversationId, RecordEvent, TypingSet } from '../../../src/client/index.ts'

/** The page's global `chatPage`. */
export interface ChatPage {
  readonly chat: Chat
  /** What came, in order; `typing` is for who subscribes to it. */
  readonly events: RecordEvent[]
  readonly typing: TypingSet[]
  readonly states: ConnectionState['status'][]
  /** Binds the element with this id; returns how to unbind it. */
  bind(id: string, conversation: ConversationId): () => void
}
