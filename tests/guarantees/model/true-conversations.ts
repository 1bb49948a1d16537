/** What conversations, their participants and read markers are to do (M1, M2, M5, M6). */
import { FanfareError } from '../../../src/protocol/codes.ts'
import type { ConversationView } from '../../../src/protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../../src/protocol/ids.ts'
import type { Conversation, GoneConversation, Metadata } from '../../../src/protocol/records.ts'
import type { Act, NewConversation } from '../../../src/storage/storage.ts'
import { Talk } from './talk.ts'
import type { Truth } from './truth.ts'

export function trueConversations(truth: Truth) {
  return {
    create(act: Act, draft: NewConversation) {
      const earlier = truth.earlier(act.actor, 'create_conversation', draft.clientId)
      if (earlier) return { conversation: truth.seat(act.actor, earlier as ConversationId).record, created: false }
      const users = [...new Set([act.actor, ...draft.participants])].sort()
      if (draft.admins.some((admin) => !users.includes(admin))) throw new FanfareError('invalid_argument', 'admins')
      const distinct = draft.distinct ? users.join() : null
      const same = distinct && truth.talksOf(act.actor).find((talk) => talk.distinct === distinct)
      const talk = same || new Talk(draft.id, act.actor, act.at, draft.title, draft.metadata)
      truth.remember(act.actor, 'create_conversation', draft.clientId, talk.id)
      if (same) return { conversation: talk.record, created: false }
      talk.distinct = distinct
      for (const user of users) talk.join(user, user === act.actor || draft.admins.includes(user))
      truth.talks.set(talk.id, talk)
      tell(act, talk, 'create', talk.record, null)
      return { conversation: talk.record, created: true }
    },

    get: (actor: UserId, id: ConversationId) => view(actor, truth.seat(actor, id)),

    list(actor: UserId, limit: number, before: ConversationId | number | null) {
      const all = [...truth.talks.values()]
      const sorted = truth
        .talksOf(actor)
        .sort((one, other) => other.updatedAt - one.updatedAt || all.indexOf(other) - all.indexOf(one))
      const isBelow = typeof before === 'number' ? sorted.filter(({ updatedAt }) => updatedAt < before) : sorted
      const from = typeof before === 'string' ? sorted.indexOf(truth.seat(actor, before)) + 1 : 0
      return isBelow.slice(from, from + limit).map((talk) => view(actor, talk))
    },

    update: (act: Act, id: ConversationId, title: string | null | undefined, metadata: Metadata | undefined) =>
      change(act, truth.adminSeat(act.actor, id), (talk) => {
        if (title !== undefined) talk.title = title
        if (metadata !== undefined) talk.metadata = metadata
      }),

    delete(act: Act, id: ConversationId) {
      const talk = truth.adminSeat(act.actor, id)
      const gone = { id, deleted: true } as const
      talk.lastSeq++
      for (const user of talk.participants) talk.leave(user)
      talk.deleted = true
      tell(act, talk, 'delete', gone, gone)
      return { conversation: gone }
    },

    addParticipants(act: Act, id: ConversationId, users: readonly UserId[]) {
      const talk = truth.adminSeat(act.actor, id)
      const added = [...new Set(users)].filter((user) => !talk.stay(user))
      if (added.length === 0) return { conversation: talk.record }
      if (talk.distinct !== null) throw new FanfareError('conflict', id)
      return change(act, talk, () => {
        for (const user of added) talk.join(user, false)
      })
    },

    removeParticipants(act: Act, id: ConversationId, users: readonly UserId[]) {
      const talk = truth.seat(act.actor, id)
      const isOnlyOneself = users.every((user) => user === act.actor)
      if (!isOnlyOneself && !talk.stay(act.actor)?.admin) throw new FanfareError('forbidden', id)
      const removed = [...new Set(users)].filter((user) => talk.stay(user))
      if (removed.length === 0) return { conversation: talk.record }
      const changed = change(act, talk, () => {
        for (const user of removed) talk.leave(user)
        talk.distinct = null
      })
      return removed.includes(act.actor) ? { conversation: { id } } : changed
    },

    setAdmins(act: Act, id: ConversationId, users: readonly UserId[], admin: boolean) {
      const talk = truth.adminSeat(act.actor, id)
      if (admin && users.some((user) => !talk.stay(user))) throw new FanfareError('invalid_argument', 'admins')
      const stays = users.map((user) => talk.stay(user)).filter((stay) => stay && stay.admin !== admin)
      if (stays.length === 0) return { conversation: talk.record }
      return change(act, talk, () => {
        for (const stay of stays) if (stay) stay.admin = admin
      })
    },

    participants(actor: UserId, id: ConversationId, limit: number, after: UserId | null) {
      const { participants, admins } = truth.seat(actor, id)
      const page = participants.filter((user) => user > (after ?? '')).slice(0, limit)
      return { participants: page, admins: page.filter((user) => admins.includes(user)) }
    },

    membership(id: ConversationId) {
      const talk = truth.talks.get(id)
      if (!talk || talk.deleted) throw new FanfareError('not_found', id)
      return { participants: talk.participants }
    },
  }

  function change(act: Act, talk: Talk, write: (talk: Talk) => void) {
    const original = talk.record
    talk.lastSeq++
    write(talk)
    talk.updatedAt = act.at
    tell(act, talk, 'update', talk.record, original)
    return { conversation: talk.record }
  }

  function tell(
    { at }: Act,
    talk: Talk,
    event: 'create' | 'update' | 'delete',
    record: Conversation | GoneConversation,
    original: Conversation | GoneConversation | null,
  ): void {
    truth.append(at, talk, { record_type: 'conversation', event_type: event, record, original_record: original })
  }
}

export function trueReadMarkers(truth: Truth) {
  return {
    move(act: Act, id: ConversationId, message: MessageId) {
      const talk = truth.seat(act.actor, id)
      const seq = talk.messages.find((other) => other.id === message)?.seq
      if (seq === undefined) throw new FanfareError('not_found', message)
      const original = talk.userConversation(act.actor)
      if (seq <= original.last_read_seq) return { user_conversation: original }
      talk.read(act.actor, seq)
      const record = talk.userConversation(act.actor)
      truth.appendFor(act, talk, {
        record_type: 'user_conversation',
        event_type: 'update',
        record,
        original_record: original,
      })
      return { user_conversation: record }
    },

    unread(actor: UserId) {
      const counts = truth.talksOf(actor).map((talk) => talk.userConversation(actor).unread_count)
      return {
        conversation: counts.filter((count) => count > 0).length,
        message: counts.reduce((sum, count) => sum + count, 0),
      }
    },
  }
}

function view(actor: UserId, talk: Talk): ConversationView {
  return {
    conversation: talk.record,
    user_conversation: talk.userConversation(actor),
    last_message: talk.messages.at(-1) ?? null,
  }
}
