/** The engine: what the server decides, without socket, database or broker. It joins the rooms, and sessions and calls enter here. */
import type { Broker, Publication } from '../broker/broker.ts'
import { type ErrorCode, FanfareError } from '../protocol/codes.ts'
import type { UserId } from '../protocol/ids.ts'
import type { Storage } from '../storage/storage.ts'
import type { Caller } from './call.ts'
import type { Clock } from './clock.ts'
import { execute, observed, type Responder } from './commands.ts'
import type { Config } from './config.ts'
import { Fanout } from './fanout.ts'
import { Hub } from './hub.ts'
import { uuidv7 } from './ids.ts'
import { Memberships } from './memberships.ts'
import { networkOf } from './network.ts'
import type { ObservedCommand, Observer } from './observer.ts'
import { Queues } from './queues.ts'
import { Rates, tooFast } from './rates.ts'
import type { Reads } from './reads.ts'
import { Retention } from './retention.ts'
import { Session } from './session.ts'
import type { Socket } from './socket.ts'
import type { Proof, Tokens } from './tokens.ts'
import { Typing } from './typing.ts'
import { requireUnrevoked } from './user-channels.ts'

/** Who has too many commands waiting is to come back no sooner: some were done by then. */
const retryAfterCrowdMs = 1_000

/** What the engine needs from outside. All of it is required, so that nothing is left out by mistake. */
export interface Surroundings {
  readonly config: Config
  readonly clock: Clock
  readonly storage: Storage
  readonly broker: Broker
  readonly tokens: Tokens
  readonly observer: Observer
}

export class Engine {
  readonly config: Config
  readonly clock: Clock
  readonly storage: Storage
  readonly tokens: Tokens
  readonly observer: Observer
  readonly hub: Hub
  readonly typing: Typing
  readonly memberships: Memberships
  readonly fanout: Fanout
  /** Sessions that have not connected, by network. */
  readonly unconnected = new Counts<string>()
  readonly rates: Rates
  /** All that are open, those that have not connected included. */
  readonly sessions = new Set<Session>()
  readonly queues: Queues
  readonly #broker: Broker
  readonly #retention: Retention
  #draining = false
  /** Commands that are not answered yet. */
  #underWay = 0
  #whenAnswered: (() => void) | null = null

