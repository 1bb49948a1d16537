/** Writes what the engine and the storage tell into the log. */
import type { Clock } from '../engine/clock.ts'
import type { Observer, RefusalFacts, SessionFacts } from '../engine/observer.ts'
import type { ErrorCode } from '../protocol/codes.ts'
import type { StorageObserver } from '../storage/storage.ts'
import type { Log } from './log.ts'

/** Of one kind of line in a second, so that whoever provokes them can't fill the disk. At `debug` nothing is left out. */
const linesPerSecond = 20
/** An origin that was refused is whatever somebody sent. */
const longestOrigin = 200

/** Who is turned away by these may be up to something; the other codes are an application's everyday. */
const suspicious: ReadonlySet<ErrorCode> = new Set(['unauthorized', 'token_revoked', 'forbidden', 'rate_limited'])
/** Sessions that end by a limit: too slow, too many, too large, or no language that is spoken here. */
const limitCodes: ReadonlySet<number> = new Set([4409, 4429, 1009, 4400])

const replacement =
  'another database has taken the place of the one before (a standby, or one that was restored): all sessions were closed; clients come back, forget what they counted and load anew'

export class Journal implements Omit<Observer, 'answered' | 'pushed'>, StorageObserver {
  readonly #log: Log
  readonly #clock: Clock
  readonly #paces = new Map<string, Pace>()
  /** How many operations storage has failed to do since it last did any; null while all is well. */
  #unstored: number | null = null

  constructor(log: Log, clock: Clock) {
    this.#log = log
    this.#clock = clock
  }

  sessionConnected(session: SessionFacts, missed: { events: number; gaps: number } | 'reset' | null): void {
    if (!this.#log.isLevelEnabled('debug')) return
    const resumed = missed && (missed === 'reset' ? { reset: true } : missed)
    this.#log.debug({ ...factsOf(session), ...resumed }, 'session_connected')
  }

  sessionEnded(session: SessionFacts, code: number, lastedMs: number): void {
    if (limitCodes.has(code)) this.#tell('warn', { ...factsOf(session), code, lasted_ms: lastedMs }, 'session_ended')
    else if (this.#log.isLevelEnabled('debug')) {
      this.#log.debug({ ...factsOf(session), code, lasted_ms: lastedMs }, 'session_ended')
    }
  }

  refused({ where, command, code, user, address, origin }: RefusalFacts): void {
    const facts = { where, command, code, user, address, origin: origin?.slice(0, longestOrigin) ?? null }
    if (suspicious.has(code)) this.#tell('info', facts, 'refused')
    else this.#log.debug(facts, 'refused')
  }

  replaced(sessions: number): void {
    this.#tell('warn', { reason: replacement, sessions }, 'database_replaced')
  }

  fault(doing: string, error: unknown): void {
    this.#tell('error', { doing, error: stackOf(error) }, 'fault')
  }

  failed(operations: number, reason: string): void {
    if (this.#unstored === null) this.#tell('error', { reason }, 'storage_failed')
    this.#unstored = (this.#unstored ?? 0) + operations
  }

  committed(): void {
    if (this.#unstored === null) return
    this.#tell('warn', { failed: this.#unstored }, 'storage_recovered')
    this.#unstored = null
  }

  #tell(level: 'info' | 'warn' | 'error', facts: object, event: string): void {
    const pace = this.#paces.get(event) ?? new Pace()
    this.#paces.set(event, pace)
    const leftOut = this.#log.isLevelEnabled('debug') ? 0 : pace.take(this.#clock.now())
    if (leftOut !== null) this.#log[level](leftOut > 0 ? { ...facts, left_out: leftOut } : facts, event)
  }
}

/** Lets so many lines pass in each second. */
class Pace {
  #second = 0
  #lines = 0
  #leftOut = 0

  /** Null where this line is left out, else how many were since the last one that wasn't. */
  take(now: number): number | null {
    const second = Math.floor(now / 1000)
    if (second !== this.#second) {
      this.#second = second
      this.#lines = 0
    }
    if (this.#lines === linesPerSecond) {
      this.#leftOut++
      return null
    }
    this.#lines++
    const leftOut = this.#leftOut
    this.#leftOut = 0
    return leftOut
  }
}

function factsOf({ user, id, listener, address, origin }: SessionFacts): object {
  return { user, session: id, ...(listener && { listener }), address, origin }
}

/** The stack of an error and of its causes. What JSON.parse could not read it quotes, and that may be a message: it is left out. */
export function stackOf(error: unknown): string {
  const causes: string[] = []
  for (let one = error; one !== undefined && causes.length < 5; one = one instanceof Error ? one.cause : undefined) {
    causes.push(one instanceof Error ? (one.stack ?? one.message) : String(one))
  }
  return causes
    .join('\ncaused by ')
    .replace(/, (\.\.\.)?"[\s\S]*?"(\.\.\.)? is not valid JSON/g, ', … is not valid JSON')
}
