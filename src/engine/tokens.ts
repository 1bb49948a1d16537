/** Tokens: who a session or a call is for. They are JWTs that the application makes, signed with the shared secret (S2). */
import { errors, jwtVerify, SignJWT } from 'jose'
import { FanfareError } from '../protocol/codes.ts'
import { isUserName, type UserId } from '../protocol/ids.ts'
import type { Clock } from './clock.ts'

/** A token that was checked: whose it is, when it was made and when it ends (milliseconds). */
export interface Proof {
  readonly user: UserId
  readonly issuedAt: number
  readonly expiresAt: number
}

/** A secret is at least as long as the digest, or it could be guessed (RFC 7518, 3.2). */
export const secretBytes = 32
/** An application's clock may be ahead of ours by this much (S2). */
const clockToleranceMs = 5_000
/** The end of 9999, in seconds: a later time can't be told to the client (W8), and was most likely meant in milliseconds. */
const latestExp = Date.UTC(10_000, 0) / 1000

export class Tokens {
  readonly #secret: Uint8Array
  readonly #clock: Clock

  /** `secret` has at least 32 bytes; a shorter one is refused with a `RangeError`. */
  constructor(secret: string, clock: Clock) {
    this.#secret = new TextEncoder().encode(secret)
    if (this.#secret.length < secretBytes) throw new RangeError(`the token secret has less than ${secretBytes} bytes`)
    this.#clock = clock
  }

  /** Whose the token is. Anything wrong with it is `unauthorized`; the text says what, for it is the application's to mend. */
  async verify(token: string): Promise<Proof> {
    const { payload } = await jwtVerify(token, this.#secret, {
      algorithms: ['HS256'],
      requiredClaims: ['sub', 'exp', 'iat'],
      currentDate: new Date(this.#clock.now()),
    }).catch((error: unknown) => {
      const reason = error instanceof errors.JOSEError ? error.message : 'it is no JWT'
      throw new FanfareError('unauthorized', `the token is not valid: ${reason}`)
    })
    const { sub, exp, iat } = payload as { sub: string; exp: number; iat: number }
    if (!isUserName(sub)) throw new FanfareError('unauthorized', "the token's sub is no user id (without user/)")
    if (exp >= latestExp) {
      throw new FanfareError(
        'unauthorized',
        "the token's exp lies beyond the year 9999: it is in seconds, not milliseconds",
      )
    }
    if (iat * 1000 > this.#clock.now() + clockToleranceMs) {
      throw new FanfareError('unauthorized', "the token's iat lies in the future: check the clock of who makes tokens")
    }
    return { user: `user/${sub}`, issuedAt: iat * 1000, expiresAt: exp * 1000 }
  }

  /** Makes a token as the application would, for backends that have no JWT library at hand (M8). */
  async create(user: UserId, ttlSeconds: number): Promise<{ token: string; expiresAt: number }> {
    const now = Math.floor(this.#clock.now() / 1000)
    const token = await new SignJWT({})
      .setProtectedHeader({ alg: 'HS256', typ: 'JWT' })
      .setSubject(user.slice('user/'.length))
      .setIssuedAt(now)
      .setExpirationTime(now + ttlSeconds)
      .sign(this.#secret)
    return { token, expiresAt: (now + ttlSeconds) * 1000 }
  }
}
