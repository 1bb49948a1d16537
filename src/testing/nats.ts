/**
 * NATS servers for tests: real ones, on free ports. The program is the one that FANFARE_NATS_BIN names, else the one in PATH, else
 * Debian's.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'vitest'

const howToInstall = 'on Debian: apt-get install nats-server'
const program = findProgram()
let skipped = 0

/** A test that needs a NATS server. Where there is none it is skipped, and says so; where `CI` is set it fails. */
export const natsTest: (title: string, run: () => Promise<void>, timeoutMs?: number) => void =
  program || process.env.CI ? test : skip

function skip(title: string, run: () => Promise<void>): void {
  if (skipped++ === 0) process.stderr.write(`NO NATS SERVER, so tests are skipped; install it (${howToInstall}):\n`)
  process.stderr.write(`  SKIPPED ${title}\n`)
  test.skip(title, run)
}

function findProgram(): string | undefined {
  const named = process.env.FANFARE_NATS_BIN
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']
  return (named ? [named] : folders.map((folder) => join(folder, 'nats-server'))).find((file) => {
    try {
      accessSync(file, constants.X_OK)
      return true
    } catch {
      return false
    }
  })
}

/** What a server has taken and given since it started. */
export interface NatsTraffic {
  readonly in_msgs: number
  readonly out_msgs: number
  readonly in_bytes: number
  readonly out_bytes: number
  /** Clients that were cut off since they read too slowly. */
  readonly slow_consumers: number
  /** Connections of clients. */
  readonly connections: number
  readonly subscriptions: number
}

export class NatsServer implements AsyncDisposable {
  readonly #folder: string
  #process: ChildProcess | null = null
  #port: number
  #monitorPort = 0

  constructor(folder: string, port: number) {
    this.#folder = folder
    this.#port = port
  }

  /** Where it listens, also while it is stopped. */
  get port(): number {
    return this.#port
  }

  get url(): string {
    return `nats://127.0.0.1:${this.#port}`
  }

  /** Starts it, on the port that it had before if there was one, with an empty memory. */
  async start(): Promise<void> {
    if (!program) throw new Error(`there is no nats-server; install it (${howToInstall})`)
    const address = ['--addr', '127.0.0.1', '--port', String(this.#port), '--http_port', '-1']
    const child = spawn(program, [...address, '--config', join(this.#folder, 'nats.conf')], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    this.#process = child
    const said: string[] = []
    const ready = new Promise<void>((resolve, reject) => {
      child.once('error', reject)
      child.once('close', () => reject(new Error(`nats-server ended: ${said.join('\n')}`)))
      createInterface(child.stderr).on('line', (line) => {
        said.push(line)
        const [, what, port] = /(client connections|http monitor) on \S+:(\d+)/.exec(line) ?? []
        if (what === 'client connections') this.#port = Number(port)
        if (what === 'http monitor') this.#monitorPort = Number(port)
        if (line.endsWith('Server is ready')) resolve()
      })
    })
    await ready
  }

  /** Kills it: what it holds is lost, and connections are refused. */
  async stop(): Promise<void> {
    const child = this.#process
    this.#process = null
    if (!child || child.exitCode !== null) return
    const ended = once(child, 'close')
    child.kill('SIGKILL')
    await ended
  }

  /** Lets it do nothing, while its connections stay open, until `goOn`. When this returns it has stopped. */
  pause(): void {
    const child = this.#process
    child?.kill('SIGSTOP')
    // Its threads stop one after the other, and one that still runs may greet who comes just then.
    while (child?.pid !== undefined && isRunning(child.pid));
  }

  goOn(): void {
    this.#process?.kill('SIGCONT')
  }

  async traffic(): Promise<NatsTraffic> {
    return (await (await fetch(`http://127.0.0.1:${this.#monitorPort}/varz`)).json()) as NatsTraffic
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await rm(this.#folder, { recursive: true, force: true })
  }
}

/** Whether a thread of it still runs; false where the system doesn't tell. */
function isRunning(pid: number): boolean {
  try {
    const threads = readdirSync(`/proc/${pid}/task`)
    return threads.some(
      (thread) => !/^State:\s+[TZX]/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, 'utf8')),
    )
  } catch {
    return false
  }
}

/** Starts a server that ends with its scope: `await using nats = await startNats()`. `config` is the text of its configuration file. */
export async function startNats({
  config = '',
  port = -1,
}: {
  config?: string
  port?: number
} = {}): Promise<NatsServer> {
  const folder = await mkdtemp(join(tmpdir(), 'fanfare-nats-'))
  await writeFile(join(folder, 'nats.conf'), config)
  const server = new NatsServer(folder, port)
  await server.start()
  return server
}
