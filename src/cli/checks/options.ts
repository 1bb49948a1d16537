/** Options that are right by themselves, and together not what somebody would want who serves strangers. */
import { OperatorError } from '../../engine/operator-error.ts'
import { isLoopback } from '../loopback.ts'
import { refuseBroker } from '../server-options.ts'
import type { Settings } from '../settings.ts'
import { type Finding, fail, ok, warn } from './finding.ts'

export function checkOptions(settings: Settings<'doctor'>): Finding[] {
  const { noLimits, metricsPort, metricsHost, brokerUrl } = settings
  const found: Finding[] = []
  try {
    refuseBroker(brokerUrl)
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
  return found.length > 0 ? found : [ok('options', 'they are right')]
}
