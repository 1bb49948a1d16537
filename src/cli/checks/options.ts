/** Options that are right by themselves, and together not what somebody would want who serves strangers. */
import { OperatorError } from '../../engine/operator-error.ts'
import type { Environment } from '../environment.ts'
import { isLoopback } from '../loopback.ts'
import { allOptions, variableOf } from '../options.ts'
import { secrets } from '../secrets.ts'
import { refuseBroker, requireSecrets } from '../server-options.ts'
import type { Settings } from '../settings.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

export function checkOptions(settings: Settings<'doctor'>, environment: Environment): Finding[] {
  const { noLimits, metricsPort, metricsHost, databaseUrl, brokerUrl, jwksUrl } = settings
  const found: Finding[] = []
  try {
    if (databaseUrl === null) refuseBroker(brokerUrl)
    else requireSecrets(environment, jwksUrl)
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    found.push(fail('options', error.message, 'a server would not start'))
  }
  if (noLimits)
    found.push(warn('options', 'all limits are off', 'leave out --no-limits where strangers reach the server'))
  if (metricsPort !== null && !isLoopback(metricsHost)) {
    found.push(
      warn(
        'options',
        `whoever reaches ${metricsHost}:${metricsPort} reads the metrics`,
        'let only who collects them reach it, or leave out --metrics-host',
      ),
    )
  }
  for (const variable of unknownVariables(environment)) {
    found.push(
      warn(
        'options',
        `nothing reads the variable ${variable}`,
        'look for a slip of the pen; fanfare serve --help lists them',
      ),
    )
  }
  return found.length > 0 ? found : [ok('options', 'they are right')]
}

/** A misspelt variable is as good as none, and a server would make up a secret of its own without a word. */
function unknownVariables(environment: Environment): string[] {
  const read = allOptions.filter(({ commandLineOnly }) => !commandLineOnly)
  const secret = [
    ...read.filter(({ isSecret }) => isSecret).map(variableOf),
    ...Object.values(secrets).map(({ variable }) => variable),
  ]
  const known = new Set([...read.map(variableOf), ...secret, ...secret.map((variable) => `${variable}_FILE`)])
  return Object.keys(environment).filter((variable) => variable.startsWith('FANFARE_') && !known.has(variable))
}
