/**
 * The seam between nodes: it carries what one node publishes to those others that asked for its topic, at most once, and keeps nothing.
 * What it loses is found in storage. Topics are ids of records, never channel names, so that a rotation moves no subscription and no
 * trace shows a name (U1). Every adapter passes the suite in `src/testing/broker-contract.ts`.
 */
import type { ConversationId, SessionId, UserId } from '../protocol/ids.ts'
import type { TypingEntry } from '../protocol/typing.ts'

/** A user, for what goes to his sessions; a conversation, for who types there. */
export type Topic = UserId | ConversationId

/** A log entry on its way to its recipients' sessions. */
export interface EntryPublication {
  readonly kind: 'entry'
  /** The log's epoch in which its positions were given. */
  readonly epoch: string
  readonly position: number
  /** The position of the entry before it in its conversation: what has not come by then is missing. 0 where there is none. */
  readonly previous: number
  /** The conversation that it is of or, where it concerns one user alone, about; null where it is about none. */
  readonly conversation: ConversationId | null
  /** The version of the conversation's membership as of the entry; 0 where it is of none. */
  readonly version: number
  readonly deliveries: readonly Delivery[]
  /** Typing that this entry ends: its author's, who has sent what he typed, or that of those who left (T2). */
  readonly endsTyping: TypingEnd | null
  /** The rotation that this entry is, and the session that asked for it (U6, U7). */
  readonly rotation: SessionsEnd | null
}

/** The same for everyone of one audience. */
export interface Delivery {
  readonly recipients: Recipients
  /** The event's frame but for its cursor, which each node adds (`withCursor`). */
  readonly event: string
}

/** Users by name, or all who take part in a conversation as of a version of its membership, where they are too many to name. */
export type Recipients = readonly UserId[] | { readonly conversation: ConversationId; readonly version: number }

export interface TypingEnd {
  readonly conversation: ConversationId
  readonly users: readonly UserId[]
  /** Whether these users have left, and so may watch no longer. */
  readonly left: boolean
}

/** A rotation ends the sessions that came to the user's channel before it, but for the one that asked for it. */
export interface SessionsEnd {
  readonly user: UserId
  readonly rotatedAt: number
  /** Whether it is the end of those who came with a token too, and not of listeners alone. */
  readonly revoke: boolean
  readonly by: SessionId | null
}

/** Who types in a conversation by leases of the publishing node: all of them, so that one that is lost is mended by the next (T3). */
export interface TypingPublication {
  readonly kind: 'typing'
  readonly conversation: ConversationId
  /** The publishing node, which has a name for as long as it runs. */
  readonly node: string
  readonly leases: readonly { readonly user: UserId; readonly entry: TypingEntry; readonly begunAt: number }[]
}

/** A node has begun to watch a conversation, and asks the others who types there. */
export interface TypingQuestion {
  readonly kind: 'who_types'
  readonly conversation: ConversationId
}

/** A user has told the publishing node that he types no more in a conversation: his lease ends on whichever node it is held (T2). */
export interface TypingFinished {
  readonly kind: 'finished'
  readonly conversation: ConversationId
  readonly user: UserId
}

/** All sessions of a user are to be closed (M8). */
export interface Disconnection {
  readonly kind: 'disconnect'
  readonly user: UserId
}

export type Publication = EntryPublication | TypingPublication | TypingQuestion | TypingFinished | Disconnection

export interface Broker {
  /**
   * Begins. `receive` is called for each publication of another node under a topic that this node has asked for, or to everybody; never
   * for its own. What one node publishes comes in its order. `interrupted` is called when something may have been lost, once what is
   * published from then on comes: what is read from storage after it leaves no hole between.
   */
  start(receive: (publication: Publication) => void, interrupted: () => void): Promise<void>
  /** From now on, or soon after, what is published under the topic comes here. Each call is undone by one of `unsubscribe`. */
  subscribe(topic: Topic): void
  unsubscribe(topic: Topic): void
  /** Carries it to the other nodes that asked for any of the topics, once to each if it can; without topics, to all. */
  publish(publication: Publication, topics: readonly Topic[] | null): void
  /** Whether there is no other node, and never will be: then nothing need be published. */
  readonly alone: boolean
  /** Whether what is published now reaches the other nodes that it speaks with; always, where it speaks with none. */
  readonly connected: boolean
  close(): Promise<void>
}
