/** What Fanfare's cost per delivery is held against, each in a process of its own. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { DialectName } from './load/dialects.ts'
import { Program, serverCore } from './program.ts'

export type PeerName = 'bare' | 'ws' | 'Socket.IO'

const files: Readonly<Record<PeerName, string>> = {
  bare: './peers/bare.ts',
  ws: './peers/ws.ts',
  'Socket.IO': './peers/socket-io.ts',
}

export class Peer implements AsyncDisposable {
  readonly port: number
  readonly dialect: DialectName
  readonly #program: Program

  private constructor(program: Program, port: number, dialect: DialectName) {
    this.#program = program
    this.port = port
    this.dialect = dialect
  }

  static async start(name: PeerName): Promise<Peer> {
    const file = fileURLToPath(new URL(files[name], import.meta.url))
    const program = new Program(process.execPath, [file], { core: serverCore })
    const [, port] = await program.says(/listening on (\d+)/)
    return new Peer(program, Number(port), name === 'Socket.IO' ? 'socket.io' : 'floor')
  }

  get pid(): number {
    return this.#program.pid
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]()
  }
}

/** The version of an installed package; null where it is not installed. */
export function versionOf(name: string): string | null {
  try {
    const file = new URL(`../node_modules/${name}/package.json`, import.meta.url)
    return (JSON.parse(readFileSync(file, 'utf8')) as { version: string }).version
  } catch {
    return null
  }
}

/** The peers that are there. One that is not is told of, loudly, for the results lack it. */
export function presentPeers(): PeerName[] {
  if (versionOf('socket.io')) return ['bare', 'ws', 'Socket.IO']
  console.error('bench: SKIPPED Socket.IO, which is not installed: `npm install` brings it')
  return ['bare', 'ws']
}
