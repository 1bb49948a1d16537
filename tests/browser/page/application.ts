/** The page of an application that uses the SDK as any would: bundled into its own script, with tokens from its own backend. */
import { createChat } from '../../../src/client/index.ts'
import type { ChatPage } from './chat-page.ts'

const query = new URLSearchParams(location.search)
const user = query.get('user') ?? ''
const chat = createChat({
  url: query.get('chat') ?? '',
  token: async () => (await fetch(`/chat-token/${user}`)).text(),
})

const chatPage: ChatPage = {
  chat,
  events: [],
  typing: [],
  states: [],
  bind: (id, conversation) => chat.bindTypingIndicator(conversation, document.getElementById(id) as HTMLElement),
}
chat.subscribe((event) => chatPage.events.push(event))
chat.onState(({ status }) => chatPage.states.push(status))
Object.assign(globalThis, { chatPage })
