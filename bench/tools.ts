/** The measuring tools in C, where `FANFARE_TOOLS` names their folder: the yardstick `floor`, and `fanout`, which measures it and the server. */
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Fanfare } from './fanfare.ts'
import { loadCore, Program, serverCore } from './program.ts'

/** Microseconds of CPU per delivery, and how long all took. */
export interface FanoutCost {
  readonly total: number
  readonly user: number
  readonly system: number
  readonly seconds: number
}

/** Messages in all, messages under way at once, and the bytes of each body. */
export interface FanoutRun {
  readonly messages: number
  readonly window: number
  readonly bytes: number
}

export class Tools {
  readonly #folder: string
  #port = 18_900

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Null where there are none, which is told. */
  static find(): Tools | null {
    const folder = process.env.FANFARE_TOOLS
    if (folder) return new Tools(folder)
    console.error(
      'bench: SKIPPED the yardstick in C: FANFARE_TOOLS names no folder with `floor` and `fanout` (bench/README.md)',
    )
    return null
  }

  /** What a delivery costs the server: one session for each token of the file, the first one's publishes. */
  async ofFanfare(server: Fanfare, conversation: string, tokensFile: string, run: FanoutRun): Promise<FanoutCost> {
    const { messages, window, bytes } = run
    return this.#fanout([server.port, server.pid, messages, window, bytes, conversation, tokensFile])
  }

  /** What it costs the yardstick, with so many sockets. */
  async ofFloor(sessions: number, run: FanoutRun): Promise<FanoutCost> {
    // It takes a given port only, and says nothing: the next one each time, for it may find the last one still in use.
    const port = this.#port++
    await using floor = new Program(join(this.#folder, 'floor'), [`${port}`], { core: serverCore })
    await listening(port)
    return await this.ofPeer({ port, pid: floor.pid }, sessions, run)
  }

  /** What it costs a server that speaks as the yardstick does. */
  async ofPeer({ port, pid }: { port: number; pid: number }, sessions: number, run: FanoutRun): Promise<FanoutCost> {
    const { messages, window, bytes } = run
    return await this.#fanout(['--floor', port, pid, messages, window, bytes, sessions])
  }

  async #fanout(args: readonly (string | number)[]): Promise<FanoutCost> {
    await using fanout = new Program(join(this.#folder, 'fanout'), args.map(String), { core: loadCore })
    const said = JSON.parse(await fanout.output()) as {
      readonly cpu_us_per_delivery: number
      readonly user_us: number
      readonly sys_us: number
      readonly seconds: number
    }
    return { total: said.cpu_us_per_delivery, user: said.user_us, system: said.sys_us, seconds: said.seconds }
  }
}

/** Resolves when somebody listens there. */
async function listening(port: number): Promise<void> {
  for (let tries = 500; tries > 0; tries--) {
    const taken = await new Promise<boolean>((resolve) => {
      const probe = createConnection({ host: '127.0.0.1', port }, () => resolve(true)).on('error', () => resolve(false))
      probe.unref().on('connect', () => probe.destroy())
    })
    if (taken) return
    await sleep(10)
  }
  throw new Error(`nobody listens on port ${port}`)
}
