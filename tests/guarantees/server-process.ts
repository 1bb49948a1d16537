/** A whole server as a process of its own, for whoever kills it, starves it, or lets its disk fail. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import type { ErrorBody } from '../../src/protocol/codes.ts'
import type { Args, CommandName, Result } from '../../src/protocol/commands.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { bin, type Ending, linesOf, type RunningCommand, startNode } from '../cli/command.ts'

const apiKey = 'api-key-of-a-test'
const tokenSecret = 'token-secret-of-a-test-32-bytes-long'

export interface ServerProcessOptions {
  /** A free one unless given. */
  readonly port?: number
  /** What starts Node, with its own arguments: `strace …` for instance. It must end when Node does. */
  readonly under?: readonly string[]
  readonly args?: readonly string[]
}

/** The answer to a command: one of the two. */
export type Answer<R> =
  | { readonly result: R; readonly error?: never }
  | { readonly error: ErrorBody; readonly result?: never }

export class ServerProcess implements AsyncDisposable {
  /** Where it listens, once it does; an empty text before. */
  url = ''
  /** Resolves when it listens. Rejects, with what it said, where it ends before. */
  readonly listening: Promise<void>
  readonly ended: Promise<Ending>
  readonly #command: RunningCommand

  constructor(command: RunningCommand) {
    this.ended = command.ended
    this.#command = command
    this.listening = command.line('listening on ').then((line) => {
      this.url = line.replace(/^.*listening on /, '')
    })
    // Whoever kills it early may not wait for it.
    this.listening.catch(() => {})
  }

  get pid(): number {
    return this.#command.process.pid as number
  }

  /** What its operator must look at: the log's lines of errors so far, and whatever else went to standard error. */
  get complaints(): string[] {
    const { stdout, stderr } = this.#command.said()
    const errors = linesOf(stdout).log.filter(({ level }) => !['debug', 'info', 'warn'].includes(String(level)))
    return [...errors.map((line) => JSON.stringify(line)), ...stderr.split('\n').filter((line) => line !== '')]
  }

  /** Does a command over HTTP as `user`. Rejects where there is no answer. */
  call<N extends CommandName>(user: UserId, command: N, args: Args<N>): Promise<Answer<Result<N>>> {
    return call(this.url, user, command, args)
  }

  /** The same where it must succeed. */
  async must<N extends CommandName>(user: UserId, command: N, args: Args<N>): Promise<Result<N>> {
    const { result, error } = await this.call(user, command, args)
    if (error) throw new Error(`${command}: ${error.code}, ${error.message}`)
    return result
  }

  /** Ends it as an operator does. */
  stop(): Promise<Ending> {
    this.#command.process.kill('SIGTERM')
    return this.ended
  }

  /** Stops it where it stands, each thread at its next step outside the system: what it had asked of that is done. Linux only. */
  async freeze(): Promise<void> {
    this.#command.process.kill('SIGSTOP')
    const tasks = `/proc/${this.pid}/task`
    const moves = (task: string) => !/\) [Tt] /.test(readFileSync(join(tasks, task, 'stat'), 'utf8'))
    while (readdirSync(tasks).some(moves)) await new Promise(setImmediate)
  }

  /** Lets it go on after `freeze`. */
  thaw(): void {
    this.#command.process.kill('SIGCONT')
  }

  /** Ends it at once, as a crash does. */
  kill(): Promise<Ending> {
    this.#command.process.kill('SIGKILL')
    return this.ended
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#command[Symbol.asyncDispose]()
  }
}

/**
 * Does a command over HTTP, on whichever server listens there, as `user`, or as the application itself where that is null. Rejects where
 * there is no answer.
 */
export async function call<N extends CommandName>(
  url: string,
  user: UserId | null,
  command: N,
  args: Args<N>,
): Promise<Answer<Result<N>>> {
  const response = await fetch(`${url}/v2/${command}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${apiKey}`, ...(user && { 'fanfare-as': user }) },
    body: JSON.stringify(args),
  })
  return (await response.json()) as Answer<Result<N>>
}

/**
 * Begins to start `fanfare serve` on a data folder; the test's end kills it. Limits of number are off, for the load of a test comes from
 * one address.
 */
export function spawnServer(
  data: string,
  { port = 0, under = [], args = [] }: ServerProcessOptions = {},
): ServerProcess {
  const serve = [bin, 'serve', `--port=${port}`, '--data', data, '--no-limits', ...args]
  const [program, ...rest] = [...under, process.execPath, ...serve]
  return new ServerProcess(
    startNode(rest, {
      node: program as string,
      env: { FANFARE_API_KEY: apiKey, FANFARE_TOKEN_SECRET: tokenSecret },
    }),
  )
}

/** The same, and waits until it listens. Rejects, with what it said, where it ends before. */
export async function startServerProcess(data: string, options?: ServerProcessOptions): Promise<ServerProcess> {
  const server = spawnServer(data, options)
  try {
    await server.listening
    return server
  } catch (error) {
    await server[Symbol.asyncDispose]()
    throw error
  }
}

/** A token for `user` that every server process takes. */
export function tokenFor(user: UserId): Promise<string> {
  return new SignJWT({})
    .setProtectedHeader({ alg: 'HS256' })
    .setSubject(user.slice('user/'.length))
    .setIssuedAt()
    .setExpirationTime('1d')
    .sign(new TextEncoder().encode(tokenSecret))
}
