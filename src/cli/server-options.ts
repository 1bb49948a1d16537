/** From the command line and the environment to what the server needs. */
import { type Config, noLimits } from '../engine/config.ts'
import { OperatorError } from '../engine/operator-error.ts'
import type { ServerOptions } from '../server.ts'
import { openDataFolder } from './data-folder.ts'
import type { Environment } from './environment.ts'
import type { Command } from './options.ts'
import { readSecret, secrets } from './secrets.ts'
import { readSettings } from './settings.ts'

/** Reads and checks everything first, and only then makes the data folder and the secrets where they are missing. */
export function serverOptions(command: Command, args: readonly string[], environment: Environment): ServerOptions {
  const settings = readSettings(command, args, environment)
  const { host, port, data, brokerUrl, origins, noLimits: unlimited, ...others } = settings
  const { listeners, conversations, queueBytes, queuesBytes, retentionDays, drainMs, ...limits } = others
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
  const dataFolder = openDataFolder(data)
  const tokenSecret = readSecret(secrets.tokenSecret, dataFolder, environment)
  const apiKey = readSecret(secrets.apiKey, dataFolder, environment)
  return { host, port, dataFolder, tokenSecret, apiKey, brokerUrl, origins, config, demo: command === 'dev' }
}

function orNoLimit(value: number): number {
  return value === 0 ? Number.POSITIVE_INFINITY : value
}
