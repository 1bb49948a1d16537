/** `fanfare serve` and `fanfare dev`: from the options to a server that runs until it is told to stop. */
import { isIPv6 } from 'node:net'
import { OperatorError } from '../engine/operator-error.ts'
import { stackOf } from '../operator/journal.ts'
import { type Place, type Server, type ServerOptions, startServer } from '../server.ts'
import { DatabaseUnusable } from '../storage/storage.ts'
import type { Environment } from './environment.ts'
import { codeOf } from './error-code.ts'
import { isUnencrypted, unencryptedAdvice } from './loopback.ts'
import { type ServerCommand, serverOptions } from './server-options.ts'
import { untilSignal } from './signal.ts'

/** Runs the server until the first SIGTERM or SIGINT, and closes it then. */
export async function serve(command: ServerCommand, args: readonly string[], environment: Environment): Promise<void> {
  // The database is for its owner alone too, also in a folder that others may enter.
  process.umask(0o077)
  const options = serverOptions(command, args, environment)
  // Asked for before the start, so that a signal that comes meanwhile ends the server properly too.
  const stopped = untilSignal()
  // Tells of what then ends the process as it would have been ended anyway: with its stack on standard error, and with 1.
  process.on('uncaughtExceptionMonitor', (error) => options.log.fatal({ error: stackOf(error) }, 'crashed'))
  const server = await start(options)
  // Without a certificate it ends the process, as anywhere: a terminal that closes takes its programs with it.
  if (options.tls) process.on('SIGHUP', () => server.reload())
  else if (isUnencrypted(options)) options.log.warn({ advice: unencryptedAdvice }, 'unencrypted')
  console.log(`Fanfare is listening on ${server.url}`)
  if (command === 'dev') console.log(`Open ${server.url} in a browser. Ctrl-C ends it.`)
  await stopped
  await server.close()
}

async function start(options: ServerOptions): Promise<Server> {
  try {
    return await startServer(options)
  } catch (error) {
    if (error instanceof DatabaseUnusable) throw new OperatorError(error.message)
    throw listenFlaw(error, options) ?? error
  }
}

/** What the operating system's refusal to listen means to the operator; null for any other error. */
function listenFlaw(error: unknown, options: ServerOptions): OperatorError | null {
  const { host, port, prefix } = placeOf(error, options)
  const address = `${isIPv6(host) ? `[${host}]` : host}:${port}`
  switch (listenCode(error)) {
    case 'EADDRINUSE':
      return new OperatorError(
        `${address} is taken by another program; end that one, or choose another port with --${prefix}port (0 takes a free one)`,
      )
    case 'EACCES':
      return new OperatorError(
        `this user may not listen on ${address}; choose a port from 1024 up with --${prefix}port, or let the user bind low ports`,
      )
    case 'EADDRNOTAVAIL':
    case 'EAFNOSUPPORT':
    case 'EINVAL':
      return new OperatorError(
        `${host} is no address of this machine; choose one with --${prefix}host (0.0.0.0 is all of them)`,
      )
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return new OperatorError(`no address is known for the host ${host}; choose another with --${prefix}host`)
    default:
      return null
  }
}

/** Which of the two places could not be listened at, and how its options begin. */
function placeOf(error: unknown, { host, port, metrics }: ServerOptions): Place & { readonly prefix: string } {
  const { port: failedPort, hostname } = error as { port?: number; hostname?: string }
  const isMetrics = metrics && (failedPort === undefined ? hostname === metrics.host : failedPort === metrics.port)
  return isMetrics ? { ...metrics, prefix: 'metrics-' } : { host, port, prefix: '' }
}

/** The code of an error of `listen`, which looks the host's name up first. The same codes from elsewhere mean other things. */
function listenCode(error: unknown): string | undefined {
  const call = error instanceof Error && 'syscall' in error ? error.syscall : undefined
  return call === 'listen' || call === 'getaddrinfo' ? codeOf(error) : undefined
}
