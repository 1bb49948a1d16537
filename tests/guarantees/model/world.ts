/** The whole of a scenario: real engines on a real database, their clients, and the truth that they are held against. */
import { Tokens } from '../../../src/engine/tokens.ts'
import { FanfareError } from '../../../src/protocol/codes.ts'
import type { ConversationId, UserId } from '../../../src/protocol/ids.ts'
import type { SocketPair } from '../../../src/testing/socket-pair.ts'
import { Device } from './device.ts'
import { ObservedStorage } from './observed-storage.ts'
import { oneServer, type Servers, type StartServers } from './servers.ts'
import { anywhere, deviceCount, people, type Reach, type Settings } from './steps.ts'
import type { Talk } from './talk.ts'
import { Truth } from './truth.ts'
import { Witness } from './witness.ts'

/** What one server has written is told by all within this time, though nothing comes between them (R1). */
const wholeMs = 1_000
/** While they come to rest, time goes on in steps of this. */
const strideMs = 100
/** A longer wait goes on in steps of a second for so many, so that they hear of each other, and then in one. */
const watchedSeconds = 3

/** Rounds of pumping after which everything must have come to rest. */
const roundsToRest = 200

export class World implements AsyncDisposable {
  readonly truth = new Truth()
  readonly settings: Settings
  readonly devices: Device[]
  /** By the number of whom they listen to; those who read the reckoning come behind. */
  readonly listeners: (Device | undefined)[] = []
  /** Names of channels that there were. */
  readonly names: { user: UserId; name: string }[] = []
  readonly #observed: ObservedStorage
  readonly #trace: string[] = []
  readonly #violations: string[] = []
  #servers!: Servers
  /** Every wire that the server may still hold for open, with its witness. */
  #lines: { pair: SocketPair; witness: Witness }[] = []
  #canaries = 0

  private constructor(settings: Settings) {
    this.settings = settings
    this.#observed = new ObservedStorage(this.truth, (violation) => this.report(violation))
    this.devices = Array.from({ length: deviceCount }, (_, index) => {
      const user = people[index % people.length] as UserId
      const name = `${user.slice(5)}${1 + Math.floor(index / people.length)}`
      return new Device(user, name, (violation) => this.report(violation))
    })
  }

