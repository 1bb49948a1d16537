/** Whether a server could listen where it is told to. */
import { createServer, isIPv6 } from 'node:net'
import { codeOf } from '../error-code.ts'
import { type Finding, fail, ok } from './finding.ts'

/** Who has not answered by then is something else. */
const patienceMs = 5_000

/** `what` is the name of the port's option. */
export async function checkPort(
  what: 'port' | 'metrics-port',
  { host, port }: { readonly host: string; readonly port: number },
): Promise<Finding> {
  const address = `${isIPv6(host) ? `[${host}]` : host}:${port}`
  const code = await refusal(host, port)
  if (code === null) return ok(what, `${address} is free`)
  if (code === 'EADDRINUSE') {
    return (await isFanfare(address))
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

async function isFanfare(address: string): Promise<boolean> {
  const here = address.replace(/^0\.0\.0\.0:/, '127.0.0.1:').replace(/^\[::\]:/, '[::1]:')
  try {
    const answer = await fetch(`http://${here}/livez`, { redirect: 'error', signal: AbortSignal.timeout(patienceMs) })
    return answer.status === 200 && ((await answer.json()) as { live?: unknown }).live === true
  } catch {
    return false
  }
}
