/** The command: which part of it is meant, and how it ends. */
import { readFileSync } from 'node:fs'
import { OperatorError } from '../engine/operator-error.ts'
import { type Command, commandNames, isCommand } from './commands.ts'
import type { Environment } from './environment.ts'
import { help } from './help.ts'

const listed = `${commandNames.join(', ')} and help`

/** Something must be put right by whoever runs the command. */
const operatorExitCode = 2

/**
 * Runs `fanfare` with `args` and ends the process. Exit codes: 0 where all was done; 2 where the operator must put something right,
 * which one line on standard error says; 1 for anything else, with a stack. Doctor has codes of its own.
 */
export async function main(args: readonly string[], environment: Environment): Promise<never> {
  try {
    process.exit(await run(args, environment))
  } catch (error) {
    const expected = error instanceof OperatorError
    await print(process.stderr, expected ? `fanfare: ${error.message}` : stackOf(error))
    process.exit(expected ? operatorExitCode : 1)
  }
}

/** Gives the exit code. */
async function run(args: readonly string[], environment: Environment): Promise<number> {
  const [command, ...rest] = args
  if (isCommand(command)) {
    if (!rest.includes('--help') && !rest.includes('-h')) return runCommand(command, rest, environment)
    await print(process.stdout, help(command))
    return 0
  }
  switch (command) {
    case 'help':
    case '--help':
    case '-h':
      await print(process.stdout, help(null))
      return 0
    case '--version':
      await print(process.stdout, version())
      return 0
    case undefined:
      throw new OperatorError(`which command? It is one of ${listed}; see fanfare --help`)
    default:
      throw new OperatorError(
        command.startsWith('-')
          ? `a command comes first, such as serve, and its options after it; see fanfare --help`
          : `unknown command ${JSON.stringify(command)}: it is one of ${listed}; see fanfare --help`,
      )
  }
}

/** Each command's file is read only now, so that the help needs none of them. */
async function runCommand(command: Command, args: readonly string[], environment: Environment): Promise<number> {
  switch (command) {
    case 'serve':
    case 'dev': {
      const { serve } = await import('./serve.ts')
      await serve(command, args, environment)
      return 0
    }
    case 'doctor': {
      const { doctor } = await import('./doctor.ts')
      const { text, exitCode } = await doctor(args, environment)
      await print(process.stdout, text)
      return exitCode
    }
    default: {
      await print(process.stdout, await said(command, args, environment))
      return 0
    }
  }
}

/** Does what is done at once, and gives what there is to say of it. */
async function said(
  command: Exclude<Command, 'serve' | 'dev' | 'doctor'>,
  args: readonly string[],
  environment: Environment,
): Promise<string> {
  switch (command) {
    case 'token':
      return (await import('./token.ts')).token(args, environment)
    case 'rotate':
      return (await import('./at-server.ts')).rotate(args, environment)
    case 'disconnect':
      return (await import('./at-server.ts')).disconnect(args, environment)
    case 'backup':
      return (await import('./backup.ts')).backup(args, environment)
    case 'copy':
      return (await import('./copy.ts')).copy(args, environment)
  }
}

/** Resolves when the text has left the process, which ends soon after. */
function print(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve) => stream.write(`${text.trimEnd()}\n`, () => resolve()))
}

function stackOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error)
}

/** The package's version. Its package.json lies as far above dist/cli as above src/cli. */
function version(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
    version: string
  }
  return version
}
