/** What the command line and the environment say, read by the tables of commands and options: the command line wins, then the variable. */
import { parseArgs } from 'node:util'
import { OperatorError } from '../engine/operator-error.ts'
import { type Command, commands } from './commands.ts'
import { type Environment, readGivenSecret } from './environment.ts'
import type { Kind } from './kind.ts'
import { type KeyOf, type Option, type options, optionsOf, variableOf } from './options.ts'

/** A value for every option that the command takes. */
export type Settings<C extends Command> = {
  readonly [Key in KeyOf<C>]: (typeof options)[Key] extends { kind: Kind<infer Value> } ? Value : never
}

type Operand<C extends Command> = (typeof commands)[C]['operand'] extends Kind<infer Value> ? Value : null

/** What was asked of a command. */
export interface Asked<C extends Command> {
  readonly settings: Settings<C>
  /** What stands behind its name, where something does. */
  readonly operand: Operand<C>
}

/** Reads all options of `command`. Throws an `OperatorError` for the first that is unknown, or has a value that it doesn't take. */
export function readSettings<C extends Command>(
  command: C,
  args: readonly string[],
  environment: Environment,
): Settings<C> {
  return readAsked(command, args, environment).settings
}

/** Reads all options of `command`, and what it takes besides them. Throws as `readSettings` does. */
export function readAsked<C extends Command>(command: C, args: readonly string[], environment: Environment): Asked<C> {
  const table = optionsOf(command)
  const { given, operands } = readCommandLine(command, args, table)
  const settings = table.map((option) => [option.key, readOption(command, option, given.get(option.name), environment)])
  return {
    settings: Object.fromEntries(settings) as Settings<C>,
    operand: readOperand(command, operands) as Operand<C>,
  }
}

/** The options of `command` whose values on the command line hold a secret, which whoever lists the machine's processes can read. */
export function secretsInSight(command: Command, args: readonly string[]): string[] {
  const table = optionsOf(command)
  const { given } = readCommandLine(command, args, table)
  return table.flatMap(({ name, isSecret }) => (given.get(name)?.some((text) => isSecret?.(text)) ? `--${name}` : []))
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
    return readValue(command, source, text, option)
  }
  if (option.commandLineOnly) return option.default
  if (option.isSecret) {
    const secret = readGivenSecret(variable, environment)
    return secret ? readValue(command, secret.source, secret.text, option) : option.default
  }
  const text = environment[variable]
  // Compose files and shells can't take a variable away, only empty it.
  return text ? readValue(command, variable, text, option) : option.default
}

function readOperand(command: Command, operands: readonly string[]): unknown {
  const kind: Kind<unknown> | null = commands[command].operand
  if (!kind) {
    if (operands.length === 0) return null
    throw misuse(command, `fanfare ${command} takes options only, not ${JSON.stringify(operands[0])}`)
  }
  const [first, second] = operands
  if (first === undefined) throw misuse(command, `fanfare ${command} needs ${kind.placeholder}: ${kind.takes}`)
  if (second !== undefined) {
    throw misuse(command, `fanfare ${command} takes one ${kind.placeholder}, and not ${JSON.stringify(second)} besides`)
  }
  return readValue(command, kind.placeholder!, first, { kind })
}

function readValue<Value>(
  command: Command,
  source: string,
  text: string,
  { kind, isSecret }: Pick<Option<Value>, 'kind' | 'isSecret'>,
): Value {
  const value = kind.read(text)
  if (value !== undefined) return value
  const was = isSecret ? 'is something else' : `is ${JSON.stringify(text)}`
  throw misuse(command, `${source} ${was}, but it takes ${kind.takes}`)
}

/** The texts that each option was given, by its name, and those that belong to none. */
function readCommandLine(
  command: Command,
  args: readonly string[],
  table: readonly Option<unknown>[],
): { readonly given: ReadonlyMap<string, readonly string[]>; readonly operands: readonly string[] } {
  const types = table.map(
    ({ name, kind }) => [name, { type: kind.placeholder === null ? 'boolean' : 'string' }] as const,
  )
  // Not strict, since parseArgs would then say what is wrong in words of its own, and take no `--listeners=0`.
  const { tokens } = parseArgs({ args: [...args], options: Object.fromEntries(types), strict: false, tokens: true })
  const given = new Map<string, readonly string[]>()
  const operands: string[] = []
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue
    if (token.kind === 'positional') {
      operands.push(token.value)
      continue
    }
    const option = table.find(({ name }) => token.rawName === `--${name}`)
    // The value is left out: it may be a secret that was meant for another program.
    if (!option) throw misuse(command, `unknown option ${token.rawName}`)
    const swallowed = token.inlineValue === false && /^-\D/.test(token.value)
    const text = token.value ?? (option.kind.placeholder === null ? '1' : undefined)
    if (text === undefined || swallowed) throw misuse(command, `--${option.name} needs a value: ${option.kind.takes}`)
    given.set(option.name, [...(given.get(option.name) ?? []), text])
  }
  return { given, operands }
}

function misuse(command: Command, what: string): OperatorError {
  return new OperatorError(`${what}; see fanfare ${command} --help`)
}
