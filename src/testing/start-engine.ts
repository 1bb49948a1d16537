/** An engine without doors for one test: a real database in a temporary folder, a clock in the test's hand, an end of its own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Broker } from '../broker/broker.ts'
import { LocalBroker } from '../broker/local.ts'
import type { Clock } from '../engine/clock.ts'
import { type Config, defaultConfig, defaultLimits, type Limits } from '../engine/config.ts'
import { Engine } from '../engine/engine.ts'
import type { Observer } from '../engine/observer.ts'
import { Tokens, type TokenTrust } from '../engine/tokens.ts'
import type { UserId } from '../protocol/ids.ts'
import { openSqlite } from '../storage/sqlite.ts'
import type { Storage, StorageLimits, StorageObserver } from '../storage/storage.ts'
import { FakeClock } from './clock.ts'
import { noRates } from './no-rates.ts'
import { SocketPair } from './socket-pair.ts'

export interface TestEngineOptions extends Partial<Omit<Config, 'limits'>> {
  readonly limits?: Partial<Limits>
  /** Opens the storage at each start; a database of the embedded kind unless given. */
  readonly openStorage?: (limits: StorageLimits, observer: StorageObserver) => Promise<Storage>
  /** Makes the broker at each start; the engine is alone unless given. */
  readonly openBroker?: () => Broker
  /** Stands before the storage at each start. */
  readonly observe?: (storage: Storage) => Storage
  readonly tokens?: (trust: TokenTrust, clock: Clock, onFault: (doing: string, error: unknown) => void) => Tokens
}

export interface TestEngine extends AsyncDisposable {
  /** The one that runs now. */
  readonly engine: Engine
  readonly clock: FakeClock
  /** Faults that the engine told of, which there should be none of. */
  readonly faults: readonly unknown[]
  /** Opens a session whose wire the test pumps. */
  open(address?: string, onSend?: (text: string) => void): SocketPair
  token(user: UserId): Promise<string>
  /** Ends the engine as SIGTERM would, and starts another on the same database. */
  restart(): Promise<void>
  /**
   * The same without an end: all wires break at once, and nothing of the old engine is left but what was asked of its storage. Its timers
   * are gone with it: `clock` is another one, of the same time.
   */
  crash(): Promise<void>
}

export const unobserved: Observer = {
  sessionConnected() {},
  sessionEnded() {},
  answered() {},
  refused() {},
  pushed() {},
  replaced() {},
  fault() {},
}

const trust = { secret: 'token-secret-of-a-test-32-bytes-long', jwksUrl: null, issuer: null, audiences: [] }

/** Starts an engine that ends with its scope: `await using started = await startEngine()`. */
export async function startEngine(options: TestEngineOptions = {}): Promise<TestEngine> {
  const folder = await mkdtemp(join(tmpdir(), 'fanfare-'))
  const {
    limits,
    openStorage = (...given) => openSqlite(join(folder, 'fanfare.db'), ...given),
    openBroker = () => new LocalBroker(),
    observe = (storage) => storage,
    tokens = (...given) => new Tokens(...given),
    ...others
  } = options
  const config = { ...defaultConfig, ...others, limits: { ...defaultLimits, ...noRates, ...limits } }
  const faults: unknown[] = []
  let clock = new FakeClock()
  let pairs: SocketPair[] = []
  let broker: Broker
  const storageLimits = {
    maxParticipants: config.limits.participants,
    maxConversationsPerUser: config.limits.conversationsPerUser,
  }
  // What a crashed engine still meets is nobody's fault.
  let life = {}
  const start = async () => {
    const own = life
    const faulty = (fault: unknown) => own === life && faults.push(fault)
    const storage = await openStorage(storageLimits, {
      committed() {},
      failed: (_operations, reason) => faulty(reason),
    })
    broker = openBroker()
    return Engine.start({
      config,
      clock,
      storage: observe(storage),
      broker,
      tokens: tokens(trust, clock, (_doing, error) => faulty(error)),
      observer: { ...unobserved, fault: (_doing, error) => faulty(error) },
    })
  }
  let engine = await start()
  return {
    get engine() {
      return engine
    },
    get clock() {
      return clock
    },
    faults,
    open(address = '127.0.0.1', onSend) {
      const pair = new SocketPair(onSend)
      pairs.push(pair)
      pair.begin(engine.open(pair, address, null))
      return pair
    },
    async token(user) {
      return (await engine.tokens.create(user, 3_600)).token
    },
    async restart() {
      await engine.close()
      engine = await start()
    },
    async crash() {
      for (const pair of pairs) pair.crash()
      pairs = []
      life = {}
      await broker.close()
      // The thread of the storage can't be killed, so what it was asked for before the crash is committed, and answered to nobody.
      await engine.storage.close()
      clock = new FakeClock(clock.now())
      engine = await start()
    },
    async [Symbol.asyncDispose]() {
      await engine.close()
      await rm(folder, { recursive: true, force: true })
    },
  }
}
