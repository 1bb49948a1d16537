/** Typed ids (W8): the type is part of the id, so that one kind can't be taken for another. */

/** `user/` and the name that the application gave: 1–128 of `A-Za-z0-9_.@:~-`. */
export type UserId = `user/${string}`
/** Made by the server: `conversation/` and a UUID version 7. */
export type ConversationId = `conversation/${string}`
/** Made by the server: `message/` and a UUID version 7. */
export type MessageId = `message/${string}`
export type SessionId = `session/${string}`
/** Made by the server. It is no secret: the channel's `name` is. */
export type UserChannelId = `user_channel/${string}`
/** Made of the two that it joins, see `userConversationId`. */
export type UserConversationId = `user_conversation/${string}`

const userName = /^[A-Za-z0-9_.@:~-]{1,128}$/
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/

/** Whether `value` is a user's id without its type: 1–128 of `A-Za-z0-9_.@:~-` (W8). It is what a token's `sub` holds (S2). */
export function isUserName(value: unknown): value is string {
  return typeof value === 'string' && userName.test(value)
}

/** Whether `value` is `user/` and a user's name. */
export function isUserId(value: unknown): value is UserId {
  return typeof value === 'string' && value.startsWith('user/') && userName.test(value.slice(5))
}

/** Whether `value` is `conversation/` and a UUID version 7. It says nothing of whether the conversation exists. */
export function isConversationId(value: unknown): value is ConversationId {
  return typeof value === 'string' && value.startsWith('conversation/') && uuid.test(value.slice(13))
}

/** Whether `value` is `message/` and a UUID version 7. It says nothing of whether the message exists. */
export function isMessageId(value: unknown): value is MessageId {
  return typeof value === 'string' && value.startsWith('message/') && uuid.test(value.slice(8))
}

/** A user has one `user_conversation` in each conversation, so its id is made of the two (E1). */
export function userConversationId(user: UserId, conversation: ConversationId): UserConversationId {
  return `user_conversation/${conversation.slice(13)}:${user.slice(5)}`
}
