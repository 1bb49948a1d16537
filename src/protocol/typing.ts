/** Who is typing, as it crosses the wire (T). */
import type { ConversationId, UserId } from './ids.ts'
import type { Timestamp } from './records.ts'

/** What a client says of its user: typing, resting with something written, or done. */
export type TypingState = 'begin' | 'pause' | 'finished'

/** One user's state. `at` is by the server's clock (T1). */
export interface TypingEntry {
  readonly event: TypingState
  readonly at: Timestamp
}

/** The whole current set of one conversation, by user (T3). */
export type TypingSet = { readonly [user: UserId]: TypingEntry }

/** The `data` of a typing push (W5). */
export type TypingData = { readonly [conversation: ConversationId]: TypingSet }

/** A state holds this long after the last `begin` or `pause` (T2). */
export const typingExpiryMs = 5_000
/** Clients say `begin` at most this often (T5). */
export const typingIntervalMs = 1_000
/** After a push of a conversation's typing the next one waits this long (T5). */
export const typingPushIntervalMs = 250
/** At most this many users are in one set: those who began last (T3). */
export const typingSetSize = 20
