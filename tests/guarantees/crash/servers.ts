/** The servers that are killed, one after the other on the same folder and port. */
import type { Ending } from '../../cli/command.ts'
import { type ServerProcess, spawnServer } from '../server-process.ts'

export class Servers implements AsyncDisposable {
  readonly problems: string[] = []
  readonly #data: string
  readonly #port: number
  #current: ServerProcess | null = null

  constructor(data: string, port: number) {
    this.#data = data
    this.#port = port
  }

  get current(): ServerProcess {
    if (!this.#current) throw new Error('no server was started')
    return this.#current
  }

  /** Whether the present one ever listened. */
  get listened(): boolean {
    return this.current.url !== ''
  }

  spawn(): void {
    this.#current = spawnServer(this.#data, { port: this.#port })
  }

  listening(): Promise<void> {
    return this.current.listening
  }

  async start(): Promise<void> {
    this.spawn()
    await this.listening()
  }

  async kill(): Promise<void> {
    this.#note(await this.current.kill(), null)
  }

  async stop(): Promise<void> {
    this.#note(await this.current.stop(), 0)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#current?.[Symbol.asyncDispose]()
  }

  /** A server says nothing on standard error, and in its log nothing of faults. */
  #note({ code, stdout, stderr }: Ending, wanted: number | null): void {
    const faults = stdout.split('\n').filter((line) => line.includes('"level":"error"'))
    if (code === wanted && !stderr && faults.length === 0) return
    this.problems.push(`a server ended with ${code} and said ${JSON.stringify([stderr, ...faults])}`)
  }
}
