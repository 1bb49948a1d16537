/** `fanfare token USER`: a token as the application's backend would make it, to try things with. */
import { resolve } from 'node:path'
import { systemClock } from '../engine/clock.ts'
import { Tokens } from '../engine/tokens.ts'
import type { Environment } from './environment.ts'
import { readMadeSecret, secrets } from './secrets.ts'
import { readAsked } from './settings.ts'

/** Gives the token. The secret must be there: one that was made for this would be no server's. */
export async function token(args: readonly string[], environment: Environment): Promise<string> {
  const { settings, operand: user } = readAsked('token', args, environment)
  const { data, ttl, tokenIssuer: issuer, tokenAudience: audiences } = settings
  const secret = readMadeSecret(secrets.tokenSecret, resolve(data), environment)
  const trust = { secret, jwksUrl: null, issuer, audiences }
  const made = await new Tokens(trust, systemClock, () => {}).create(user, ttl)
  return made.token
}
