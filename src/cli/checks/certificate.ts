/** What the server would speak HTTPS with, or that it would not. */
import { OperatorError } from '../../engine/operator-error.ts'
import { Certificate } from '../../transport/certificate.ts'
import { isLoopback, isUnencrypted, unencryptedAdvice } from '../loopback.ts'
import { certificateFiles } from '../server-options.ts'
import type { Settings } from '../settings.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

/** Whoever renews certificates does so earlier than this before their end. */
const soonMs = 14 * 86_400_000

export function checkCertificate(settings: Settings<'doctor'>, now: number): Finding {
  const { host, tlsCert, tlsKey, trustedProxies } = settings
  try {
    const files = certificateFiles(tlsCert, tlsKey)
    if (files) return checkEnd(new Certificate(files).expiresAt, now)
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    return fail('tls', error.message, 'a server would not start')
  }
  if (isUnencrypted(settings)) return warn('tls', `none, and others reach the server at ${host}`, unencryptedAdvice)
  const who = isLoopback(host) ? 'this machine' : trustedProxies.join(' and ')
  return ok('tls', `none, for only ${who} should reach the server`)
}

function checkEnd(expiresAt: Date, now: number): Finding {
  const leftMs = expiresAt.getTime() - now
  const found = `a certificate that is good until ${expiresAt.toISOString()}`
  if (leftMs <= 0) return fail('tls', `${found}, which is over`, 'renew it: no client trusts it')
  if (leftMs < soonMs) return warn('tls', found, 'renew it, and see why that did not happen by itself')
  return ok('tls', found)
}
