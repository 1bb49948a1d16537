/**
 * User channels (U): each user has one, with a name that the server made and nobody else names. A session comes to its user's channel
 * by proving who its user is, a listener by knowing the name.
 */

import type { SessionsEnd } from '../broker/broker.ts'
import { type CloseCode, FanfareError } from '../protocol/codes.ts'
import type { Args } from '../protocol/commands.ts'
import type { UserId } from '../protocol/ids.ts'
import type { Admitted, CurrentUserChannel, LogPlace, Missed, NewUserChannel } from '../storage/storage.ts'
import type { Engine } from './engine.ts'
import { channelName, uuidv7 } from './ids.ts'
import type { Session } from './session.ts'
import type { Proof } from './tokens.ts'

/** A token counts again when it was made this long after a revocation: the clocks of applications differ (U7). */
const revocationMarginMs = 5_000

/** Who asks to connect, as far as can be told without storage: whose token it is, or which channel's name. */
export type Claim = Proof | { readonly channel: string }

/** Who a session is, until when, and what it missed. */
export interface Admission {
  readonly user: UserId
  readonly listener: boolean
  /** When the proof ends; null for a listener's, which ends with the name. */
  readonly expiresAt: number | null
  /** When the channel that it comes to was last rotated: what is rotated later ends it, or may. */
  readonly rotatedAt: number
  readonly missed: Missed | null
}

/** Why a session may not begin: the reply's error, and the code it is then closed with. */
export class Refusal extends FanfareError {
  readonly closeCode: CloseCode

  constructor(closeCode: CloseCode, error: FanfareError) {
    super(error.code, error.message, error.details)
    this.closeCode = closeCode
  }

  /** What stands behind the reason of the close: when to come back, where the code has a time for it. */
  get closeDetail(): string {
    return this.closeCode === 4503 ? `${this.details?.retry_after_ms}` : ''
  }
}

/** A channel to be made, or a name to rotate to. */
export function newUserChannel(engine: Engine): NewUserChannel {
  const at = engine.clock.now()
  return { id: `user_channel/${uuidv7(at)}`, name: channelName(), at }
}

/** The user's current channel; made now when this is the first time that anything asks for it (U1). */
export function currentUserChannel(engine: Engine, user: UserId): Promise<CurrentUserChannel> {
  return engine.storage.userChannels.current(user, newUserChannel(engine))
}

/** Whose token it is, and until when: for whoever needs no session. `unauthorized`, or `token_revoked`. */
export async function authenticate(engine: Engine, token: string): Promise<Proof> {
  const proof = await engine.tokens.verify(token)
  await requireUnrevoked(engine, proof)
  return proof
}

/** Refuses the token of who has been logged out everywhere since it was made: `token_revoked` (U7). */
export async function requireUnrevoked(engine: Engine, proof: Proof): Promise<void> {
  checkUnrevoked(engine, proof, await currentUserChannel(engine, proof.user))
}

/** Reads who asks to connect (U3, U4). Rejects with a `Refusal` where the session is to be closed. */
export async function claimOf(engine: Engine, { token, channel }: Args<'connect'>): Promise<Claim> {
  if ((token === undefined) === (channel === undefined)) {
    throw new FanfareError('invalid_argument', 'connect takes either a token or a channel')
  }
  if (token === undefined) return { channel: channel as string }
  return engine.tokens.verify(token).catch((error: FanfareError) => {
    // The token may well be good: nobody can tell now.
    throw new Refusal(error.code === 'unavailable' ? 4503 : 4401, error)
  })
}

/**
 * Asks storage for all that the session needs to begin. Gives back storage's own promise: whoever attaches the session in the turn of
 * the answer has it between what was committed before and after it, the channel's next rotation included.
 */
export function askAdmission(engine: Engine, claim: Claim, since: LogPlace | null): Promise<Admitted | null> {
  const { userChannels } = engine.storage
  if (!('channel' in claim)) return userChannels.admit(claim.user, newUserChannel(engine), since)
  return engine.config.listeners ? userChannels.admitListener(claim.channel, since) : Promise.resolve(null)
}

/** Decides on storage's answer. Throws a `Refusal` where the session may not begin. */
export function admissionOf(engine: Engine, claim: Claim, admitted: Admitted | null): Admission {
  if (!admitted) throw new Refusal(4410, new FanfareError('unauthorized', 'no channel has this name'))
  const { userChannel, rotatedAt, missed } = admitted
  if ('channel' in claim) return { user: userChannel.user, listener: true, expiresAt: null, rotatedAt, missed }
  try {
    checkUnrevoked(engine, claim, admitted)
  } catch (error) {
    throw new Refusal(4403, error as FanfareError)
  }
  return { user: claim.user, listener: false, expiresAt: claim.expiresAt, rotatedAt, missed }
}

/** Ends those of the user's sessions that a rotation leaves no place for (U6, U7). The others move with the channel. */
export function endSessions(sessions: readonly Session[], { rotatedAt, revoke, by }: SessionsEnd): void {
  for (const session of [...sessions]) {
    // Who came after the rotation has come by what it left.
    if (session.rotatedAt >= rotatedAt) continue
    if (session.listener) session.close(4410)
    else if (revoke && session.id !== by) session.close(4403)
    // A rotation that ends none of them may have come here before a revocation from before it, which does.
    else if (revoke) session.rotatedAt = rotatedAt
  }
}

function checkUnrevoked(engine: Engine, { issuedAt }: Proof, { revokedAt }: CurrentUserChannel): void {
  if (revokedAt === null || issuedAt >= revokedAt + revocationMarginMs) return
  // A token's time is in whole seconds.
  const takenAt = Math.ceil((revokedAt + revocationMarginMs) / 1000) * 1000
  throw new FanfareError(
    'token_revoked',
    'the token was made before its user was logged out everywhere: get a new one',
    {
      retry_after_ms: Math.max(0, takenAt - engine.clock.now()),
    },
  )
}
