/** Whether a server could listen where it is told to. */
import { get as getPlain } from 'node:http'
import { get as getTls } from 'node:https'
import { createServer, isIPv6 } from 'node:net'
import { text } from 'node:stream/consumers'
import { codeOf } from '../error-code.ts'
import { type Finding, fail, ok } from './finding.ts'

/** Who has not answered by then is something else. */
const patienceMs = 5_000

/** `what` is the name of the port's option. */
export async function checkPort(
  what: 'port' | 'metrics-port',
  { host, port }: { readonly host: string; readonly port: number },
  scheme: 'http' | 'https',
): Promise<Finding> {
  const address = `${isIPv6(host) ? `[${host}]` : host}:${port}`
  const code = await refusal(host, port)
  if (code === null) return ok(what, `${address} is free`)
  if (code === 'EADDRINUSE') {
    return (await isFanfare(address, scheme))
      ? ok(what, `a fanfare is running at ${address}`)
      : fail(what, `${address} is taken by another program`, `end that one, or choose another with --${what}`)
  }
  return fail(
    what,
    `nobody can listen at ${address} (${code})`,
    `choose another with --${what} or --${what.replace('port', 'host')}`,
  )
}

/** Why it can't be listened there; null where it can. */
function refusal(host: string, port: number): Promise<string | null> {
  const server = createServer()
  return new Promise((resolve) => {
    server.once('error', (error) => resolve(codeOf(error) ?? error.message))
    server.listen(port, host, () => server.close(() => resolve(null)))
  })
}

/** Whether a fanfare answers there, whose certificate doesn't matter here: nothing is told to it. */
function isFanfare(address: string, scheme: 'http' | 'https'): Promise<boolean> {
  const here = address.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:')
  const get = scheme === 'https' ? getTls : getPlain
  return new Promise((resolve) => {
    const request = get(`${scheme}://${here}/livez`, { rejectUnauthorized: false, timeout: patienceMs }, (answer) => {
      text(answer).then(
        (body) => resolve(answer.statusCode === 200 && body === '{"live":true}'),
        () => resolve(false),
      )
    })
    request.on('timeout', () => request.destroy(new Error('too late')))
    request.on('error', () => resolve(false))
  })
}
