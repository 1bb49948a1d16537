/** A whole server as a process of its own, for whoever kills it, starves it, or lets its disk fail. */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import type { ErrorBody } from '../../src/protocol/codes.ts'
import type { Args, CommandName, Result } from '../../src/protocol/commands.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { bin, type Ending, type RunningCommand, startNode } from '../cli/command.ts'

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
  readonly url: string
  readonly ended: Promise<Ending>
  readonly #command: RunningCommand

  constructor(url: string, command: RunningCommand) {
    this.url = url
    this.ended = command.ended
    this.#command = command
  }

  get pid(): number {
    return this.#command.process.pid as number
  }

  /** Does a command over HTTP as `user`. Rejects where there is no answer. */
  async call<N extends CommandName>(user: UserId, command: N, args: Args<N>): Promise<Answer<Result<N>>> {
    const response = await fetch(`${this.url}/v2/${command}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'fanfare-as': user },
      body: JSON.stringify(args),
    })
    return (await response.json()) as Answer<Result<N>>
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
 * Starts `fanfare serve` on a data folder; the test's end kills it. Rejects, with what it said, where it ends before it listens. Limits of
 * number are off, for the load of a test comes from one address.
 */
export async function startServerProcess(
  data: string,
  { port = 0, under = [], args = [] }: ServerProcessOptions = {},
): Promise<ServerProcess> {
  const [program, ...rest] = [
    ...under,
    process.execPath,
    bin,
    'serve',
    `--port=${port}`,
    '--data',
    data,
    '--no-limits',
    ...args,
  ]
  const command = startNode(rest, {
    node: program as string,
    env: { FANFARE_API_KEY: apiKey, FANFARE_TOKEN_SECRET: tokenSecret },
  })
  try {
    const url = (await command.line('listening on ')).replace(/^.*listening on /, '')
    return new ServerProcess(url, command)
  } catch (error) {
    await command[Symbol.asyncDispose]()
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
