/** `fanfare rotate USER` and `fanfare disconnect USER`: what a running server does when it is asked with the API key. */
import { resolve } from 'node:path'
import { OperatorError } from '../engine/operator-error.ts'
import type { Args, CommandName, Result } from '../protocol/commands.ts'
import type { Environment } from './environment.ts'
import { codeOf } from './error-code.ts'
import { keysIn, readMadeSecret, secrets } from './secrets.ts'
import { readAsked } from './settings.ts'

/** A server that has not answered by then does not. */
const patienceMs = 30_000

/** The codes of a certificate that says somebody else, has ended, or was signed by nobody known. */
const untrusted = /CERT|ISSUER|SIGNATURE/
/** The codes of who speaks no TLS, or none that is spoken here. */
const noTls = /^ERR_SSL|^EPROTO$/
/** The codes of a connection that never was, so that nothing can have been asked over it. */
const unreached =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|EADDRNOTAVAIL|ETIMEDOUT|UND_ERR_CONNECT_TIMEOUT)$/

/** Says what was done. The new name is the user's secret, and not told (U1). */
export async function rotate(args: readonly string[], environment: Environment): Promise<string> {
  const { settings, operand: user } = readAsked('rotate', args, environment)
  await call(settings, environment, 'rotate_user_channel', { user, revoke: settings.revoke })
  return settings.revoke
    ? `${user} has a new user channel and is logged out everywhere: tokens made until now count no more`
    : `${user} has a new user channel; whoever listened by the old name is out`
}

/** Says how many sessions were closed. Their user may come back with the token that he has. */
export async function disconnect(args: readonly string[], environment: Environment): Promise<string> {
  const { settings, operand: user } = readAsked('disconnect', args, environment)
  const { sessions } = await call(settings, environment, 'disconnect_user', { user })
  return `${sessions} ${sessions === 1 ? 'session' : 'sessions'} of ${user} closed`
}

async function call<N extends CommandName>(
  { url, data }: { readonly url: string; readonly data: string },
  environment: Environment,
  command: N,
  args: Args<N>,
): Promise<Result<N>> {
  // Any of several will do.
  const [apiKey] = keysIn(readMadeSecret(secrets.apiKey, resolve(data), environment)) as [string]
  const { status, text } = await post(`${url}/v2/${command}`, apiKey, args).catch((error: unknown) => {
    throw new OperatorError(unanswered(url, error))
  })
  const answer = parsed(text)
  if (answer?.result) return answer.result as Result<N>
  const code = answer?.error?.code
  if (status === 401) {
    throw new OperatorError(
      `the server at ${url} does not take this API key; name its data folder with --data, or set ${secrets.apiKey.variable}`,
    )
  }
  if (typeof code !== 'string' || !/^[a-z_]+$/.test(code)) {
    throw new OperatorError(`what answers at ${url} is no fanfare (status ${status}); say where it is with --url`)
  }
  // A user need not be known, so no command of these is answered so.
  if (code === 'not_found') {
    throw new OperatorError(
      `there are no commands at ${url}/v2 (not_found); say where the server is with --url, without a path unless a proxy gives it one`,
    )
  }
  throw new OperatorError(
    code === 'unavailable' || code === 'internal'
      ? `the server at ${url} failed (${code}), and it may have been done all the same; look at its log, and ask again`
      : `the server at ${url} refused, and nothing was done: ${code}; its log says more at --log-level debug`,
  )
}

/** What it means that no answer came, and whether it may have been done. To ask twice does no harm. */
function unanswered(url: string, error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : error
  const reason = codeOf(cause) ?? (cause instanceof Error ? cause.message : String(cause))
  if (untrusted.test(reason)) {
    return `the certificate that ${url} shows is not trusted here (${reason}), and nothing was done; name its authority's file in NODE_EXTRA_CA_CERTS, or the server by the name in its certificate`
  }
  if (noTls.test(reason)) {
    return `what listens at ${url} speaks no TLS that is understood here (${reason}), and nothing was done; of a server without it the address begins with http://`
  }
  if (unreached.test(reason)) {
    return `no server answers at ${url} (${reason}); start it, or say where it is with --url or FANFARE_URL`
  }
  const hint = url.startsWith('http:') ? '; of a server with TLS the address begins with https://' : ''
  return `no answer came from ${url} (${reason}), and it may have been done all the same; ask again${hint}`
}

async function post(url: string, apiKey: string, args: object): Promise<{ status: number; text: string }> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, 'content-type': 'application/json' },
    body: JSON.stringify(args),
    // The key is for this server alone.
    redirect: 'manual',
    signal: AbortSignal.timeout(patienceMs),
  })
  return { status: answer.status, text: await answer.text() }
}

function parsed(text: string): { readonly result?: unknown; readonly error?: { readonly code?: unknown } } | null {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}
