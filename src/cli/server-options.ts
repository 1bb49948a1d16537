/** From the command line and the environment to what the server needs. */
import { resolve } from 'node:path'
import { type Config, noLimits } from '../engine/config.ts'
import { OperatorError } from '../engine/operator-error.ts'
import { openLog, standardOutput } from '../operator/log.ts'
import type { ServerOptions } from '../server.ts'
import type { CertificateFiles } from '../transport/certificate.ts'
import { openDataFolder } from './data-folder.ts'
import type { Environment } from './environment.ts'
import { keysIn, readSecret, readSecretIfGiven, secrets } from './secrets.ts'
import { readSettings, secretsInSight } from './settings.ts'

/** The commands that start a server. */
export type ServerCommand = 'serve' | 'dev'

/** Reads and checks everything first, and only then makes the data folder and the secrets where they are missing. */
export function serverOptions(
  command: ServerCommand,
  args: readonly string[],
  environment: Environment,
): ServerOptions {
  const settings = readSettings(command, args, environment)
  const { host, port, data, databaseUrl, brokerUrl, origins, trustedProxies, noLimits: unlimited, ...others } = settings
  const { jwksUrl, tokenIssuer: issuer, tokenAudience: audiences, ...configured } = others
  const { listeners, conversations, queueBytes, queuesBytes, retentionDays, drainMs, ...more } = configured
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
  if (databaseUrl === null) refuseBroker(brokerUrl)
  else if (command === 'serve') requireSecrets(environment, jwksUrl)
  const log = openLog(logLevel, standardOutput(), process.stdout.isTTY)
  for (const option of secretsInSight(command, args)) {
    log.warn({ option, advice: 'set its variable, or the one with _FILE' }, 'secret_in_sight')
  }
  const tls = certificateFiles(tlsCert, tlsKey)
  const metrics = metricsPort === null ? null : { host: metricsHost, port: metricsPort }
  // With a database elsewhere and secrets that are given there is nothing to keep.
  const dataFolder = databaseUrl !== null && command === 'serve' ? resolve(data) : openDataFolder(data)
  // With a JWKS a shared secret counts only where somebody asked for it. The demo page needs one.
  const needsSecret = jwksUrl === null || command === 'dev'
  const secret = needsSecret
    ? readSecret(secrets.tokenSecret, dataFolder, environment)
    : readSecretIfGiven(secrets.tokenSecret, environment)
  const tokenTrust = { secret, jwksUrl, issuer, audiences }
  const apiKeys = keysIn(readSecret(secrets.apiKey, dataFolder, environment))
  return {
    host,
    port,
    dataFolder,
    databaseUrl,
    tokenTrust,
    apiKeys,
    brokerUrl,
    origins,
    trustedProxies,
    config,
    log,
    metrics,
    tls,
    demo: command === 'dev',
  }
}

/** Throws an `OperatorError` where a broker is given, which the embedded database has no use for. */
export function refuseBroker(brokerUrl: string | null): void {
  if (brokerUrl === null) return
  throw new OperatorError(
    'the embedded database is for one server alone, and a broker for several that share one; leave --broker-url and FANFARE_BROKER_URL out',
  )
}

/**
 * Throws an `OperatorError` where a secret is not given that several nodes must have alike: each would make its own, and take the tokens of
 * no other.
 */
export function requireSecrets(environment: Environment, jwksUrl: string | null): void {
  const wanted = jwksUrl === null ? [secrets.tokenSecret, secrets.apiKey] : [secrets.apiKey]
  const missing = wanted.filter((secret) => readSecretIfGiven(secret, environment) === null)
  if (missing.length === 0) return
  const names = missing.map(({ variable }) => variable).join(' and ')
  throw new OperatorError(
    `nodes that share a database share their secrets too, and make none; set ${names}, the same at each (or the variables with _FILE)`,
  )
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
