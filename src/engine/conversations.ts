/** Commands on conversations (M1, M2) and read markers (M6). */
import { z } from 'zod'
import { FanfareError } from '../protocol/codes.ts'
import { type ConversationId, isConversationId, type UserId } from '../protocol/ids.ts'
import type { Metadata } from '../protocol/records.ts'
import {
  clientId,
  conversationId,
  messageId,
  metadata,
  pageLength,
  pageLimit,
  requireMetadataSize,
  requireTextSize,
  text,
  time,
  userId,
} from './arguments.ts'
import type { Call } from './call.ts'
import { type CommandTable, Later } from './command.ts'
import { uuidv7 } from './ids.ts'

const titleBytes = 1_024

const one = z.strictObject({ conversation: conversationId })
const someParticipants = z.strictObject({ conversation: conversationId, participants: z.array(userId).min(1) })
const someAdmins = z.strictObject({ conversation: conversationId, admins: z.array(userId).min(1) })

type ConversationCommand =
  | 'create_conversation'
  | 'get_conversation'
  | 'get_conversations'
  | 'update_conversation'
  | 'leave_conversation'
  | 'delete_conversation'
  | 'add_participants'
  | 'remove_participants'
  | 'add_admins'
  | 'remove_admins'
  | 'get_participants'
  | 'mark_as_last_message_read'
  | 'get_unread_count'

export const conversationCommands: CommandTable<ConversationCommand> = {
  create_conversation: {
    callers: 'user',
    args: z.strictObject({
      participants: z.array(userId),
      title: text.nullable().optional(),
      metadata: metadata.optional(),
      admins: z.array(userId).optional(),
      distinct_by_participants: z.boolean().optional(),
      client_id: clientId.optional(),
    }),
    write: (call, args) => {
      requireBackend(call)
      requireSizes(call, args.title, args.metadata)
      return call.engine.storage.conversations.create(call.act(null), {
        id: `conversation/${uuidv7(call.engine.clock.now())}`,
        participants: args.participants,
        admins: args.admins ?? [],
        title: args.title ?? null,
        metadata: args.metadata ?? {},
        distinct: args.distinct_by_participants ?? false,
        clientId: args.client_id ?? null,
      })
    },
  },

  get_conversation: {
    callers: 'user',
    args: one,
    read: (call, { conversation }) => call.engine.storage.conversations.get(call.user, conversation),
  },

  get_conversations: {
    callers: 'user',
    args: z.strictObject({ limit: pageLimit, before: z.union([conversationId, time]).optional() }),
    read: (call, { limit, before }) => {
      const length = pageLength(limit, call.engine.config.limits.pageLength)
      const below = before === undefined ? null : isConversationId(before) ? before : Date.parse(before)
      const asked = call.engine.storage.conversations.list(call.user, length, below)
      return Later.of(asked, (conversations) => ({ conversations }))
    },
  },

  update_conversation: {
    callers: 'user',
    args: z.strictObject({
      conversation: conversationId,
      title: text.nullable().optional(),
      metadata: metadata.optional(),
    }),
    write: (call, args) => {
      if (args.title === undefined && args.metadata === undefined) {
        throw new FanfareError('invalid_argument', 'nothing to change: give title or metadata')
      }
      requireSizes(call, args.title, args.metadata)
      const { conversation } = args
      return call.engine.storage.conversations.update(call.act(conversation), conversation, args.title, args.metadata)
    },
  },

  leave_conversation: {
    callers: 'user',
    args: one,
    write: (call, { conversation }) => removeParticipants(call, conversation, [call.user]),
  },

  delete_conversation: {
    callers: 'user',
    args: one,
    write: (call, { conversation }) => call.engine.storage.conversations.delete(call.act(conversation), conversation),
  },

  add_participants: {
    callers: 'user',
    args: someParticipants,
    write: (call, { conversation, participants }) => {
      requireBackend(call)
      return call.engine.storage.conversations.addParticipants(call.act(conversation), conversation, participants)
    },
  },

  remove_participants: {
    callers: 'user',
    args: someParticipants,
    write: (call, { conversation, participants }) => {
      if (participants.some((user) => user !== call.user)) requireBackend(call)
      return removeParticipants(call, conversation, participants)
    },
  },

  add_admins: {
    callers: 'user',
    args: someAdmins,
    write: (call, { conversation, admins }) =>
      call.engine.storage.conversations.setAdmins(call.act(conversation), conversation, admins, true),
  },

  remove_admins: {
    callers: 'user',
    args: someAdmins,
    write: (call, { conversation, admins }) =>
      call.engine.storage.conversations.setAdmins(call.act(conversation), conversation, admins, false),
  },

  get_participants: {
    callers: 'user',
    args: z.strictObject({ conversation: conversationId, limit: pageLimit, after: userId.optional() }),
    read: (call, { conversation, limit, after }) => {
      const length = pageLength(limit, call.engine.config.limits.pageLength)
      return call.engine.storage.conversations.participants(call.user, conversation, length, after ?? null)
    },
  },

  mark_as_last_message_read: {
    callers: 'user',
    args: z.strictObject({ conversation: conversationId, message: messageId }),
    write: (call, { conversation, message }) =>
      call.engine.storage.readMarkers.move(call.act(conversation), conversation, message),
  },

  get_unread_count: {
    callers: 'user',
    args: z.strictObject({}),
    read: (call) => call.engine.storage.readMarkers.unread(call.user),
  },
}

function removeParticipants(call: Call, conversation: ConversationId, users: readonly UserId[]) {
  return call.engine.storage.conversations.removeParticipants(call.act(conversation), conversation, users)
}

/** With `--conversations backend` only the API key decides who talks with whom (M1). */
function requireBackend(call: Call): void {
  if (call.engine.config.conversations === 'backend' && !call.caller.backend) {
    throw new FanfareError('forbidden', 'here only the application makes conversations and changes their participants')
  }
}

function requireSizes(call: Call, title: string | null | undefined, data: Metadata | undefined): void {
  requireTextSize('title', title, titleBytes)
  requireMetadataSize('metadata', data, call.engine.config.limits.metadataBytes)
}
