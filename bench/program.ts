/** A process that is measured or that measures, on a core of its own where that can be done; it ends with its scope. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { availableParallelism } from 'node:os'

/** What is measured runs on one core and the load on another, unless the figure is about the whole machine. */
export const serverCore = 0
export const loadCore = 1

/** Whether processes can be kept on cores of their own. */
export const pinning =
  process.platform === 'linux' &&
  availableParallelism() >= 2 &&
  spawnSync('taskset', ['-c', `${serverCore},${loadCore}`, 'true']).status === 0

export interface ProgramOptions {
  /** Null lets the kernel choose. */
  readonly core: number | null
  readonly env?: Readonly<Record<string, string>>
  /** Whether it speaks with this process by messages. */
  readonly ipc?: boolean
}

export class Program implements AsyncDisposable {
  readonly process: ChildProcess
  readonly ended: Promise<unknown>

  constructor(program: string, args: readonly string[], { core, env = {}, ipc = false }: ProgramOptions) {
    const [command = '', ...rest] =
      pinning && core !== null ? ['taskset', '-c', `${core}`, program, ...args] : [program, ...args]
    this.process = spawn(command, rest, {
      env: { ...process.env, ...env },
      stdio: ipc ? ['ignore', 'pipe', 'inherit', 'ipc'] : ['ignore', 'pipe', 'inherit'],
    })
    this.ended = once(this.process, 'close')
  }

  get pid(): number {
    return this.process.pid as number
  }

  /** What the program says on standard output up to where `pattern` matches. Rejects where it ends before. */
  async says(pattern: RegExp): Promise<RegExpExecArray> {
    let said = ''
    for await (const text of this.process.stdout?.setEncoding('utf8').iterator({ destroyOnReturn: false }) ?? []) {
      said += text
      const match = pattern.exec(said)
      if (match) {
        this.process.stdout?.resume()
        return match
      }
    }
    throw new Error(`${this.process.spawnargs.join(' ')} ended and had only said ${JSON.stringify(said)}`)
  }

  /** All that it says until it ends by itself; rejects where that is a failure. */
  async output(): Promise<string> {
    let said = ''
    this.process.stdout?.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
    await this.ended
    if (this.process.exitCode !== 0) {
      throw new Error(`${this.process.spawnargs.join(' ')} ended with ${this.process.exitCode}: ${said}`)
    }
    return said
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill('SIGKILL')
    await this.ended
  }
}
