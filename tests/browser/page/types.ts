/**
 * What an application's code for browsers may rely on, proved by the compiler alone: this file is checked with the DOM's types, and never
 * runs. The core of the SDK is checked without them (C8).
 */
import {
  type Chat,
  type ConversationId,
  type ConversationRef,
  createChat,
  type RecordEvent,
  type TypingElement,
  type TypingState,
} from '../../../src/client/index.ts'

declare const chat: Chat
declare const conversation: ConversationId
declare const input: HTMLInputElement
declare const textarea: HTMLTextAreaElement
/** An element that is `contenteditable`. */
declare const editable: HTMLElement

export const unbind: (() => void)[] = [
  chat.bindTypingIndicator(conversation, input),
  chat.bindTypingIndicator(conversation, textarea, { pauseAfterMs: 1_000 }),
  chat.bindTypingIndicator({ id: conversation }, editable),
]

export const withPlatformSocket: Chat = createChat({ url: location.origin, token: 'text', WebSocket })
export const withTokenFunction: Chat = createChat({
  url: location.origin,
  token: async () => (await fetch('/chat-token')).text(),
  cursor: localStorage.getItem('cursor'),
})

interface Mood {
  readonly mood: string
  readonly since?: number
}

/** What is sent may be typed by an interface; what comes back is what the server holds, of which no type is promised. */
export async function interfaces(mood: Mood, limit: number | undefined): Promise<unknown> {
  const { metadata } = await chat.createMessage(conversation, 'Hello', mood, mood)
  await chat.createConversation([], null, mood)
  await chat.createDirectConversation('user/bob', null, mood)
  await chat.updateConversation(conversation, { metadata: mood })
  await chat.editMessage('message/1', { metadata: mood, attachment: null })
  await chat.updateUser({ metadata: mood })
  // @ts-expect-error A list is no metadata.
  await chat.createMessage(conversation, 'Hello', ['mood'])
  // @ts-expect-error Nor does it come back as what was sent.
  const sent: Mood = metadata
  await chat.getConversations({ limit, before: undefined })
  await chat.getParticipants(conversation, { limit, after: undefined })
  return sent
}

export async function call(signal: AbortSignal): Promise<string> {
  const { conversation } = await chat.createDirectConversation(`user/${input.value}`, undefined, undefined, { signal })
  const message = await chat.createMessage(conversation, textarea.value, { mood: 'fine' }, null, { signal })
  return message.body
}

/** A record's type follows from its `record_type`. */
export function text(event: RecordEvent): string | null {
  if (event.record_type === 'message') return event.record.deleted ? null : event.record.body
  if (event.record_type === 'conversation') return 'title' in event.record ? event.record.title : null
  return event.record_type === 'user' ? event.record.name : null
}

/** What the types refuse. */
type Refused<A, B> = A extends B ? never : true
export const refused: [
  Refused<'user/alice', ConversationRef>,
  Refused<'started', TypingState>,
  Refused<Event, TypingElement>,
] = [true, true, true]
