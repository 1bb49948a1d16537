/** From the command line and the environment to what the server needs. */
import { type Config, noLimits } from '../engine/config.ts'
import { OperatorError } from '../engine/operator-error.ts'
import { openLog, standardOutput } from '../operator/log.ts'
import type { ServerOptions } from '../server.ts'
import { openDataFolder } from './data-folder.ts'
import type { Environment } from './environment.ts'
import type { Command } from './options.ts'
import { keysIn, readSecret, readSecretIfGiven, secrets } from './secrets.ts'
import { readSettings } from './settings.ts'

/** Reads and checks everything first, and only then makes the data folder and the secrets where they are missing. */
export function serverOptions(command: Command, args: readonly string[], environment: Environment): ServerOptions {
  const settings = readSettings(command, args, environment)
  const { host, port, data, brokerUrl, origins, trustedProxies, noLimits: unlimited, ...others } = settings
  const { jwksUrl, tokenIssuer: issuer, tokenAudience: audiences, ...configured } = others
  const { listeners, conversations, queueBytes, queuesBytes, retentionDays, drainMs, ...more } = configured
  const { logLevel, metricsPort, metricsHost, ...limits } = more
  const config: Config = {
    limits: unlimited ? noLimits : limits,
    listeners,
    conversations,
    queueBytes: orNoLimit(queueBytes),
    queuesBytes: orNoLimit(queuesBytes),
    retentionMs: orNoLimit(retentionDays) * 86_400_000,
    drainMs,
  }
  if (brokerUrl !== null) {
    throw new OperatorError(
      'the embedded database is for one server alone, and a broker for several that share one; leave --broker-url and FANFARE_BROKER_URL out',
    )
  }
  const log = openLog(logLevel, standardOutput(), process.stdout.isTTY)
  const metrics = metricsPort === null ? null : { host: metricsHost, port: metricsPort }
  const dataFolder = openDataFolder(data)
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
    tokenTrust,
    apiKeys,
    brokerUrl,
    origins,
    trustedProxies,
    config,
    log,
    metrics,
    demo: command === 'dev',
  }
}

function orNoLimit(value: number): number {
  return value === 0 ? Number.POSITIVE_INFINITY : value
}
