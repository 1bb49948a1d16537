/** What messages and the reading of events are to do (M3–M5). */
import { FanfareError } from '../../../src/protocol/codes.ts'
import type { Args } from '../../../src/protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../../src/protocol/ids.ts'
import type { EventType, Message } from '../../../src/protocol/records.ts'
import type { Act, MessageChanges, NewMessage } from '../../../src/storage/storage.ts'
import { emptied } from './log.ts'
import { type Talk, timestamp } from './talk.ts'
import type { Truth } from './truth.ts'

type Range = Pick<Args<'get_messages'>, 'before_seq' | 'after_seq' | 'before_time'>

export function trueMessages(truth: Truth) {
  return {
    create(act: Act, draft: NewMessage) {
      const earlier = truth.earlier(act.actor, 'create_message', draft.clientId)
      if (earlier) return { message: truth.visible(act.actor, earlier as MessageId).message }
      const talk = truth.seat(act.actor, draft.conversation)
      const at = timestamp(act.at)
      talk.lastSeq++
      const message: Message = {
        id: draft.id,
        conversation: talk.id,
        created_by: act.actor,
        created_at: at,
        updated_at: at,
        body: draft.body,
        metadata: draft.metadata,
        attachment: draft.attachment,
        seq: talk.lastSeq,
        revision: 1,
        edited_at: null,
        edited_by: null,
        deleted: false,
        client_id: draft.clientId,
      }
      talk.messages.push(message)
      talk.updatedAt = act.at
      talk.read(act.actor, message.seq)
      truth.remember(act.actor, 'create_message', draft.clientId, message.id)
      tell(act, talk, 'create', message, null)
      return { message }
    },

    edit(act: Act, id: MessageId, changes: MessageChanges) {
      const earlier = truth.earlier(act.actor, 'edit_message', changes.clientId)
      if (earlier) return { message: truth.visible(act.actor, earlier as MessageId).message }
      const { talk, message } = truth.visible(act.actor, id)
      if (message.created_by !== act.actor) throw new FanfareError('forbidden', id)
      const isStale = changes.revision !== undefined && changes.revision !== message.revision
      if (message.deleted || isStale) throw new FanfareError('conflict', id)
      const at = timestamp(act.at)
      truth.remember(act.actor, 'edit_message', changes.clientId, id)
      return replace(act, talk, 'update', message, {
        ...message,
        body: changes.body ?? message.body,
        metadata: changes.metadata ?? message.metadata,
        attachment: changes.attachment === undefined ? message.attachment : changes.attachment,
        revision: message.revision + 1,
        updated_at: at,
        edited_at: at,
        edited_by: act.actor,
      })
    },

    delete(act: Act, id: MessageId) {
      const { talk, message } = truth.visible(act.actor, id)
      if (message.created_by !== act.actor && !talk.stay(act.actor)?.admin) throw new FanfareError('forbidden', id)
      if (message.deleted) return { message }
      const revision = message.revision + 1
      const tombstone = { ...emptied(message), deleted: true, revision, updated_at: timestamp(act.at) }
      return replace(act, talk, 'delete', emptied(message), tombstone)
    },

    list(actor: UserId, id: ConversationId, limit: number, range: Range) {
      const { before_seq: below = Number.POSITIVE_INFINITY, after_seq: after } = range
      const messages = truth.seat(actor, id).messages.filter(({ seq }) => seq < below && seq > (after ?? 0))
      return { messages: (after === undefined ? messages.reverse() : messages).slice(0, limit) }
    },
  }

  function replace(act: Act, talk: Talk, event: 'update' | 'delete', original: Message, message: Message) {
    talk.messages[talk.messages.findIndex(({ id }) => id === message.id)] = message
    talk.lastSeq++
    tell(act, talk, event, message, original)
    return { message }
  }

  function tell({ at }: Act, talk: Talk, event: EventType, record: Message, original: Message | null): void {
    truth.append(at, talk, { record_type: 'message', event_type: event, record, original_record: original })
  }
}

export function trueEvents(truth: Truth) {
  return {
    list(actor: UserId, id: ConversationId, after: number, limit: number) {
      const talk = truth.seat(actor, id)
      const kept = truth.log.entries.filter((entry) => entry.talk === talk && !entry.user)
      for (const { from, to } of talk.stays(actor)) {
        const first = Math.max(after + 1, from)
        const isMissing = first <= Math.min(to, talk.lastSeq) && !kept.some(({ seq }) => seq === first)
        if (isMissing) throw new FanfareError('conflict', id)
      }
      const told = kept.filter((entry) => entry.seq > after && truth.log.tells(entry, actor)).slice(0, limit)
      return told.map((entry) => ({
        position: entry.position,
        place: { conversation: id, seq: entry.seq },
        data: truth.log.tells(entry, actor),
      }))
    },

    prune: (before: number, _now: number, limit: number) => truth.log.prune(before, limit),
  }
}
