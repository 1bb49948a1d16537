/** What `--help` prints, from the table of options. */
import { type Command, type Option, optionsOf, variableOf } from './options.ts'
import { type Secret, secrets } from './secrets.ts'

const commands: Readonly<Record<Command, string>> = {
  serve: 'Starts the server.',
  dev: 'Starts it for this machine only, with a page on which to try it. The page gives a token to whoever asks.',
}

/** The help of one command, or of all. */
export function help(command: Command | null): string {
  const names = command ? [command] : (Object.keys(commands) as Command[])
  const about = command
    ? [commands[command]]
    : [
        'Commands:',
        ...names.map((name) => `  ${name.padEnd(11)}${commands[name]}`),
        '  --version  Says which version this is.',
      ]
  const blocks = [
    [`Usage: fanfare ${command ?? 'COMMAND'} [OPTION…]`],
    about,
    [
      'Options. Each is an environment variable too; the command line wins over it.',
      ...optionsOf(names[0]!).map((option) => optionHelp(option, names)),
    ],
    ['Secrets, in the environment or in a file that it names.', ...Object.values(secrets).map(secretHelp)],
  ]
  return blocks.map((lines) => lines.join('\n')).join('\n\n')
}

function optionHelp(option: Option<unknown>, names: readonly Command[]): string {
  const usage = option.kind.placeholder ? `--${option.name} ${option.kind.placeholder}` : `--${option.name}`
  return `  ${usage}  [${variableOf(option)}, default ${defaultsOf(option, names)}]\n      ${option.help}`
}

/** The default of an option; where `dev` is one of several commands, also what is otherwise there: `off, with dev on`. */
export function defaultsOf(option: Option<unknown>, names: readonly Command[]): string {
  const shown = option.kind.show(option.default)
  const otherwise = names.length > 1 && names.includes('dev') ? option.dev?.default : undefined
  return otherwise === undefined ? shown : `${shown}, with dev ${option.kind.show(otherwise)}`
}

function secretHelp({ variable, file, help }: Secret): string {
  return `  ${variable} or ${variable}_FILE  [default: made once, and kept as ${file} in the data folder]\n      ${help}`
}
