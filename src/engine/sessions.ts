/** Commands on the session itself (S1, S4, S5), and typing (T1, T4), which only sessions watch. */
import { z } from 'zod'
import { FanfareError } from '../protocol/codes.ts'
import type { ConversationId } from '../protocol/ids.ts'
import { conversationId, text } from './arguments.ts'
import type { Call } from './call.ts'
import { type CommandTable, Later } from './command.ts'
import type { Session } from './session.ts'
import { authenticate } from './user-channels.ts'

type SessionCommand = 'connect' | 'refresh_token' | 'ping' | 'typing' | 'subscribe_typing' | 'unsubscribe_typing'

const one = z.strictObject({ conversation: conversationId })

export const sessionCommands: CommandTable<SessionCommand> = {
  connect: {
    callers: 'session',
    args: z.strictObject({
      token: text.optional(),
      channel: text.optional(),
      cursor: text.optional(),
    }),
    // A session's first command never comes here: see Session.
    read: () => {
      throw new FanfareError('conflict', 'this session is connected; open another one to be somebody else')
    },
  },

  refresh_token: {
    callers: 'session',
    args: z.strictObject({ token: text }),
    read: async (call, { token }) => {
      const session = sessionOf(call)
      const given = session.tokenGiven()
      const { user, expiresAt } = await authenticate(call.engine, token)
      if (user !== call.user) throw new FanfareError('unauthorized', "the token is another user's; the old one stands")
      return { expires_at: new Date(session.expireAt(expiresAt, given)).toISOString() }
    },
  },

  ping: {
    callers: 'listener',
    args: z.strictObject({}),
    read: (call) => ({ cursor: sessionOf(call).cursor }),
  },

  typing: {
    callers: 'user',
    args: z.strictObject({ conversation: conversationId, event: z.enum(['begin', 'pause', 'finished']) }),
    read: (call, { conversation, event }) =>
      asParticipant(call, conversation, () => {
        if (call.caller.session?.closed) return {}
        call.engine.typing.set(conversation, call.user, event, call.caller.session)
        return {}
      }),
  },

  subscribe_typing: {
    callers: 'session',
    args: one,
    read: (call, { conversation }) =>
      asParticipant(call, conversation, () => {
        const session = sessionOf(call)
        const limit = call.engine.config.limits.typingWatchesPerSession
        if (limit > 0 && session.watching.size >= limit && !session.watching.has(conversation)) {
          throw new FanfareError('conflict', `a session watches the typing of at most ${limit} conversations`, {
            limit,
          })
        }
        return { typing: session.closed ? {} : call.engine.typing.watch(conversation, session) }
      }),
  },

  unsubscribe_typing: {
    callers: 'session',
    args: one,
    read: (call, { conversation }) => {
      const unwatch = () => {
        call.engine.typing.unwatch(conversation, sessionOf(call))
        return {}
      }
      if (sessionOf(call).watching.has(conversation)) return unwatch()
      // A subscribe_typing just before may be waiting for storage: then this comes behind it, whatever storage says.
      return call.engine.storage.conversations.membership(nobodys).then(unwatch, unwatch)
    },
  },
}

function sessionOf(call: Call): Session {
  if (!call.caller.session) throw new FanfareError('internal', 'this command needs a session')
  return call.caller.session
}

/** A conversation that there is not. */
const nobodys: ConversationId = 'conversation/00000000-0000-7000-8000-000000000000'

/**
 * Does `act` if the caller takes part in the conversation. Storage is asked only where this node does not know that he does, and then
 * `act` comes in the turn of its answer: behind earlier commands and before later ones, as everything does. Whoever takes no part is
 * answered as late whether there is such a conversation or not, or the time would tell him; but it is not read for him.
 */
function asParticipant<R>(call: Call, conversation: ConversationId, act: () => R): R | Later<R> | Promise<R> {
  const { user, engine } = call
  const { memberships, storage } = engine
  const check = (participants: { has(user: string): boolean }) => {
    if (!participants.has(user)) throw new FanfareError('not_found', `there is no ${conversation} for you`)
    return act()
  }
  const known = memberships.get(conversation)
  if (known?.has(user)) return act()
  if (known) {
    const answer = () => check(memberships.get(conversation) ?? known)
    return storage.conversations.membership(nobodys).then(answer, answer)
  }
  return Later.of(storage.conversations.membership(conversation), (membership) =>
    check(memberships.learn(conversation, membership)),
  )
}
