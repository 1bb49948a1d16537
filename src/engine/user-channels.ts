/**
 * User channels (U): each user has one, with a name that the server made and nobody else names. A session comes to its user's channel
 * by proving who its user is, a listener by knowing the name.
 */

import { type CloseCode, FanfareError } from '../protocol/codes.ts'
import type { Args } from '../protocol/commands.ts'
import type { UserId } from '../protocol/ids.ts'
import type { UserChannel } from '../protocol/records.ts'
import type { Engine } from './engine.ts'
import { channelName, uuidv7 } from './ids.ts'

/** Who a session may be, and until when. */
export interface Admission {
  readonly user: UserId
  readonly listener: boolean
  /** When the proof ends; null for a listener's, which ends with the name. */
  readonly expiresAt: number | null
}

/** Why a session may not begin: the reply's error, and the code it is then closed with. */
export class Refusal extends FanfareError {
  readonly closeCode: CloseCode

  constructor(closeCode: CloseCode, error: FanfareError) {
    super(error.code, error.message, error.details)
    this.closeCode = closeCode
  }
}

/** The user's current channel; made now when this is the first time that anything asks for it (U1). */
export function currentUserChannel(engine: Engine, user: UserId): Promise<Required<UserChannel>> {
  const at = engine.clock.now()
  return engine.storage.userChannels.current(user, { id: `user_channel/${uuidv7(at)}`, name: channelName(), at })
}

/** Checks who asks to connect (U3, U4). Rejects with a `Refusal` where the session is to be closed. */
export async function admit(engine: Engine, { token, channel }: Args<'connect'>): Promise<Admission> {
  if ((token === undefined) === (channel === undefined)) {
    throw new FanfareError('invalid_argument', 'connect takes either a token or a channel')
  }
  if (token !== undefined) {
    const { user, expiresAt } = await engine.tokens.verify(token).catch((error: FanfareError) => {
      throw new Refusal(4401, error)
    })
    await currentUserChannel(engine, user)
    return { user, listener: false, expiresAt }
  }
  const owner = engine.config.listeners ? await engine.storage.userChannels.owner(channel as string) : null
  if (!owner) throw new Refusal(4410, new FanfareError('unauthorized', 'no channel has this name'))
  return { user: owner, listener: true, expiresAt: null }
}
