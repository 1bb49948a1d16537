/** Tokens: who a session or a call is for. They are JWTs that the application makes, with a shared secret or a key of a JWKS (S2). */
import { errors, type JWTVerifyGetKey, type JWTVerifyResult, jwtVerify, SignJWT } from 'jose'
import { FanfareError } from '../protocol/codes.ts'
import { isUserName, type UserId } from '../protocol/ids.ts'
import type { Clock } from './clock.ts'
import { KeySet } from './key-set.ts'
import { shortestSecretBytes } from './token-limits.ts'

/** A token that was checked: whose it is, when it was made and when it ends (milliseconds). */
export interface Proof {
  readonly user: UserId
  readonly issuedAt: number
  readonly expiresAt: number
}

/** Whose signature counts, and what a token must claim besides. */
export interface TokenTrust {
  /** What HS256 tokens are signed with, 32 bytes or more; null where none count. */
  readonly secret: string | null
  /** Where the keys of RS256, ES256 and EdDSA tokens are; null where none count. */
  readonly jwksUrl: string | null
  /** The `iss` that a token must have; null where any will do, or none. */
  readonly issuer: string | null
  /** One of them must be in a token's `aud`; empty where any will do, or none. */
  readonly audiences: readonly string[]
}

/** An application's clock may be ahead of ours by this much (S2). */
const clockToleranceMs = 5_000
/** The end of 9999, in seconds: a later time can't be told to the client (W8), and was most likely meant in milliseconds. */
const latestExp = Date.UTC(10_000, 0) / 1000
/** What `typ` may say, if anything: a token of another kind (of a logout, say) proves nothing here. */
const types = ['jwt', 'at+jwt']

export class Tokens {
  readonly #trust: TokenTrust
  readonly #secret: Uint8Array | null
  readonly #algorithms: string[]
  readonly #keyOf: JWTVerifyGetKey
  readonly #clock: Clock

  /** A secret of less than 32 bytes is refused with a `RangeError`. `onFault` is told when the JWKS can't be fetched. */
  constructor(trust: TokenTrust, clock: Clock, onFault: (doing: string, error: unknown) => void) {
    const secret = trust.secret === null ? null : new TextEncoder().encode(trust.secret)
    if (secret && secret.length < shortestSecretBytes) {
      throw new RangeError(`the token secret has less than ${shortestSecretBytes} bytes`)
    }
    const keys = trust.jwksUrl === null ? null : new KeySet(trust.jwksUrl, clock, onFault)
    this.#trust = trust
    this.#secret = secret
    this.#algorithms = [...(secret ? ['HS256'] : []), ...(keys ? ['RS256', 'ES256', 'EdDSA'] : [])]
    // Which key it is follows from the algorithm, and that is one of the list: a public key never becomes a shared secret.
    this.#keyOf = (header, token) => (header.alg === 'HS256' || !keys ? secret! : keys.find(header, token))
    this.#clock = clock
  }

  /**
   * Whose the token is. Anything wrong with it is `unauthorized`, and the text says what, for it is the application's to mend;
   * `unavailable` where nobody can tell now, since the JWKS can't be fetched.
   */
  async verify(token: string): Promise<Proof> {
    const now = this.#clock.now()
    const { payload, protectedHeader } = await this.#checked(token, now)
    const { sub, exp, iat } = payload as { sub: string; exp: number; iat: number }
    if (!isType(protectedHeader.typ)) throw invalid("its typ is another than a token's")
    if (!isUserName(sub)) throw invalid('its sub is no user id (without user/)')
    if (exp * 1000 <= now) throw invalid('it has expired')
    if (exp >= latestExp) throw invalid('its exp lies beyond the year 9999: it is in seconds, not milliseconds')
    if (iat * 1000 > now + clockToleranceMs) {
      throw invalid('its iat lies in the future: check the clock of who makes tokens')
    }
    return { user: `user/${sub}`, issuedAt: iat * 1000, expiresAt: exp * 1000 }
  }

  /** Makes a token as the application would, for backends that have no JWT library at hand (M8). It lives for `ttlSeconds` at least. */
  async create(user: UserId, ttlSeconds: number): Promise<{ token: string; expiresAt: number }> {
    if (!this.#secret) {
      throw new FanfareError('forbidden', 'this server makes no tokens: it has a JWKS, and no token secret')
    }
    const { issuer, audiences } = this.#trust
    const now = this.#clock.now() / 1000
    const exp = Math.ceil(now + ttlSeconds)
    const token = await new SignJWT({
      ...(issuer !== null && { iss: issuer }),
      ...(audiences.length > 0 && { aud: [...audiences] }),
    })
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setSubject(user.slice('user/'.length))
      .setIssuedAt(Math.floor(now))
      .setExpirationTime(exp)
      .sign(this.#secret)
    return { token, expiresAt: exp * 1000 }
  }

  async #checked(token: string, now: number): Promise<JWTVerifyResult> {
    const { issuer, audiences } = this.#trust
    try {
      return await jwtVerify(token, this.#keyOf, {
        algorithms: this.#algorithms,
        requiredClaims: ['sub', 'exp', 'iat'],
        currentDate: new Date(now),
        // For `nbf`: a token of a clock that is ahead of ours is good at once. It ends by ours (see `verify`).
        clockTolerance: clockToleranceMs / 1000,
        ...(issuer !== null && { issuer }),
        ...(audiences.length > 0 && { audience: [...audiences] }),
      })
    } catch (error) {
      if (error instanceof FanfareError) throw error
      throw invalid(error instanceof errors.JOSEError ? error.message : 'it can not be checked')
    }
  }
}

/** Whether a header's `typ`, which may be anything that JSON can hold, is absent or that of a token. */
function isType(typ: unknown): boolean {
  return (
    typ === undefined || (typeof typ === 'string' && types.includes(typ.toLowerCase().replace(/^application\//, '')))
  )
}

function invalid(reason: string): FanfareError {
  return new FanfareError('unauthorized', `the token is not valid: ${reason}`)
}
