import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'

/** The repository's root. */
export const root = fileURLToPath(new URL('../..', import.meta.url))

export interface Outcome {
  readonly exitCode: number | null
  readonly output: string
  readonly errors: string
}

/** Runs a program to its end, with what it printed. It never fails by itself: the test looks at the exit code. */
export async function run(
  program: string,
  args: readonly string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv } = {},
): Promise<Outcome> {
  // One that hangs must not outlive the tests.
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: 120_000, ...options })
  const [output, errors, [exitCode]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')])
  return { exitCode, output, errors }
}

/** Runs one of the repository's scripts under the Node that runs the tests. */
export function runScript(name: string, ...args: string[]): Promise<Outcome> {
  return run(process.execPath, [`${root}/scripts/${name}`, ...args])
}
