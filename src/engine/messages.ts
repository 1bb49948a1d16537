/** Commands on messages and the conversation's events (M3–M5). */
import { z } from 'zod'
import { FanfareError } from '../protocol/codes.ts'
import type { Args } from '../protocol/commands.ts'
import {
  clientId,
  conversationId,
  messageId,
  metadata,
  pageLength,
  pageLimit,
  requireMetadataSize,
  requireTextSize,
  seq,
  text,
  time,
} from './arguments.ts'
import type { Call } from './call.ts'
import { type CommandTable, Later } from './command.ts'
import { uuidv7 } from './ids.ts'
import { tooFast } from './rates.ts'

type MessageCommand = 'create_message' | 'edit_message' | 'delete_message' | 'get_messages' | 'get_events'

export const messageCommands: CommandTable<MessageCommand> = {
  create_message: {
    callers: 'user',
    args: z.strictObject({
      conversation: conversationId,
      body: text,
      metadata: metadata.optional(),
      attachment: metadata.nullable().optional(),
      client_id: clientId.optional(),
    }),
    write: (call, args) => {
      requireRate(call)
      requireSizes(call, args)
      return call.engine.storage.messages.create(call.act(args.conversation), {
        id: `message/${uuidv7(call.engine.clock.now())}`,
        conversation: args.conversation,
        body: args.body,
        metadata: args.metadata ?? {},
        attachment: args.attachment ?? null,
        clientId: args.client_id ?? null,
      })
    },
  },

  edit_message: {
    callers: 'user',
    args: z.strictObject({
      message: messageId,
      body: text.optional(),
      metadata: metadata.optional(),
      attachment: metadata.nullable().optional(),
      revision: z.int().min(1).optional(),
      client_id: clientId.optional(),
    }),
    write: (call, { message, client_id, ...changes }) => {
      if (changes.body === undefined && changes.metadata === undefined && changes.attachment === undefined) {
        throw new FanfareError('invalid_argument', 'nothing to change: give body, metadata or attachment')
      }
      requireRate(call)
      requireSizes(call, changes)
      return call.engine.storage.messages.edit(call.act(null), message, {
        body: changes.body,
        metadata: changes.metadata,
        attachment: changes.attachment,
        revision: changes.revision,
        clientId: client_id ?? null,
      })
    },
  },

  delete_message: {
    callers: 'user',
    args: z.strictObject({ message: messageId }),
    write: (call, { message }) => call.engine.storage.messages.delete(call.act(null), message),
  },

  get_messages: {
    callers: 'user',
    args: z.strictObject({
      conversation: conversationId,
      limit: pageLimit,
      before_seq: seq.optional(),
      after_seq: seq.optional(),
      before_time: time.optional(),
    }),
    read: (call, { conversation, limit, ...range }) => {
      const length = pageLength(limit, call.engine.config.limits.pageLength)
      return call.engine.storage.messages.list(call.user, conversation, length, range)
    },
  },

  get_events: {
    callers: 'user',
    args: z.strictObject({ conversation: conversationId, after_seq: seq, limit: pageLimit }),
    read: (call, { conversation, after_seq, limit }) => {
      const length = pageLength(limit, call.engine.config.limits.pageLength)
      const asked = call.engine.storage.events.list(call.user, conversation, after_seq, length)
      return Later.of(asked, (events) => ({
        events: events.map(({ position, place, data }) => ({
          event: data.event_type,
          data,
          ...place,
          cursor: call.cursorAt(position),
        })),
      }))
    },
  },
}

/** A user sends so many messages at once, wherever from (L3). The backend, which may bring years of them, has no rate. */
function requireRate({ engine, caller, user }: Call): void {
  if (caller.backend) return
  const waitMs = engine.rates.message(user, engine.clock.now())
  if (waitMs > 0) throw tooFast('messages', waitMs)
}

type Content = Pick<Args<'edit_message'>, 'body' | 'metadata' | 'attachment'>

function requireSizes(call: Call, { body, metadata, attachment }: Content): void {
  const { limits } = call.engine.config
  requireTextSize('body', body, limits.bodyBytes)
  requireMetadataSize('metadata', metadata, limits.metadataBytes)
  requireMetadataSize('attachment', attachment, limits.metadataBytes)
}
