/** What an operator can set, with its defaults. Inside every option is required; `defaultConfig` is where they come from. */

/** Limits of size, number and rate (section L). 0 turns one off. */
export interface Limits {
  /** Bytes of one frame, and of one HTTP body. */
  readonly frameBytes: number
  /** Bytes (UTF-8) of a message's body. */
  readonly bodyBytes: number
  /** Bytes of a record's metadata as JSON, and of a message's attachment. */
  readonly metadataBytes: number
  readonly participants: number
  /** Sessions of one user at once; the next one is refused with 4429. */
  readonly sessionsPerUser: number
  readonly conversationsPerUser: number
  /** Connections of one address that have not proved who they are; the next one is refused with 4429. */
  readonly unauthenticatedPerAddress: number
  /** The longest page that a list command gives. */
  readonly pageLength: number
  /** Listeners of one user at once (U4). */
  readonly listenersPerUser: number
  /** Conversations whose typing one session watches (T4). */
  readonly typingWatchesPerSession: number
  /** Reads of one session, and over HTTP of one user, that are under way at once; what comes then waits (L2). */
  readonly readsAtOnce: number
  /** Commands of one session, and calls over HTTP of one user (L3); what passes a rate is `rate_limited`. */
  readonly commandsPerSecond: number
  readonly commandsBurst: number
  /** Messages that one user sends or edits, on all his sessions together. */
  readonly messagesPerSecond: number
  readonly messagesBurst: number
  /** `typing` of one session, which counts apart; what passes this is merged. */
  readonly typingPerSecond: number
  readonly typingBurst: number
  /** New sessions of one address; the next one is refused before it is one. */
  readonly sessionsPerSecondPerAddress: number
  readonly sessionsBurstPerAddress: number
}

export interface Config {
  readonly limits: Limits
  /** Whether `connect {"channel"}` is open (U4). */
  readonly listeners: boolean
  /** Who makes conversations and changes their participants: everyone, or only the application's backend (M1). */
  readonly conversations: 'everyone' | 'backend'
  /** Bytes that may wait in one session's queue (S6). */
  readonly queueBytes: number
  /** Bytes that may wait in all of them together (S6). */
  readonly queuesBytes: number
  /** How long the event log is kept, in milliseconds (R3). */
  readonly retentionMs: number
  /** Over how long the sessions of a server that ends are told to come back, in milliseconds (S7). */
  readonly drainMs: number
}

export const defaultLimits: Limits = {
  frameBytes: 65_536,
  bodyBytes: 16_384,
  metadataBytes: 8_192,
  participants: 10_000,
  sessionsPerUser: 20,
  conversationsPerUser: 10_000,
  unauthenticatedPerAddress: 50,
  pageLength: 200,
  listenersPerUser: 5,
  typingWatchesPerSession: 100,
  readsAtOnce: 4,
  commandsPerSecond: 50,
  commandsBurst: 200,
  messagesPerSecond: 20,
  messagesBurst: 100,
  typingPerSecond: 10,
  typingBurst: 50,
  sessionsPerSecondPerAddress: 1_000,
  sessionsBurstPerAddress: 5_000,
}

/** What `--no-limits` sets: every limit turned off, for benchmarks. */
export const noLimits: Limits = Object.fromEntries(Object.keys(defaultLimits).map((name) => [name, 0])) as never

export const defaultConfig: Config = {
  limits: defaultLimits,
  listeners: false,
  conversations: 'everyone',
  queueBytes: 1_048_576,
  queuesBytes: 268_435_456,
  retentionMs: 30 * 86_400_000,
  drainMs: 5_000,
}