  static async open(settings: Settings, start: StartServers = oneServer): Promise<World> {
    const world = new World(settings)
    world.#servers = await start({
      queueBytes: settings.queueBytes,
      retentionMs: settings.retentionMs,
      listeners: true,
      observe: (storage) => world.#observed.observe(storage),
      tokens: (...given) => new PlainTokens(...given),
    })
    return world
  }

  get servers(): Servers {
    return this.#servers
  }

  get #isAlone(): boolean {
    return this.#servers.count === 1
  }

  /** Something is not as it should be: the scenario fails at the end of this step. */
  report(violation: string): void {
    this.#violations.push(violation)
    this.note(`!!! ${violation}`)
  }

  /** A line of what has happened, for whoever reads of a failure. */
  note(line: string): void {
    this.#trace.push(line)
  }

  /** A text that nothing else has. */
  canary(): string {
    return `~${++this.#canaries}~`
  }

  /** A message's body, which no other message has. */
  body(): string {
    return this.canary() + '.'.repeat(this.settings.bodyLength)
  }

  /** Throws what was reported, with what led to it. */
  requireNoViolation(): void {
    for (const fault of this.#servers.faults) this.#violations.push(`a fault of the server: ${String(fault)}`)
    if (this.#violations.length === 0) return
    throw new Error(
      `${this.#violations.slice(0, 3).join('\n')}\n\nwhat led to it:\n${this.#trace.slice(-80).join('\n')}`,
    )
  }

  /** Opens a wire for the device to a server, its own unless given, and says connect on it. */
  connect(device: Device, cursor: string | null, on = this.#homeOf(device), channel: string | null = null): void {
    const witness = new Witness(this.truth, {
      user: device.user,
      channel,
      since: cursor,
      now: () => this.#servers.now(on),
      known: () => ({ here: this.#wholeTo(on), everywhere: this.#wholeEverywhere() }),
      report: (violation) => this.report(`${device.name}: ${violation}`),
    })
    const pair = this.#servers.open(on, (text) => {
      if (this.#isBehind(pair)) witness.fellBehind()
      this.note(`    ${this.#isAlone ? '' : `${on % this.#servers.count} `}→ ${device.name} ${text.slice(0, 400)}`)
      witness.sent(text)
    })
    this.#lines.push({ pair, witness })
    const now = Math.floor(this.#servers.now(on) / 1000)
    const token = JSON.stringify({ user: device.user, issuedAt: now * 1000, expiresAt: (now + 3_600) * 1000 })
    device.connect({ pair, witness }, channel === null ? { token } : { channel }, cursor)
  }

  /** Whether so much waits for the peer that it is not told of typing (S6). */
  #isBehind(pair: SocketPair): boolean {
    return pair.bufferedBytes > this.settings.queueBytes / 2
  }

  /** Takes what the device has said, and what comes of it, as far as `reach` says. */
  async carry(device: Device, reach: Reach): Promise<void> {
    if (reach === 'said') return
    device.line?.pair.pumpToServer()
    if (reach === 'heard') return
    await this.settle(reach === 'read' ? [device] : [])
  }

  /** Everything that the servers were asked for is done, and these devices read what was sent meanwhile. */
  async settle(reading: readonly Device[] = []): Promise<void> {
    await this.#done()
    for (const { pair, witness } of this.#lines) if (this.#isBehind(pair)) witness.fellBehind()
    for (const device of reading) {
      device.line?.pair.pumpToPeer()
      device.read()
    }
    for (const { pair } of this.#lines) pair.endTurn()
    // Who has read all may be sent more now.
    await this.#done()
    this.#lines = this.#lines.filter(({ pair }) => !pair.ending)
    // Among others a server may have yet to hear of it.
    if (this.#isAlone) for (const { pair, witness } of this.#lines) if (pair.quiet) witness.requireAllTold()
  }

  /** Pumps all wires of devices and listeners until nothing moves any more, and all servers have told all. */
  async rest(): Promise<void> {
    this.#servers.mend()
    for (let waitedMs = 0; ; waitedMs += strideMs) {
      if (!(await this.#comesToRest())) return this.report('the engine does not come to rest')
      const isWhole = this.#wholeEverywhere() >= this.truth.log.position
      const quiet = this.#lines.filter(({ pair }) => pair.quiet)
      if (this.#isAlone || (isWhole && quiet.every(({ witness }) => witness.lacking === null))) return
      if (waitedMs >= wholeMs) {
        if (!isWhole) this.report('R1 a server has not heard of the whole log')
        for (const { witness } of quiet) witness.requireAllTold()
        return
      }
      this.#servers.advance(strideMs)
    }
  }

  /** Time goes on, and what comes of it is done. */
  async wait(ms: number): Promise<void> {
    if (this.#isAlone) {
      this.#servers.advance(ms)
      return this.settle()
    }
    let left = ms
    for (let seconds = 0; left >= 1_000 && seconds < watchedSeconds; seconds++) {
      const before = this.truth.log.position
      this.#servers.advance(1_000)
      left -= 1_000
      await this.settle()
      if (this.#wholeEverywhere() < before) this.report('R1 a server has not heard of the log for a second')
      this.#servers.mend()
    }
    this.#servers.advance(left)
    return this.settle()
  }

  async #comesToRest(): Promise<boolean> {
    const everybody = [...this.devices, ...this.listeners].filter((device) => device !== undefined)
    for (let round = 0; round < roundsToRest; round++) {
      const moving = everybody.filter((device) => device.line && !device.line.pair.quiet)
      for (const device of moving) device.line?.pair.pumpToServer()
      await this.settle(moving)
      if (moving.length === 0) return true
    }
    return false
  }

  async #done(): Promise<void> {
    do await this.#observed.settled()
    while (await this.#servers.carry())
  }

  /** How far the server says that it has heard of the log; all of it, where it is alone. */
  #wholeTo(server: number): number {
    return this.#isAlone ? Number.POSITIVE_INFINITY : this.#servers.engine(server).fanout.position
  }

  #wholeEverywhere(): number {
    return Math.min(...Array.from({ length: this.#servers.count }, (_, server) => this.#wholeTo(server)))
  }

  #homeOf(device: Device): number {
    const index = this.devices.indexOf(device)
    return index < 0 ? this.listeners.indexOf(device) : index
  }

  /** Cuts every wire, those too that nobody reads any more. */
  async cutAll(): Promise<void> {
    for (const { pair } of this.#lines) pair.cut()
    for (const device of this.devices) device.read()
    for (const device of this.listeners) device?.read()
    await this.settle()
  }

  async restart(server: number, how: 'restart' | 'crash'): Promise<void> {
    await this.#servers.restart(server, how)
    const left = this.#servers.timers(server) - this.idleTimers
    if (how === 'restart' && left !== 0) this.report(`${left} timers outlive the engine`)
    for (const device of this.devices) device.read()
    for (const device of this.listeners) device?.read()
    await this.settle()
  }

  /** Timers of a server with nobody on it: one looks after the log, and among others one looks for what they have written. */
  get idleTimers(): number {
    return this.#isAlone ? 1 : 2
  }

  /** The conversation at a step's `place`, seen from the user's side; null where there is none. */
  talkAt(user: UserId, place: number): Talk | null {
    const all = [...this.truth.talks.values()]
    const own = all.filter((talk) => talk.stay(user))
    const among = place < anywhere && own.length > 0 ? own : all
    return among[place % among.length] ?? null
  }

  idAt(user: UserId, place: number): ConversationId {
    return this.talkAt(user, place)?.id ?? 'conversation/019b7600-0000-7000-8000-000000000000'
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#servers[Symbol.asyncDispose]()
  }
}

/**
 * Tokens that are what they say. Real ones are checked on another thread, in its own time, and then the same scenario would not always
 * be the same; how they are checked is tested elsewhere.
 */
class PlainTokens extends Tokens {
  override async verify(token: string) {
    const proof = JSON.parse(token) as Awaited<ReturnType<Tokens['verify']>>
    if (proof.user) return proof
    throw new FanfareError('unauthorized', 'a plain token names its user')
  }
}