  private constructor({ config, clock, storage, broker, tokens, observer }: Surroundings) {
    this.config = config
    this.clock = clock
    this.storage = storage
    this.tokens = tokens
    this.#broker = broker
    this.observer = observer
    this.hub = new Hub(broker, observer)
    this.typing = new Typing(clock, broker, uuidv7(clock.now()), observer)
    this.queues = new Queues(config.queuesBytes)
    this.rates = new Rates(config.limits)
    this.memberships = new Memberships(storage.conversations)
    const { hub, memberships, typing } = this
    this.fanout = new Fanout({ storage, broker, clock, hub, memberships, typing, observer })
    this.#retention = new Retention(storage.events, clock, config.retentionMs, observer)
    storage.whenReplaced(() => this.#beginAnew())
  }

  /** Joins the rooms and begins to listen to the broker. */
  static async start(surroundings: Surroundings): Promise<Engine> {
    const engine = new Engine(surroundings)
    await surroundings.broker.start(
      (publication) => engine.#receive(publication),
      () => engine.fanout.look(),
    )
    return engine
  }

  /** Before a session begins, from `address`: throws `rate_limited` where too many do (L3). */
  requireRate(address: string): void {
    const waitMs = this.rates.session(networkOf(address), this.clock.now())
    if (waitMs > 0) throw tooFast('sessions', waitMs)
  }

  /**
   * Begins a session on a new connection from `address`, and from a page of `origin` where it is a browser's. The transport tells it what
   * comes, and of the connection's end. It opens none while the server drains.
   */
  open(socket: Socket, address: string, origin: string | null): Session {
    const network = networkOf(address)
    this.unconnected.add(network)
    const session = new Session(this, socket, address, origin)
    this.sessions.add(session)
    const limit = this.config.limits.unauthenticatedPerAddress
    if (limit > 0 && this.unconnected.of(network) > limit) session.close(4429)
    return session
  }

  /** Does a command that came over HTTP (W7), as who has proved with a token who he is, or as the backend. */
  call(caller: Caller, proof: Proof | null, name: string, args: unknown, responder: Responder): void {
    const now = this.clock.now()
    const pace = caller.backend || !caller.user ? null : this.rates.paceOf(caller.user, now)
    const isTyping = name === 'typing'
    const waitMs = pace ? (isTyping ? pace.typing(now) : pace.command(now)) : 0
    if (waitMs === 0) {
      const reads = proof && this.rates.readsOf(proof.user, now)
      const run = () => execute(this, caller, reads, name, args, responder)
      if (!proof || !reads?.busy) run()
      else this.#wait(reads, name, responder, () => void this.#runUnrevoked(proof, reads, name, responder, run))
      return
    }
    // Typing is merged: what was told last holds on, until it is told again or its time is over (T5).
    if (isTyping) responder.result({})
    else responder.error(tooFast('calls', waitMs))
    this.observer.answered(observed(name), isTyping ? null : 'rate_limited')
  }

  /** Does a command of a session: at once, or behind its reads, unless it has ended by then. */
  do(session: Session, reads: Reads | null, name: string, args: unknown, responder: Responder): void {
    const caller = { user: session.user, backend: false, session }
    if (!reads?.busy) {
      execute(this, caller, reads, name, args, responder)
      return
    }
    this.#wait(reads, name, responder, () => {
      if (!session.closed) execute(this, caller, reads, name, args, responder)
      this.done()
    })
  }

  /** Lets a command wait for its turn behind the caller's reads (L2). It was read, so it is answered before the server ends (S7). */
  #wait(reads: Reads, name: string, responder: Responder, run: () => void): void {
    if (reads.wait(run)) {
      this.began()
      return
    }
    responder.error(tooFast('commands', retryAfterCrowdMs))
    this.observer.answered(observed(name), 'rate_limited')
  }

  /** Does what has waited, unless its user was logged out meanwhile (U7). Until that is known it counts as a read, lest all go on at once. */
  async #runUnrevoked(proof: Proof, reads: Reads, name: string, responder: Responder, run: () => void): Promise<void> {
    reads.begin()
    try {
      await requireUnrevoked(this, proof)
      run()
    } catch (cause) {
      const error = this.toError(cause, observed(name))
      responder.error(error)
      this.observer.answered(observed(name), error.code)
    }
    reads.end()
    this.done()
  }

  /** Whether the server is about to end: no session begins any more, and no command is read (S7). */
  get draining(): boolean {
    return this.#draining
  }

  /** A command is under way. Each is answered once. */
  began(): void {
    this.#underWay++
  }

  answered(command: ObservedCommand, error: ErrorCode | null): void {
    this.observer.answered(command, error)
    this.done()
  }

  /** What began is over. */
  done(): void {
    this.#underWay--
    if (this.#underWay === 0) this.#whenAnswered?.()
  }

  /** Begins to end: reads no more commands, answers those that were read, then closes all sessions (S7). */
  async drain(): Promise<void> {
    this.#draining = true
    if (this.#underWay > 0) {
      await new Promise<void>((resolve) => {
        this.#whenAnswered = resolve
      })
    }
    this.#sendAway()
  }

  /**
   * Another database has taken the place of the one before, and what this node and its sessions know of the log is not of that one. All
   * sessions go, and come back with cursors that it refuses (R5).
   */
  #beginAnew(): void {
    this.observer.replaced(this.sessions.size)
    this.memberships.clear()
    this.fanout.beginAnew()
    this.#sendAway()
  }

  /** Closes all sessions, each with its own moment to come back, so that they do not all come at once. */
  #sendAway(): void {
    for (const session of [...this.sessions]) {
      session.close(4503, `${Math.floor(Math.random() * this.config.drainMs)}`)
    }
  }

  /** Whether there are other nodes. */
  get alone(): boolean {
    return this.#broker.alone
  }

  /**
   * Closes all sessions of the user, on every node; says how many they were on this one (M8). It goes to all nodes, for one that has just got
   * a session of his may not be heard to ask for him yet. `unavailable` where the others can't be told now.
   */
  disconnect(user: UserId): number {
    const closed = this.#disconnectHere(user)
    if (!this.#broker.connected) {
      throw new FanfareError('unavailable', `other nodes can't be told now; ${closed} sessions were closed on this one`)
    }
    if (!this.alone) this.#broker.publish({ kind: 'disconnect', user }, null)
    return closed
  }

  #disconnectHere(user: UserId): number {
    const sessions = [...this.hub.sessions(user)]
    for (const session of sessions) session.close(4403)
    return sessions.length
  }

  #receive(publication: Publication): void {
    if (publication.kind === 'entry') this.fanout.receive(publication)
    else if (publication.kind === 'typing') this.typing.receive(publication)
    else if (publication.kind === 'who_types') this.typing.answer(publication.conversation)
    else if (publication.kind === 'finished') this.typing.finish(publication)
    else this.#disconnectHere(publication.user)
  }

  /** The error that a caller gets: what is none of the contract's is a fault of ours, told to the operator and not to the caller. */
  toError(error: unknown, doing: string): FanfareError {
    if (error instanceof FanfareError) return error
    this.observer.fault(doing, error)
    return new FanfareError('internal', 'the server failed to do this; the fault is in its log')
  }

  /** Drains, then ends the broker, the storage, and typing begun over HTTP. */
  async close(): Promise<void> {
    this.#retention.stop()
    this.fanout.stop()
    await this.drain()
    await this.#broker.close()
    await this.storage.close()
    this.typing.close()
  }
}

/** How many there are of each. */
class Counts<Key> {
  readonly #counts = new Map<Key, number>()

  of(key: Key): number {
    return this.#counts.get(key) ?? 0
  }

  add(key: Key): void {
    this.#counts.set(key, this.of(key) + 1)
  }

  remove(key: Key): void {
    if (this.of(key) > 1) this.#counts.set(key, this.of(key) - 1)
    else this.#counts.delete(key)
  }
}
