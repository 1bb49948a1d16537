/** From the command line and the environment to what the server needs. */
import { type Config, noLimits } from '../engine/config.ts'
import { OperatorError } from '../engine/operator-error.ts'
import { openLog, standardOutput } from '../operator/log.ts'
import type { ServerOptions } from '../server.ts'
import type { CertificateFiles } from '../transport/certificate.ts'
import { openDataFolder } from './data-folder.ts'
import { readSecret, secrets } from './secrets.ts'
import { type Environment, readSettings } from './settings.ts'

/** The commands that start a server. */
export type ServerCommand = 'serve' | 'dev'

/** Reads and checks everything first, and only then makes the data folder and the secrets where they are missing. */
export function serverOptions(
  command: ServerCommand,
  args: readonly string[],
  environment: Environment,
): ServerOptions {
  const { host, port, data, origins, noLimits: unlimited, ...others } = readSettings(command, args, environment)
  const { listeners, conversations, queueBytes, queuesBytes, retentionDays, drainMs, ...more } = others
  const { logLevel, metricsPort, metricsHost, tlsCert, tlsKey, ...limits } = more
  const config: Config = {
    limits: unlimited ? noLimits : limits,
    listeners,
    conversations,
    queueBytes: orNoLimit(queueBytes),
    queuesBytes: orNoLimit(queuesBytes),
    retentionMs: orNoLimit(retentionDays) * 86_400_000,
    drainMs,
  }
  const log = openLog(logLevel, standardOutput(), process.stdout.isTTY)
  const tls = certificateFiles(tlsCert, tlsKey)
  const metrics = metricsPort === null ? null : { host: metricsHost, port: metricsPort }
  const dataFolder = openDataFolder(data)
  const tokenSecret = readSecret(secrets.tokenSecret, dataFolder, environment)
  const apiKey = readSecret(secrets.apiKey, dataFolder, environment)
  return { host, port, dataFolder, tokenSecret, apiKey, origins, config, log, metrics, tls, demo: command === 'dev' }
}

/** Both, or null for neither; one without the other is a mistake. */
export function certificateFiles(cert: string | null, key: string | null): CertificateFiles | null {
  if (cert !== null && key !== null) return { cert, key }
  if (cert === key) return null
  throw new OperatorError('--tls-cert and --tls-key go together: give both, or neither')
}

function orNoLimit(value: number): number {
  return value === 0 ? Number.POSITIVE_INFINITY : value
}
