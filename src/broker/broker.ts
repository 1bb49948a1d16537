/**
 * The seam between nodes: it moves publications to those nodes that have a session of one of their recipients, at most once, and
 * keeps nothing. Its subjects come from user ids, never from channel names, so that a rotation moves no subscription (U1).
 * Every adapter passes the suite in `src/testing/broker-contract.ts`.
 */
import type { Frame } from '../protocol/frames.ts'
import type { ConversationId, SessionId, UserId } from '../protocol/ids.ts'

/** The same bytes for everyone of one audience. */
export interface Delivery {
  readonly recipients: readonly UserId[]
  readonly frame: Frame
}

/** One log entry on its way to its recipients' sessions. */
export interface Publication {
  readonly position: number
  readonly deliveries: readonly Delivery[]
  /** Typing that this entry ends: its author's, who has sent what he typed, or that of those who left (T2). */
  readonly endsTyping: TypingEnd | null
  /** The rotation that this entry is, and the session that asked for it (U6, U7). */
  readonly rotation: SessionsEnd | null
}

/** A rotation ends the sessions that came to the user's channel before it, but for the one that asked for it. */
export interface SessionsEnd {
  readonly user: UserId
  readonly rotatedAt: number
  /** Whether it is the end of those who came with a token too, and not of listeners alone. */
  readonly revoke: boolean
  readonly by: SessionId | null
}

export interface TypingEnd {
  readonly conversation: ConversationId
  readonly users: readonly UserId[]
  /** Whether these users have left, and so may watch no longer. */
  readonly left: boolean
}

export interface Broker {
  /** Begins; `deliver` is called for each publication that concerns this node, in the order they were published on their node. */
  start(deliver: (publication: Publication) => void): Promise<void>
  /** This node has a session of `user` now. */
  subscribe(user: UserId): void
  /** This node's last session of `user` is gone. */
  unsubscribe(user: UserId): void
  publish(publication: Publication): void
  close(): Promise<void>
}
