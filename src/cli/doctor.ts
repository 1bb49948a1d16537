/** `fanfare doctor`: looks at all that a server with these options needs, changes nothing, and says what is wrong and what to do. */
import { accessSync, constants, statSync } from 'node:fs'
import { resolve } from 'node:path'
import { OperatorError } from '../engine/operator-error.ts'
import { checkBroker } from './checks/broker.ts'
import { checkCertificate } from './checks/certificate.ts'
import { checkDatabase, checkPostgres } from './checks/database.ts'
import { type Finding, fail, ok } from './checks/finding.ts'
import { checkFolder } from './checks/folder.ts'
import { checkClock, checkNode, checkWrites } from './checks/machine.ts'
import { checkOptions } from './checks/options.ts'
import { checkPort } from './checks/port.ts'
import { checkSecrets } from './checks/secrets.ts'
import type { Environment } from './environment.ts'
import { codeOf } from './error-code.ts'
import { readSettings, type Settings } from './settings.ts'

/** One line for each check, and the exit code: 0 where all is well, 1 where something is worth a look, 2 where a server could not work. */
export async function doctor(
  args: readonly string[],
  environment: Environment,
): Promise<{ readonly text: string; readonly exitCode: number }> {
  const findings = await findingsOf(args, environment)
  const states = findings.map(({ state }) => state)
  return {
    text: findings.map(lineOf).join('\n'),
    exitCode: states.includes('fail') ? 2 : states.includes('warn') ? 1 : 0,
  }
}

async function findingsOf(args: readonly string[], environment: Environment): Promise<Finding[]> {
  let settings: Settings<'doctor'>
  try {
    settings = readSettings('doctor', args, environment)
  } catch (error) {
    if (!(error instanceof OperatorError)) throw error
    return [checkNode(), fail('options', error.message, 'the rest was not looked at')]
  }
  const folder = resolve(settings.data)
  const { databaseUrl, brokerUrl, jwksUrl } = settings
  const canEnter = !isClosed(folder)
  return [
    checkNode(),
    checkWrites(),
    ...checkOptions(settings, environment),
    ...(databaseUrl === null ? checkFolder(folder) : []),
    ...(canEnter ? checkSecrets(folder, environment, jwksUrl) : []),
    ...(databaseUrl !== null ? [await checkPostgres(databaseUrl)] : canEnter ? checkDatabase(folder) : []),
    ...(databaseUrl !== null && brokerUrl !== null ? [await checkBroker(brokerUrl)] : []),
    checkClock(folder, Date.now()),
    checkCertificate(settings, Date.now()),
    await checkPort('port', settings, settings.tlsCert === null ? 'http' : 'https'),
    ...(settings.metricsPort === null
      ? [ok('metrics', 'at the main port, for the API key')]
      : [await checkPort('metrics-port', { host: settings.metricsHost, port: settings.metricsPort }, 'http')]),
  ]
}

/** Whether nobody can look into it: it is no folder, or not for this user. */
function isClosed(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return !statSync(path).isDirectory()
  } catch (error) {
    return codeOf(error) !== 'ENOENT'
  }
}

function lineOf({ state, what, found, advice }: Finding): string {
  return `${state.padEnd(4)}  ${what}: ${found}${advice ? `; ${advice}` : ''}`
}
