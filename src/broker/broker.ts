/**
 * The seam between nodes: it moves publications to those nodes that have a session of one of their recipients, at most once, and
 * keeps nothing. Its subjects come from user ids, never from channel names, so that a rotation moves no subscription (U1).
 * Every adapter passes the suite in `src/testing/broker-contract.ts`.
 */
import type { Frame } from '../protocol/frames.ts'
import type { ConversationId, UserId } from '../protocol/ids.ts'

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
