/** How each operation is run: what it must be kept from, and behind which others it belongs on this node. */
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { Nouns } from '../sql/operations.ts'
import type { Act } from '../storage.ts'
import type { Isolation } from './transaction.ts'
import type { Lanes } from './turns.ts'

export interface Way<Args extends readonly unknown[]> {
  readonly isolation: Isolation
  lanes(...args: Args): Lanes
}

type Ways<Group> = {
  readonly [Verb in keyof Group]: Group[Verb] extends (...args: infer Args) => unknown ? Way<Args> : never
}

/** The lane of what a user asks for that does not run beside anything else of his. */
function alone(user: UserId): string {
  return `${user} alone`
}

/** Behind all that the user has asked for. */
function afterAllOf(user: UserId): Lanes {
  return { behind: [user], holds: [user, alone(user)] }
}

/** Behind what was asked for in the conversation; the user's messages to others go their own way meanwhile. */
function inConversation({ actor }: Act, conversation: ConversationId): Lanes {
  return { behind: [conversation, alone(actor)], holds: [conversation, actor] }
}

function changing<Args extends readonly unknown[]>(lanes: (...args: Args) => Lanes): Way<Args> {
  return { isolation: 'changing', lanes }
}

/** What somebody reads holds what he has asked to be written before. Nothing waits for it. */
function reading<Args extends readonly [UserId | ConversationId | null, ...unknown[]]>(): Way<Args> {
  return { isolation: 'reading', lanes: (...[reader]) => ({ behind: reader === null ? [] : [reader], holds: [] }) }
}

/** What the server does for itself. */
function besideAll(isolation: Isolation): Way<readonly unknown[]> {
  return { isolation, lanes: () => ({ behind: [], holds: [] }) }
}

/** A session begins: a rotation of its user's channel comes either before or after. */
export function admitting(user: UserId): Lanes {
  return afterAllOf(user)
}

/**
 * Behind the other changes of messages in the conversation. They have a lane of their own, for it is entered late: in the conversation's own
 * there may stand by then what waits for this one.
 */
export function changesIn(conversation: number | null): Lanes {
  const lanes = conversation === null ? [] : [`changes in ${conversation}`]
  return { behind: lanes, holds: lanes }
}

/** A client's commands are done as if it had waited for each before it gave the next. */
export const plan: { readonly [Noun in keyof Nouns]: Ways<Nouns[Noun]> } = {
  conversations: {
    create: changing(({ actor }) => afterAllOf(actor)),
    get: reading(),
    list: reading(),
    update: changing(inConversation),
    delete: changing(inConversation),
    addParticipants: changing(inConversation),
    removeParticipants: changing(inConversation),
    setAdmins: changing(inConversation),
    participants: reading(),
    membership: reading(),
  },
  messages: {
    create: changing((act, { conversation }) => inConversation(act, conversation)),
    // Which conversation the message is in must be looked up first: see `#withChanges`.
    edit: changing(({ actor }) => afterAllOf(actor)),
    delete: changing(({ actor }) => afterAllOf(actor)),
    list: reading(),
  },
  readMarkers: {
    move: changing(({ actor }) => afterAllOf(actor)),
    unread: reading(),
  },
  events: {
    list: reading(),
    missed: reading(),
    read: reading(),
    since: besideAll('reading'),
    tellings: besideAll('reading'),
    prune: besideAll('changing'),
    probe: besideAll('changing'),
  },
  users: {
    put: changing(({ actor }) => afterAllOf(actor)),
    get: reading(),
  },
  userChannels: {
    current: changing(afterAllOf),
    find: reading(),
    admit: { isolation: 'reading, or making', lanes: admitting },
    // Whose channel it is must be looked up first: see `#withListeners`.
    admitListener: besideAll('reading'),
    rotate: changing(({ actor }) => afterAllOf(actor)),
  },
}
