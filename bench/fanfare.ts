/** The server as it is measured: the command itself, in a process of its own, with its limits off. */
import { createHmac } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Args, Result } from '../src/protocol/commands.ts'
import type { ConversationId, UserId } from '../src/protocol/ids.ts'
import { Program, serverCore } from './program.ts'

const command = fileURLToPath(new URL('../bin/fanfare.js', import.meta.url))
const apiKey = 'api-key-of-the-benchmarks'
const tokenSecret = 'token-secret-of-the-benchmarks-32-bytes'

/** A folder of one figure's own, gone with its scope. It lies where temporary files do: `TMPDIR` moves it to another disk. */
export class DataFolder implements AsyncDisposable {
  readonly path: string

  private constructor(path: string) {
    this.path = path
  }

  static async make(): Promise<DataFolder> {
    return new DataFolder(await mkdtemp(join(tmpdir(), 'fanfare-bench-')))
  }

  /** Where the server has its database. */
  get database(): string {
    return join(this.path, 'fanfare.db')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.path, { recursive: true, force: true })
  }
}

export class Fanfare implements AsyncDisposable {
  readonly port: number
  readonly #program: Program

  private constructor(program: Program, port: number) {
    this.#program = program
    this.port = port
  }

  static async start(folder: DataFolder, core: number | null = serverCore): Promise<Fanfare> {
    const args = [command, 'serve', '--no-limits', '--host', '127.0.0.1', '--port', '0', '--data', folder.path]
    const program = new Program(process.execPath, args, {
      core,
      env: { FANFARE_TOKEN_SECRET: tokenSecret, FANFARE_API_KEY: apiKey },
    })
    const [, port] = await program.says(/listening on http:\/\/[^:]+:(\d+)/)
    return new Fanfare(program, Number(port))
  }

  get pid(): number {
    return this.#program.pid
  }

  /** Makes a conversation of these, the first of whom is its creator. */
  async conversation(users: readonly UserId[]): Promise<ConversationId> {
    const [creator = 'user/nobody', ...participants] = users
    const args: Args<'create_conversation'> = { participants }
    const response = await fetch(`http://127.0.0.1:${this.port}/v2/create_conversation`, {
      method: 'POST',
      headers: { authorization: `Bearer ${apiKey}`, 'fanfare-as': creator },
      body: JSON.stringify(args),
    })
    const { result } = (await response.json()) as { result?: Result<'create_conversation'> }
    if (!result) throw new Error(`create_conversation was answered with ${response.status}`)
    return result.conversation.id
  }

  /** One of the server's own counts, by the whole name of its sample. */
  async metric(name: string): Promise<number> {
    const headers = { authorization: `Bearer ${apiKey}` }
    const metrics = await (await fetch(`http://127.0.0.1:${this.port}/metrics`, { headers })).text()
    const line = metrics.split('\n').find((one) => one.startsWith(`${name} `))
    if (line === undefined) throw new Error(`the metrics have no ${name}`)
    return Number(line.slice(name.length))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]()
  }
}

/** These many users: `user/<prefix>0`, `user/<prefix>1`, … */
export function usersOf(prefix: string, count: number): UserId[] {
  return Array.from({ length: count }, (_, index): UserId => `user/${prefix}${index}`)
}

/** A token for a user, good for all of a run. */
export function tokenOf(user: UserId): string {
  const now = Math.floor(Date.now() / 1000)
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const signed = `${part({ alg: 'HS256' })}.${part({ sub: user.slice('user/'.length), iat: now, exp: now + 36_000 })}`
  return `${signed}.${createHmac('sha256', tokenSecret).update(signed).digest('base64url')}`
}
