/** `bin/fanfare.js` as a process of its own, as an operator runs it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export const bin = fileURLToPath(new URL('../../bin/fanfare.js', import.meta.url))

/** How a process ended, and all that it said. */
export interface Ending {
  /** Null where a signal ended it. */
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunningCommand extends AsyncDisposable {
  readonly process: ChildProcess
  readonly ended: Promise<Ending>
  /** All that it has said so far. */
  said(): Omit<Ending, 'code'>
  /** The first line of standard output that contains `text`. Rejects, with all that was said, where the process ends without one. */
  line(text: string): Promise<string>
}

export interface CommandOptions {
  /** Nothing of the test's own environment but PATH is there besides. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Which Node runs it; the test's own unless given. */
  readonly node?: string
  /** As whom it runs, which root alone may choose; the test's own user unless given. */
  readonly user?: number
}

/** The lines of standard output that are the log's, and those that are for a person. */
export function linesOf(stdout: string): {
  readonly log: Readonly<Record<string, unknown>>[]
  readonly plain: string[]
} {
  const lines = stdout.split('\n').slice(0, -1)
  return {
    log: lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line)),
    plain: lines.filter((line) => !line.startsWith('{')),
  }
}

/** Starts the command; the test's end kills it, if it still runs. */
export function startCommand(args: readonly string[], options: CommandOptions = {}): RunningCommand {
  return startNode([bin, ...args], options)
}

/** Runs the command until it ends by itself. */
export async function runCommand(args: readonly string[], options: CommandOptions = {}): Promise<Ending> {
  await using command = startCommand(args, options)
  return await command.ended
}

/** Starts Node with any arguments, to see a part of the command alone. */
export function startNode(
  args: readonly string[],
  { env = {}, cwd, node = process.execPath, user }: CommandOptions = {},
): RunningCommand {
  const child = spawn(node, args, {
    env: { PATH: process.env.PATH ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd ? { cwd } : {}),
    ...(user === undefined ? {} : { uid: user, gid: user }),
  })
  let stdout = ''
  let stderr = ''
  const waiting = new Set<() => void>()
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text
    for (const look of waiting) look()
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text
  })
  const ended = once(child, 'close').then(([code]): Ending => ({ code, stdout, stderr }))
  return {
    process: child,
    ended,
    said: () => ({ stdout, stderr }),
    line(text) {
      return new Promise((resolve, reject) => {
        const look = () => {
          const line = stdout
            .split('\n')
            .slice(0, -1)
            .find((candidate) => candidate.includes(text))
          if (line === undefined) return
          waiting.delete(look)
          resolve(line)
        }
        waiting.add(look)
        look()
        ended.then((ending) => reject(new Error(`it ended without saying ${text}: ${JSON.stringify(ending)}`)), reject)
      })
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await ended
    },
  }
}
