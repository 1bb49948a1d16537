/** What the command line and the environment say, read by the table of options: the command line wins, then the variable. */
import { parseArgs } from 'node:util'
import { OperatorError } from '../engine/operator-error.ts'
import { type Environment, readGivenSecret } from './environment.ts'
import type { Kind } from './kind.ts'
import { type Command, type Option, type options, optionsOf, variableOf } from './options.ts'

/** A value for every option of the table. */
export type Settings = {
  readonly [Key in keyof typeof options]: (typeof options)[Key] extends { kind: Kind<infer Value> } ? Value : never
}

/** Reads all options of `command`. Throws an `OperatorError` for the first that is unknown, or has a value that it doesn't take. */
export function readSettings(command: Command, args: readonly string[], environment: Environment): Settings {
  const table = optionsOf(command)
  const given = readCommandLine(command, args, table)
  const settings = table.map((option) => [option.key, readOption(command, option, given.get(option.name), environment)])
  return Object.fromEntries(settings) as Settings
}

function readOption(
  command: Command,
  option: Option<unknown>,
  given: readonly string[] | undefined,
  environment: Environment,
): unknown {
  const variable = variableOf(option)
  if (given) {
    const source = `--${option.name}`
    const text = option.kind.repeatable ? given.join(',') : given.at(-1)!
    if (option.isSecret?.(text)) {
      throw misuse(
        command,
        `${source} holds a secret, which whoever lists the processes sees; set ${variable} or ${variable}_FILE`,
      )
    }
    return readValue(command, source, text, option)
  }
  if (option.isSecret) {
    const secret = readGivenSecret(variable, environment)
    return secret ? readValue(command, secret.source, secret.text, option) : option.default
  }
  const text = environment[variable]
  // Compose files and shells can't take a variable away, only empty it.
  return text ? readValue(command, variable, text, option) : option.default
}

function readValue<Value>(command: Command, source: string, text: string, option: Option<Value>): Value {
  const value = option.kind.read(text)
  if (value !== undefined) return value
  const was = option.isSecret ? 'is something else' : `is ${JSON.stringify(text)}`
  throw misuse(command, `${source} ${was}, but it takes ${option.kind.takes}`)
}

/** The texts that each option was given, by its name. */
function readCommandLine(
  command: Command,
  args: readonly string[],
  table: readonly Option<unknown>[],
): ReadonlyMap<string, readonly string[]> {
  const types = table.map(
    ({ name, kind }) => [name, { type: kind.placeholder === null ? 'boolean' : 'string' }] as const,
  )
  // Not strict, since parseArgs would then say what is wrong in words of its own, and take no `--listeners=0`.
  const { tokens } = parseArgs({ args: [...args], options: Object.fromEntries(types), strict: false, tokens: true })
  const given = new Map<string, readonly string[]>()
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      throw misuse(command, `fanfare ${command} takes options only, not ${JSON.stringify(token.value)}`)
    }
    const option = table.find(({ name }) => token.rawName === `--${name}`)
    // The value is left out: it may be a secret that was meant for another program.
    if (!option) throw misuse(command, `unknown option ${token.rawName}`)
    const swallowed = token.inlineValue === false && /^-\D/.test(token.value)
    const text = token.value ?? (option.kind.placeholder === null ? '1' : undefined)
    if (text === undefined || swallowed) throw misuse(command, `--${option.name} needs a value: ${option.kind.takes}`)
    given.set(option.name, [...(given.get(option.name) ?? []), text])
  }
  return given
}

function misuse(command: Command, what: string): OperatorError {
  return new OperatorError(`${what}; see fanfare ${command} --help`)
}
