/** An engine without doors for one test: a real database in a temporary folder, a clock in the test's hand, an end of its own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { LocalBroker } from '../broker/local.ts'
import { type Config, defaultConfig, type Limits } from '../engine/config.ts'
import { Engine } from '../engine/engine.ts'
import { Tokens } from '../engine/tokens.ts'
import type { UserId } from '../protocol/ids.ts'
import { openSqlite } from '../storage/sqlite.ts'
import { FakeClock } from './clock.ts'
import { SocketPair } from './socket-pair.ts'

export interface TestEngine extends AsyncDisposable {
  readonly engine: Engine
  readonly clock: FakeClock
  /** Faults that the engine told of, which there should be none of. */
  readonly faults: readonly unknown[]
  /** Opens a session whose wire the test pumps. */
  open(address?: string): SocketPair
  token(user: UserId): Promise<string>
}

/** Starts an engine that ends with its scope: `await using started = await startEngine()`. */
export async function startEngine(
  options: Partial<Omit<Config, 'limits'>> & { limits?: Partial<Limits> } = {},
): Promise<TestEngine> {
  const { limits, ...others } = options
  const config = { ...defaultConfig, ...others, limits: { ...defaultConfig.limits, ...limits } }
  const folder = await mkdtemp(join(tmpdir(), 'fanfare-'))
  const clock = new FakeClock()
  const faults: unknown[] = []
  const onFault = (_doing: string, error: unknown) => void faults.push(error)
  const secret = 'token-secret-of-a-test-32-bytes-long'
  const trust = { secret, jwksUrl: null, issuer: null, audiences: [] }
  const engine = await Engine.start({
    config,
    clock,
    storage: await openSqlite(join(folder, 'fanfare.db'), {
      maxParticipants: config.limits.participants,
      maxConversationsPerUser: config.limits.conversationsPerUser,
    }),
    broker: new LocalBroker(),
    tokens: new Tokens(trust, clock, onFault),
    onFault,
  })
  return {
    engine,
    clock,
    faults,
    open(address = '127.0.0.1') {
      const pair = new SocketPair()
      pair.begin(engine.open(pair, address))
      return pair
    },
    async token(user) {
      return (await engine.tokens.create(user, 3_600)).token
    },
    async [Symbol.asyncDispose]() {
      await engine.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
