/** How fast commands, messages, typing and new sessions may come (L3), and who reads (L2). What stays within costs two numbers and no timer. */
import { FanfareError } from '../protocol/codes.ts'
import type { UserId } from '../protocol/ids.ts'
import type { Limits } from './config.ts'
import { Reads } from './reads.ts'

/** What goes on far past its rate ends: when this many bursts were refused, less what would have been taken since. */
const refusedBursts = 10
/** So many of a kind are kept before those that are as good as new are let go. */
const keptAtLeast = 1_000

/** So much in a second, and so much at once. */
class Rate {
  readonly intervalMs: number
  readonly spanMs: number

  constructor(perSecond: number, burst: number) {
    this.intervalMs = 1000 / perSecond
    this.spanMs = burst * this.intervalMs
  }

  /** Null where there is no limit. */
  static of(perSecond: number, burst: number): Rate | null {
    return perSecond > 0 && burst > 0 ? new Rate(perSecond, burst) : null
  }
}

/** A token bucket, kept as the moment at which it will be full again. */
class Bucket {
  readonly #rate: Rate
  #fullAt = 0

  constructor(rate: Rate) {
    this.#rate = rate
  }

  /** Takes one, and gives 0; or how many milliseconds it takes until there is one. */
  take(now: number): number {
    const { intervalMs, spanMs } = this.#rate
    // Never fuller than full, nor, by a clock that was set back, emptier than empty.
    this.#fullAt = Math.min(Math.max(this.#fullAt, now), now + spanMs)
    const waitMs = this.#fullAt + intervalMs - spanMs - now
    if (waitMs > 0) return waitMs
    this.#fullAt += intervalMs
    return 0
  }

  /** A full one is as good as a new one. */
  isAsNew(now: number): boolean {
    return this.#fullAt <= now
  }
}

/** How fast one may go on: a session, or a user over HTTP. */
export class Pace {
  readonly #commands: Bucket | null
  readonly #typing: Bucket | null
  readonly #refused: Bucket | null
  #excessive = false

  constructor(commands: Rate | null, typing: Rate | null, refused: Rate | null) {
    this.#commands = commands && new Bucket(commands)
    this.#typing = typing && new Bucket(typing)
    this.#refused = refused && new Bucket(refused)
  }

  /** A command comes: 0 where it may be done, else by how many milliseconds it is too early. */
  command(now: number): number {
    return this.#take(this.#commands, now)
  }

  /** The same for `typing`, which has a rate of its own. */
  typing(now: number): number {
    return this.#take(this.#typing, now)
  }

  /** Whether so much was refused that it can be no mistake any more. */
  get excessive(): boolean {
    return this.#excessive
  }

  isAsNew(now: number): boolean {
    return [this.#commands, this.#typing, this.#refused].every((bucket) => bucket?.isAsNew(now) ?? true)
  }

  #take(bucket: Bucket | null, now: number): number {
    const waitMs = bucket ? bucket.take(now) : 0
    if (waitMs > 0 && this.#refused && this.#refused.take(now) > 0) this.#excessive = true
    return waitMs
  }
}

export class Rates {
  readonly #makePace: (() => Pace) | null
  readonly #makeReads: (() => Reads) | null
  readonly #callers: Kept<UserId, Pace> | null
  readonly #messages: Kept<UserId, Bucket> | null
  readonly #sessions: Kept<string, Bucket> | null
  readonly #readers: Kept<UserId, Reads> | null

  constructor(limits: Limits) {
    const commands = Rate.of(limits.commandsPerSecond, limits.commandsBurst)
    const refused = Rate.of(limits.commandsPerSecond, limits.commandsBurst * refusedBursts)
    const typing = Rate.of(limits.typingPerSecond, limits.typingBurst)
    const messages = Rate.of(limits.messagesPerSecond, limits.messagesBurst)
    const sessions = Rate.of(limits.sessionsPerSecondPerAddress, limits.sessionsBurstPerAddress)
    const makePace = () => new Pace(commands, typing, refused)
    this.#makePace = commands || typing ? makePace : null
    this.#callers = commands || typing ? new Kept(makePace) : null
    this.#messages = messages && new Kept(() => new Bucket(messages))
    this.#sessions = sessions && new Kept(() => new Bucket(sessions))
    const makeReads = () => new Reads(limits.readsAtOnce)
    this.#makeReads = limits.readsAtOnce > 0 ? makeReads : null
    this.#readers = limits.readsAtOnce > 0 ? new Kept(makeReads) : null
  }

  /** The pace of a new session; null where it has none. */
  newPace(): Pace | null {
    return this.#makePace?.() ?? null
  }

  /** The pace of a user's calls over HTTP; null where it has none. */
  paceOf(user: UserId, now: number): Pace | null {
    return this.#callers?.of(user, now) ?? null
  }

  /** The reads of a new session; null where they have no limit. */
  newReads(): Reads | null {
    return this.#makeReads?.() ?? null
  }

  /** A user's reads over HTTP; null where they have no limit. */
  readsOf(user: UserId, now: number): Reads | null {
    return this.#readers?.of(user, now) ?? null
  }

  /** A message of the user comes, on any of his sessions or over HTTP: 0, or by how many milliseconds it is too early. */
  message(user: UserId, now: number): number {
    return this.#messages ? this.#messages.of(user, now).take(now) : 0
  }

  /** How many users and networks are held in memory: those who could not have more than they have are let go. */
  get size(): number {
    return [this.#callers, this.#messages, this.#sessions, this.#readers].reduce(
      (sum, kept) => sum + (kept?.size ?? 0),
      0,
    )
  }

  /** A session begins, from that network: 0, or by how many milliseconds it is too early. */
  session(network: string, now: number): number {
    return this.#sessions ? this.#sessions.of(network, now).take(now) : 0
  }
}

/** What a command is answered with that comes too early. */
export function tooFast(what: string, waitMs: number): FanfareError {
  return new FanfareError('rate_limited', `too many ${what} at once; nothing was done`, {
    retry_after_ms: Math.ceil(waitMs),
  })
}

/** One for each key. Those that are as good as new are let go, whenever there are twice as many as were not. */
class Kept<Key, One extends { isAsNew(now: number): boolean }> {
  readonly #make: () => One
  readonly #kept = new Map<Key, One>()
  #most = keptAtLeast

  constructor(make: () => One) {
    this.#make = make
  }

  get size(): number {
    return this.#kept.size
  }

  of(key: Key, now: number): One {
    let one = this.#kept.get(key)
    if (!one) {
      if (this.#kept.size >= this.#most) this.#letGo(now)
      one = this.#make()
      this.#kept.set(key, one)
    }
    return one
  }

  #letGo(now: number): void {
    for (const [key, one] of this.#kept) if (one.isAsNew(now)) this.#kept.delete(key)
    this.#most = Math.max(keptAtLeast, 2 * this.#kept.size)
  }
}
