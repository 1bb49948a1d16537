/** Where a scenario's servers come from: one on a database of its own, or several nodes on one PostgreSQL, with NATS between them. */
import type { Engine } from '../../../src/engine/engine.ts'
import type { SocketPair } from '../../../src/testing/socket-pair.ts'
import { startEngine, type TestEngine, type TestEngineOptions } from '../../../src/testing/start-engine.ts'

/** What a scenario asks of them, and what it may expect. A server is known by its number; there is always a 0. */
export interface Servers extends AsyncDisposable {
  readonly count: number
  /** Faults that any of them told of, which there should be none of. */
  readonly faults: readonly unknown[]
  engine(server: number): Engine
  now(server: number): number
  /** Timers that wait at a server. */
  timers(server: number): number
  /** Opens a session at a server, whose wire the scenario pumps. */
  open(server: number, onSend: (text: string) => void): SocketPair
  /** Ends one and starts it again, with a goodbye or without. */
  restart(server: number, how: 'restart' | 'crash'): Promise<void>
  /** Moves the time of all. */
  advance(ms: number): void
  /** Carries between them what they have published. Resolves with whether there was anything. */
  carry(): Promise<boolean>
  /** From now on what goes one way between a server and the others is kept back, or lost, until `mend`. */
  disturb(server: number, way: 'in' | 'out', how: 'late' | 'lost'): void
  mend(): void
  /** What is left of them in what carries between them: topics that a server still asks for. */
  readonly topics: number
}

/** Starts them, each with these options. They end with their scope. */
export type StartServers = (options: TestEngineOptions) => Promise<Servers>

/** One that is alone. */
export const oneServer: StartServers = async (options) => serversOf([await startEngine(options)])

/** Clocks of several servers are moved by so much in turn, as clocks of several machines go. */
const stepMs = 10

/** What lies between servers. */
export interface Link extends Pick<Servers, 'carry' | 'disturb' | 'mend' | 'topics'> {
  /** What those that carry have told their operators, which there should be none of. */
  readonly troubles: readonly string[]
}

/** These engines, and what lies between them. */
export function serversOf(started: readonly TestEngine[], between: Link = nothing): Servers {
  const at = (server: number) => started[server % started.length] as TestEngine
  return {
    count: started.length,
    get faults() {
      return [...started.flatMap(({ faults }) => faults), ...between.troubles]
    },
    engine: (server) => at(server).engine,
    now: (server) => at(server).clock.now(),
    timers: (server) => at(server).clock.waiting,
    open: (server, onSend) => at(server).open('127.0.0.1', onSend),
    restart: (server, how) => at(server)[how](),
    advance(ms) {
      const step = started.length > 1 ? stepMs : ms
      for (let left = ms; left > 0; left -= step) for (const { clock } of started) clock.advance(Math.min(step, left))
    },
    carry: () => between.carry(),
    disturb: (server, way, how) => between.disturb(server % started.length, way, how),
    mend: () => between.mend(),
    get topics() {
      return between.topics
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(started.map((server) => server[Symbol.asyncDispose]()))
    },
  }
}

const nothing: Link = {
  carry: async () => false,
  disturb() {},
  mend() {},
  topics: 0,
  troubles: [],
}
