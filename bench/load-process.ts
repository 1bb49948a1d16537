/** The load generator as the figures use it: a process that does what it is asked. */
import { fileURLToPath } from 'node:url'
import type { Jobs } from './load.ts'
import { loadCore, Program } from './program.ts'

const file = fileURLToPath(new URL('./load.ts', import.meta.url))

export class Load implements AsyncDisposable {
  readonly #program: Program

  constructor(core: number | null = loadCore) {
    this.#program = new Program(process.execPath, [file], { core, ipc: true })
  }

  /** Does one job, and gives what came of it. Rejects when the load generator ended over it; it has said why on standard error. */
  async run<N extends keyof Jobs>(name: N, ...[job]: Parameters<Jobs[N]>): Promise<Awaited<ReturnType<Jobs[N]>>> {
    const { process } = this.#program
    const answer = new Promise((resolve) => {
      process.once('message', (message: { result: unknown }) => resolve(message.result))
    })
    process.send({ name, job })
    const ended = this.#program.ended.then(() => {
      throw new Error(`the load generator ended while it was to ${name}`)
    })
    return (await Promise.race([answer, ended])) as Awaited<ReturnType<Jobs[N]>>
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]()
  }
}
