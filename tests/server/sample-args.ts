/** For each command arguments that its schema takes. What they name doesn't exist. */
import type { Args, CommandName } from '../../src/protocol/commands.ts'
import type { ConversationId, MessageId } from '../../src/protocol/ids.ts'

export const nobodys: { readonly conversation: ConversationId; readonly message: MessageId } = {
  conversation: 'conversation/018f0000-0000-7000-8000-000000000000',
  message: 'message/018f0000-0000-7000-8000-000000000000',
}
const { conversation, message } = nobodys

export const sampleArgs: { readonly [N in CommandName]: Args<N> } = {
  connect: { token: 'none' },
  refresh_token: { token: 'none' },
  ping: {},
  get_user_channel: {},
  rotate_user_channel: {},
  create_conversation: { participants: ['user/bob'] },
  get_conversation: { conversation },
  get_conversations: {},
  update_conversation: { conversation, title: 'title' },
  leave_conversation: { conversation },
  delete_conversation: { conversation },
  add_participants: { conversation, participants: ['user/bob'] },
  remove_participants: { conversation, participants: ['user/bob'] },
  add_admins: { conversation, admins: ['user/bob'] },
  remove_admins: { conversation, admins: ['user/bob'] },
  get_participants: { conversation },
  create_message: { conversation, body: 'body' },
  edit_message: { message, body: 'body' },
  delete_message: { message },
  get_messages: { conversation },
  get_events: { conversation, after_seq: 0 },
  mark_as_last_message_read: { conversation, message },
  get_unread_count: {},
  update_user: { name: 'name' },
  get_users: { users: ['user/bob'] },
  typing: { conversation, event: 'begin' },
  subscribe_typing: { conversation },
  unsubscribe_typing: { conversation },
  create_token: { user: 'user/bob' },
  put_user: { user: 'user/bob', name: 'name' },
  disconnect_user: { user: 'user/bob' },
}

export const commandNames = Object.keys(sampleArgs) as CommandName[]
/** Those that only a session gives (W7). */
export const sessionOnly = ['connect', 'ping', 'subscribe_typing', 'unsubscribe_typing', 'refresh_token'] as const
/** Those that only the API key gives (M8). */
export const backendOnly = ['create_token', 'put_user', 'disconnect_user'] as const
/** All others. */
export const userCommands = commandNames.filter(
  (name) => ![...sessionOnly, ...backendOnly].includes(name as (typeof sessionOnly)[number]),
)
