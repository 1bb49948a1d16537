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
      // Tokens and cursors are never stored: one with characters that can't be is no good, and answered like any other (S1, R5).
      token: z.string().optional(),
      channel: text.optional(),
      cursor: z.string().optional(),
    }),
    // A session's first command never comes here: see Session.
    act: () => {
      throw new FanfareError('conflict', 'this session is connected; open another one to be somebody else')
    },
  },

  refresh_token: {
    callers: 'session',
    args: z.strictObject({ token: z.string() }),
    act: async (call, { token }) => {
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
    act: (call) => ({ cursor: sessionOf(call).cursor }),
  },

  typing: {
    callers: 'user',
    args: z.strictObject({ conversation: conversationId, event: z.enum(['begin', 'pause', 'finished']) }),
    act: (call, { conversation, event }) =>
      asParticipant(call, conversation, () => {
        if (call.caller.session?.closed) return {}
        call.engine.typing.set(conversation, call.user, event, call.caller.session)
        return {}
      }),
  },

  subscribe_typing: {
    callers: 'session',
    args: one,
    act: (call, { conversation }) =>
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
    act: (call, { conversation }) => {
      const { memberships, typing } = call.engine
      const unwatch = () => {
        typing.unwatch(conversation, sessionOf(call))
        return {}
      }
      // A subscribe_typing just before may be waiting for storage: then this comes behind it, whatever storage says.
      if (!memberships.asking(conversation)) return unwatch()
      return new Later((done) => {
        const behind = () => done(unwatch())
        memberships.ask(conversation, behind, behind)
      })
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
 * Does `act` if the caller takes part in the conversation. Storage is asked only where this node does not know whether he does, and then
 * `act` comes in the turn of its answer: behind earlier commands in this conversation and before later ones, and never where he has been told
 * meanwhile that he is out of it (E5). Whoever takes no part is answered as late whether there is such a conversation or not, or the time
 * would tell him; but it is not read for him.
 */
function asParticipant<R>(call: Call, conversation: ConversationId, act: () => R): R | Later<R> | Promise<R> {
  const { user, engine } = call
  const { memberships, storage } = engine
  const refuse = () => {
    throw new FanfareError('not_found', `there is no ${conversation} for you`)
  }
  const known = memberships.get(conversation)
  if (!known || memberships.asking(conversation)) {
    return new Later((done, fail) =>
      memberships.ask(conversation, (participants) => (participants.has(user) ? done(act()) : refuse()), fail),
    )
  }
  return known.has(user) ? act() : storage.conversations.membership(nobodys).then(refuse, refuse)
}
