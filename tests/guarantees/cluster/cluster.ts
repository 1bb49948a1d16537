/** Several nodes as an operator runs them: servers that are processes of their own, on one real PostgreSQL, with a real NATS between them. */
import type { Args, CommandName, Result } from '../../../src/protocol/commands.ts'
import type { UserId } from '../../../src/protocol/ids.ts'
import { type NatsServer, startNats } from '../../../src/testing/nats.ts'
import { findPostgres, type PostgresServer, startPostgres } from '../../../src/testing/postgres.ts'
import type { Reached } from '../../../src/testing/raw-session.ts'
import { startProxy, type TcpProxy } from '../../../src/testing/tcp-proxy.ts'
import { temporaryFolder } from '../../cli/temporary-folder.ts'
import { freePort } from '../free-port.ts'
import { type ServerProcess, spawnServer, tokenFor } from '../server-process.ts'

/** One of them, with its own place: it comes back there after it was killed. */
export class ClusterNode implements Reached, AsyncDisposable {
  /** Its way to NATS. */
  readonly line: TcpProxy
  readonly url: string
  readonly #spawn: () => ServerProcess
  #server: ServerProcess | null = null
  /** What the processes that were killed complained of, and how much of all was looked at. */
  #complaints: string[] = []
  #seen = 0

  constructor(port: number, line: TcpProxy, spawn: () => ServerProcess) {
    this.url = `http://127.0.0.1:${port}`
    this.line = line
    this.#spawn = spawn
  }

  get server(): ServerProcess {
    if (!this.#server) throw new Error('the node was not started')
    return this.#server
  }

  get socketUrl(): string {
    return `${this.url.replace(/^http/, 'ws')}/v2/socket`
  }

  token(user: string): Promise<string> {
    return tokenFor(`user/${user}`)
  }

  /** Does a command over HTTP as `user`, which must succeed. */
  must<N extends CommandName>(user: UserId, command: N, args: Args<N>): Promise<Result<N>> {
    return this.server.must(user, command, args)
  }

  /** What its operator had to look at since this was asked last. */
  complaints(): string[] {
    const all = [...this.#complaints, ...(this.#server?.complaints ?? [])]
    const unseen = all.slice(this.#seen)
    this.#seen = all.length
    return unseen
  }

  /** Resolves when it listens. */
  async start(): Promise<void> {
    this.#complaints.push(...(this.#server?.complaints ?? []))
    this.#server = this.#spawn()
    await this.#server.listening
  }

  async kill(): Promise<void> {
    await this.server.kill()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server?.[Symbol.asyncDispose]()
    await this.line[Symbol.asyncDispose]()
  }
}

export interface Cluster extends AsyncDisposable {
  readonly nodes: readonly ClusterNode[]
  readonly postgres: PostgresServer
  readonly nats: NatsServer
}

/** Starts `count` nodes, with all that they share. Everything ends with its scope. */
export async function startCluster(count: number): Promise<Cluster> {
  const programs = findPostgres()
  if (!programs) throw new Error('PostgreSQL is not installed')
  await using stack = new AsyncDisposableStack()
  const folder = stack.use(temporaryFolder())
  const postgres = stack.use(await startPostgres(programs))
  const nats = stack.use(await startNats({ port: await freePort() }))
  const { url: databaseUrl } = await postgres.database()
  const nodes: ClusterNode[] = []
  for (let index = 0; index < count; index++) {
    const line = await startProxy({ port: nats.port })
    const port = await freePort()
    const args = ['--listeners', '--database-url', databaseUrl, '--broker-url', `nats://127.0.0.1:${line.port}`]
    nodes.push(stack.use(new ClusterNode(port, line, () => spawnServer(folder.in('none'), { port, args }))))
  }
  await Promise.all(nodes.map((node) => node.start()))
  const all = stack.move()
  return { nodes, postgres, nats, [Symbol.asyncDispose]: () => all.disposeAsync() }
}
