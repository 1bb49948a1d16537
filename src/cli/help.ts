/** What `--help` prints, from the tables of commands and options. */
import { type Command, commandNames, commands } from './commands.ts'
import { allOptions, type Option, optionsOf, variableOf } from './options.ts'
import { type Secret, secrets } from './secrets.ts'

/** The help of one command, or of all. */
export function help(command: Command | null): string {
  return (command ? helpOf(command) : helpOfAll()).map((lines) => lines.join('\n')).join('\n\n')
}

function helpOf(command: Command): string[][] {
  const { help, operand, secrets } = commands[command]
  const options = optionsOf(command)
  const blocks = [
    [`Usage: fanfare ${command} ${operand ? `${operand.placeholder} ` : ''}[OPTION…]`],
    [help, ...(operand ? [`${operand.placeholder} is ${operand.takes}.`] : [])],
    [optionsHead(options), ...options.map((option) => optionHelp(option, [command]))],
  ]
  return secrets.length > 0 ? [...blocks, [secretsHead, ...secrets.map(secretHelp)]] : blocks
}

function helpOfAll(): string[][] {
  const ofServer = optionsOf('serve')
  const ofOthers = allOptions.filter(({ commands }) => !commands.includes('serve'))
  return [
    ['Usage: fanfare COMMAND [OPTION…]'],
    [
      'Commands:',
      ...commandNames.map((name) => `  ${usage(name).padEnd(17)}${commands[name].help}`),
      '  help             Prints this. COMMAND --help tells of one command alone.',
      '  --version        Says which version this is.',
    ],
    [optionsHead(ofServer), ...ofServer.map((option) => optionHelp(option, ['serve', 'dev']))],
    [
      `Options of other commands, which take --data too${commandNames.flatMap(sharedHelp).join('')}.`,
      ...ofOthers.map((option) => optionHelp(option, option.commands)),
    ],
    [secretsHead, ...Object.values(secrets).map(secretHelp)],
  ]
}

/** Which of the server's options a command takes besides that of all; none for those that take all of the server's. */
function sharedHelp(name: Command): string[] {
  const shared = optionsOf(name).filter(({ name, commands }) => commands.includes('serve') && name !== 'data')
  if (shared.length === 0 || shared.length === optionsOf('serve').length - 1) return []
  return [`; ${name} also ${shared.map((option) => `--${option.name}`).join(' and ')}`]
}

function usage(name: Command): string {
  const { operand } = commands[name]
  return operand ? `${name} ${operand.placeholder}` : name
}

function optionsHead(options: readonly Option<unknown>[]): string {
  return options.some(({ commandLineOnly }) => commandLineOnly)
    ? 'Options. Where a variable of the environment is named, the command line wins over it.'
    : 'Options. Each is an environment variable too; the command line wins over it.'
}

const secretsHead = 'Secrets, in the environment or in a file that it names.'

function optionHelp(option: Option<unknown>, names: readonly Command[]): string {
  const usage = option.kind.placeholder ? `--${option.name} ${option.kind.placeholder}` : `--${option.name}`
  const facts = [
    ...(option.commands.includes('serve') ? [] : [`with ${option.commands.join(' and ')}`]),
    ...(option.commandLineOnly ? [] : [variableOf(option)]),
    `default ${defaultsOf(option, names)}`,
  ]
  return `  ${usage}  [${facts.join(', ')}]\n      ${option.help}`
}

/** The default of an option; where `dev` is one of several commands, also what is otherwise there: `off, with dev on`. */
export function defaultsOf(option: Option<unknown>, names: readonly Command[]): string {
  const shown = option.kind.show(option.default)
  const otherwise = names.length > 1 && names.includes('dev') ? option.dev?.default : undefined
  return otherwise === undefined ? shown : `${shown}, with dev ${option.kind.show(otherwise)}`
}

function secretHelp({ variable, file, help }: Secret): string {
  return `  ${variable} or ${variable}_FILE  [default: ${file} in the data folder, which only serve and dev make]\n      ${help}`
}
