/** The client's door: what an application imports from `fanfare/client`. */
export { type ErrorCode, type ErrorDetails, FanfareError } from '../protocol/codes.ts'
export type { ConversationView, ProfileChanges } from '../protocol/commands.ts'
export type { EventFrame, Gap } from '../protocol/frames.ts'
export type {
  ConversationId,
  MessageId,
  UserChannelId,
  UserConversationId,
  UserId,
} from '../protocol/ids.ts'
export type {
  Conversation,
  EventType,
  GoneConversation,
  Message,
  Metadata,
  RecordEvent,
  RecordType,
  RecordTypes,
  Timestamp,
  User,
  UserChannel,
  UserConversation,
} from '../protocol/records.ts'
export type { TypingEntry, TypingSet, TypingState } from '../protocol/typing.ts'
export type { TypingBindingOptions, TypingElement } from './bind-typing-indicator.ts'
export {
  type CallOptions,
  type Chat,
  type ChatOptions,
  type ConversationOptions,
  type ConversationRef,
  createChat,
  type MessageRef,
  type SendOptions,
  type StateCallback,
  type UserRef,
} from './client.ts'
export type { ConnectionState } from './connection.ts'
export type { EventCallback, GapCallback, ResetCallback } from './events.ts'
export type { Signal, WebSocketClass } from './platform.ts'
export type { Token } from './token.ts'
export type { TypingCallback } from './typing.ts'
