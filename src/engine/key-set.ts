/** The public keys of those who make tokens: a JWKS, fetched from the one URL that the operator has named (S2). */
import { createRemoteJWKSet, errors, type JWTVerifyGetKey } from 'jose'
import { FanfareError } from '../protocol/codes.ts'
import type { Clock } from './clock.ts'

/** Older keys are fetched anew, so that one that was withdrawn soon counts no more. */
const freshMs = 600_000
/** While they can't be fetched the old ones count until then, lest a short outage there be one here. */
const usableMs = 3_600_000
/** They are not asked for more often, however many tokens name a key that is not among them. */
const cooldownMs = 5_000
const fetchTimeoutMs = 5_000

export class KeySet {
  readonly #clock: Clock
  readonly #onFault: (doing: string, error: unknown) => void
  readonly #remote: ReturnType<typeof createRemoteJWKSet>
  #askedAt = Number.NEGATIVE_INFINITY
  #fetchedAt = Number.NEGATIVE_INFINITY
  #fetching: Promise<void> | null = null
  #failing = false

  /** Nothing is fetched before the first token comes. `onFault` is told when fetching begins to fail. */
  constructor(url: string, clock: Clock, onFault: (doing: string, error: unknown) => void) {
    this.#clock = clock
    this.#onFault = onFault
    // When to fetch is decided here, by our clock: jose would ask again at once for each token that comes while the keys can't be had.
    this.#remote = createRemoteJWKSet(new URL(url), {
      cacheMaxAge: Number.POSITIVE_INFINITY,
      cooldownDuration: Number.POSITIVE_INFINITY,
      timeoutDuration: fetchTimeoutMs,
    })
  }

  /** The key that a token is signed with, by its `alg` and `kid` alone. Rejects with `unavailable` while that can't be told. */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    if (!this.#isWithin(usableMs, this.#fetchedAt)) await this.#fetch()
    else if (!this.#isWithin(freshMs, this.#fetchedAt)) this.#fetch().catch(() => {})
    try {
      return await this.#remote(header, token)
    } catch (error) {
      const mayBeNew = error instanceof errors.JWKSNoMatchingKey
      if (!mayBeNew || (this.#isWithin(cooldownMs, this.#askedAt) && !this.#fetching && !this.#failing)) throw error
    }
    await this.#fetch()
    return this.#remote(header, token)
  }

  /** Fetches the keys, once for all who ask meanwhile; after a failure nobody asks again before the pause is over. */
  #fetch(): Promise<void> {
    if (this.#fetching) return this.#fetching
    if (this.#isWithin(cooldownMs, this.#askedAt)) return Promise.reject(this.#unavailable())
    this.#askedAt = this.#clock.now()
    this.#fetching = this.#remote
      .reload()
      .then(
        () => {
          this.#fetchedAt = this.#clock.now()
          this.#failing = false
        },
        (error: unknown) => {
          if (!this.#failing) this.#onFault('fetching the keys of --jwks-url', error)
          this.#failing = true
          throw this.#unavailable()
        },
      )
      .finally(() => {
        this.#fetching = null
      })
    return this.#fetching
  }

  /** Those who are told so come back after the pause, and not all at once. */
  #unavailable(): FanfareError {
    const leftMs = Math.max(0, this.#askedAt + cooldownMs - this.#clock.now())
    return new FanfareError('unavailable', 'the keys that tokens are checked with can not be fetched now', {
      retry_after_ms: Math.ceil(leftMs + Math.random() * cooldownMs),
    })
  }

  /** Whether less than `ms` has passed since `at`; a clock that was set back has left that behind. */
  #isWithin(ms: number, at: number): boolean {
    const now = this.#clock.now()
    return now >= at && now < at + ms
  }
}
