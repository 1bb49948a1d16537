/** A session: one connection as the server sees it, from its `connect` to its end (S). */
import { type CloseCode, closeCodes, FanfareError } from '../protocol/codes.ts'
import type { ConnectResult } from '../protocol/commands.ts'
import { type CommandFrame, decodeCommand, encodeReply, type Frame } from '../protocol/frames.ts'
import type { ConversationId, SessionId, UserId } from '../protocol/ids.ts'
import { typingExpiryMs, typingIntervalMs } from '../protocol/typing.ts'
import type { Admitted, LogPlace, Missed } from '../storage/storage.ts'
import { parseArgs } from './arguments.ts'
import { CatchUp } from './catch-up.ts'
import { commands, observed, type Responder } from './commands.ts'
import { decodeCursor } from './cursor.ts'
import type { Engine } from './engine.ts'
import { uuidv7 } from './ids.ts'
import { networkOf } from './network.ts'
import { type Pace, tooFast } from './rates.ts'
import type { Reads } from './reads.ts'
import type { Socket } from './socket.ts'
import { type Admission, admissionOf, askAdmission, claimOf, Refusal } from './user-channels.ts'

/** Who has not connected by then is closed: with 4401, or with 4503 where he waits for what the server does not know (S1). */
const connectTimeoutMs = 10_000
/** The server pings this often (S5). */
export const pingIntervalMs = 25_000
/** A session for which the server could not read something comes back after this long. */
const retryAfterFaultMs = 1_000
/** Who has too many sessions is to come back no sooner: one may have ended by then. */
const retryAfterCrowdMs = 10_000
/** A reply of so many characters is long: a page of history. */
const longReply = 65_536
/** Commands that may wait for the reply to `connect`. */
const earlyCommands = 100

type State = 'new' | 'connecting' | 'connected' | 'closed'

export class Session {
  readonly id: SessionId
  /** The conversations whose typing it watches, and those in which it holds a lease: `Typing` keeps them. */
  readonly watching = new Set<ConversationId>()
  readonly typingIn = new Set<ConversationId>()
  /** When the channel that it is at was last rotated (milliseconds). */
  rotatedAt = 0
  /** How many events it was sent: what was read for it before may lack them. */
  told = 0
  /**
   * How often it was told that something is gone: that its user is out of a conversation, or that a message was deleted. What was read for
   * it before is not to be told behind that (E4, E5).
   */
  withdrawn = 0
  /** The peer's address, by which sessions that have not connected are counted. */
  readonly address: string
  /** The page's that it came from; null where it is no browser's. */
  readonly origin: string | null
  /** How fast its commands may come (L3); null where there is no limit. */
  readonly pace: Pace | null
  /** Its reads that are under way (L2); null where they have no limit. */
  readonly #reads: Reads | null
  readonly #engine: Engine
  readonly #socket: Socket
  readonly #beganAt: number
  #state: State = 'new'
  #user: UserId | null = null
  #listener = false
  #early: CommandFrame[] = []
  /** Null once nothing is missing. */
  #catchUp: CatchUp | null = null
  /** What it missed was read from the log up to here; what is published late may stand before it. */
  #caughtUpTo = 0
  #behind = false
  /** Bytes of what it missed that the peer has not taken yet. */
  #missedBytes = 0
  /** Bytes of a long reply that it has not taken yet. */
  #longReplyBytes = 0
  #cancelTimer: () => void
  #tokensGiven = 0
  #tokenInForce = 0
  #expiresAt = 0

  /** Made by `Engine.open` for each connection. */
  constructor(engine: Engine, socket: Socket, address: string, origin: string | null) {
    this.#engine = engine
    this.#socket = socket
    this.address = address
    this.origin = origin
    this.#beganAt = engine.clock.now()
    this.id = `session/${uuidv7(this.#beganAt)}`
    this.pace = engine.rates.newPace()
    this.#reads = engine.rates.newReads()
    this.#cancelTimer = engine.clock.after(connectTimeoutMs, () => this.#endUnconnected())
  }

  /** Whose session it is; null until it has connected. */
  get user(): UserId | null {
    return this.#user
  }

  /** Whether it only receives (U4). */
  get listener(): boolean {
    return this.#listener
  }

  get closed(): boolean {
    return this.#state === 'closed'
  }

  /** Everything at or before this place in the log was sent to this session. */
  get position(): number {
    return this.#catchUp?.position ?? this.#engine.fanout.position
  }

  /** The same as a client is told it (R1). */
  get cursor(): string {
    return this.#engine.fanout.cursorAt(this.position)
  }

  /** A text frame came. It never throws: a frame that is no command costs the session, a bad command one reply (W1, W3). */
  receive(text: string): void {
    if (this.closed || this.#engine.draining) return
    const frame = decodeCommand(text)
    if (typeof frame === 'string') this.close(4400)
    else if (this.#isInTime(frame)) this.#take(frame)
  }

  /** A binary frame came, which is never a command (W1). */
  receiveBinary(): void {
    this.close(4400)
  }

  /** Sends a record event, which stands at `position` in the log. */
  push(frame: Frame, position: number): void {
    if (this.#catchUp) {
      this.#catchUp.passBy(position)
    } else if (position > this.#caughtUpTo) {
      this.told++
      this.#socket.send(frame)
    }
  }

  /** It is told that something is gone. */
  withdraw(): void {
    this.withdrawn++
  }

  /** Sends some of what it missed, which counts against no limit of what may wait (S6). Resolves when the peer has taken it. */
  sendMissed(frames: readonly Frame[]): Promise<void> {
    const before = this.#socket.bufferedBytes
    this.told += frames.length
    for (const frame of frames) this.#socket.send(frame)
    const bytes = this.#socket.bufferedBytes - before
    this.#missedBytes += bytes
    return new Promise((resolve) =>
      this.#socket.whenDrained(() => {
        this.#missedBytes -= bytes
        resolve()
      }),
    )
  }

  /** Sends who is typing, unless the peer is so far behind that it has better things to read (S6). */
  pushTyping(frame: Frame): void {
    if (this.#socket.bufferedBytes <= this.#engine.config.queueBytes / 2) this.#socket.send(frame)
  }

  /**
   * The transport tells that after a write something still waits for the peer. It may wait up to a limit, its own and that of all together;
   * then the session ends, and the peer comes back for what it missed (S6).
   */
  fellBehind(): void {
    if (this.closed) return
    const bytes = Math.max(0, this.#socket.bufferedBytes - this.#missedBytes)
    this.#engine.queues.note(this, bytes)
    if (bytes - this.#longReplyBytes > this.#engine.config.queueBytes) this.close(4409)
    if (this.closed || this.#behind) return
    this.#behind = true
    this.#socket.whenDrained(() => {
      this.#behind = false
      if (this.closed) return
      if (this.#socket.bufferedBytes > 0) this.fellBehind()
      else this.#engine.queues.note(this, 0)
    })
  }

  /** A token was given, which is yet to be checked. Gives its number: of several that are good the one given last counts (S4). */
  tokenGiven(): number {
    return ++this.#tokensGiven
  }

  /**
   * That token is good until `at` (milliseconds); the session is closed with 4401 then, unless it is given another (S4). Gives the end
   * that now holds: a later token's, where the check of this one took longer.
   */
  expireAt(at: number, token = this.tokenGiven()): number {
    if (this.#state === 'closed' || token < this.#tokenInForce) return this.#expiresAt
    const { clock } = this.#engine
    this.#tokenInForce = token
    this.#expiresAt = at
    this.#cancelTimer()
    this.#cancelTimer = clock.after(at - clock.now(), () => this.close(4401))
    return at
  }

  /** Ends the session; the peer reads the code, and what there is to say besides. Calling it again does nothing. */
  close(code: CloseCode, detail = ''): void {
    if (this.#state === 'closed') return
    this.ended(code)
    const { reason } = closeCodes[code]
    this.#socket.close(code, detail ? `${reason} ${detail}` : reason)
  }

  /** The connection has ended, with this code of the peer's: nothing is left of the session in any other room. Calling it again does nothing. */
  ended(code: number): void {
    if (this.#state === 'closed') return
    const connected = this.#state === 'connected'
    this.#state = 'closed'
    this.#early = []
    this.#cancelTimer()
    this.#engine.sessions.delete(this)
    this.#engine.queues.note(this, 0)
    if (connected) {
      this.#engine.hub.detach(this.#user as UserId, this)
      this.#engine.typing.forget(this)
    } else {
      this.#engine.unconnected.remove(networkOf(this.address))
    }
    this.#engine.observer.sessionEnded(this, code, this.#engine.clock.now() - this.#beganAt)
  }

  /** Whether the command comes no faster than it may. Else it is refused, or merged where it is typing (L3). */
  #isInTime(frame: CommandFrame): boolean {
    const { pace } = this
    if (!pace) return true
    const now = this.#engine.clock.now()
    const isTyping = frame.command === 'typing'
    const waitMs = isTyping ? pace.typing(now) : pace.command(now)
    if (waitMs === 0) return true
    if (isTyping) this.#mergeTyping(frame)
    else this.#responder(frame).error(tooFast('commands', waitMs))
    this.#engine.observer.answered(observed(frame.command), isTyping ? null : 'rate_limited')
    if (pace.excessive) this.close(4429)
    return false
  }

  /** What was told last holds on; but who has finished has, lest he seem to type for some seconds more (T5). */
  #mergeTyping(frame: CommandFrame): void {
    const { args } = frame
    const conversation = args?.conversation as ConversationId
    if (args?.event === 'finished') {
      const finish = () => {
        if (this.typingIn.has(conversation)) {
          this.#engine.typing.set(conversation, this.#user as UserId, 'finished', this)
        }
      }
      // That he begins may be among what waits.
      if (this.#reads?.busy) this.#reads.wait(finish)
      else finish()
    }
    this.#responder(frame).result({})
  }

  #take(frame: CommandFrame): void {
    const { command, args = {} } = frame
    if (this.#state === 'connected') {
      this.#engine.do(this, this.#reads, command, args, this.#responder(frame))
    } else if (this.#state === 'connecting') {
      if (this.#early.push(frame) > earlyCommands) this.close(4429)
    } else if (this.#state === 'new' && command === 'connect') {
      // What came behind it was read too, and is answered before the server ends (S7).
      this.#engine.began()
      void this.#connect(frame).finally(() => this.#engine.done())
    } else if (this.#state === 'new') {
      this.#responder(frame).error(new FanfareError('unauthorized', 'connect first'))
      this.close(4401)
    }
  }

  /** A command without an id is not answered (W2). */
  #responder({ id, command }: CommandFrame): Responder {
    return {
      result: (result) => {
        // Who has gone needs no page of history made into a frame.
        if (id !== undefined && !this.closed) this.#reply(encodeReply({ id, result }))
      },
      error: (error) => {
        const { user, address, origin } = this
        const { code } = error
        this.#engine.observer.refused({ where: 'session', command: observed(command), code, user, address, origin })
        if (id !== undefined) this.#socket.send(encodeReply({ id, error: error.toJSON() }))
      },
    }
  }

  /**
   * Sends a reply. One that is long counts against what may wait for all sessions, and not for this one: else a page of history would end
   * it on a slow link, whenever it is asked for. Where a second one comes before it was taken, that counts (S6).
   */
  #reply(frame: Frame): void {
    const before = this.#socket.bufferedBytes
    this.#socket.send(frame)
    if (frame.text.length < longReply || this.#longReplyBytes > 0) return
    this.#longReplyBytes = this.#socket.bufferedBytes - before
    this.#socket.whenDrained(() => {
      this.#longReplyBytes = 0
    })
  }

  async #connect(frame: CommandFrame): Promise<void> {
    const { args = {} } = frame
    const responder = this.#responder(frame)
    const rotated = this.#engine.fanout.beginNoting()
    this.#state = 'connecting'
    try {
      const { cursor, ...proof } = parseArgs(commands.connect.args, args)
      const since = cursor === undefined ? null : decodeCursor(cursor)
      const claim = await claimOf(this.#engine, proof)
      if (this.closed) return
      let admitted: Admitted | null
      do {
        // Where other nodes write too, a rotation may come here before an answer that knows nothing of it: then it is asked again.
        rotated.clear()
        admitted = await askAdmission(this.#engine, claim, since)
        if (this.closed) return
      } while (admitted && rotated.has(admitted.userChannel.user))
      // From here on in the turn of storage's answer: what was committed before it is in what was missed, or the cursor covers it; what
      // comes after it is pushed; and a rotation that comes after it finds the session.
      const admission = admissionOf(this.#engine, claim, admitted)
      this.#requireRoom(admission)
      this.#begin(admission, since, responder)
      const { missed } = admission
      this.#engine.observer.answered('connect', null)
      this.#engine.observer.sessionConnected(this, cursor === undefined ? null : missed ? sizeOf(missed) : 'reset')
    } catch (error) {
      if (this.closed) return
      const refusal = this.#engine.toError(error, 'connect')
      this.#engine.observer.answered('connect', refusal.code)
      responder.error(refusal)
      if (error instanceof Refusal) return this.close(error.closeCode, error.closeDetail)
      this.#state = 'new'
    } finally {
      this.#engine.fanout.endNoting(rotated)
    }
    const early = this.#early
    this.#early = []
    for (const frame of early) this.#take(frame)
  }

  /** His token may well be good where nobody has said by now who he is. */
  #endUnconnected(): void {
    if (this.#state === 'new') this.close(4401)
    else this.close(4503, `${retryAfterFaultMs}`)
  }

  #begin(admission: Admission, since: LogPlace | null, responder: Responder): void {
    const { user, missed } = admission
    this.#attach(admission)
    if (since && missed) this.#catchUp = new CatchUp(this.#engine, this, user, since)
    responder.result(this.#greeting(admission))
    if (!this.#catchUp || !missed) return
    const done = (position: number) => {
      this.#caughtUpTo = position
      this.#catchUp = null
    }
    this.#catchUp.run(missed, done).catch((error: unknown) => {
      if (this.closed) return
      this.#engine.toError(error, 'resuming')
      this.close(4503, `${retryAfterFaultMs}`)
    })
  }

  #attach({ user, listener, expiresAt, rotatedAt }: Admission): void {
    this.#engine.unconnected.remove(networkOf(this.address))
    this.#state = 'connected'
    this.#user = user
    this.#listener = listener
    this.rotatedAt = rotatedAt
    this.#engine.hub.attach(user, this)
    if (expiresAt === null) this.#cancelTimer()
    else this.expireAt(expiresAt)
  }

  #greeting({ user, expiresAt }: Admission): ConnectResult {
    return {
      user,
      session: this.id,
      cursor: this.cursor,
      resumed: this.#catchUp !== null,
      expires_at: expiresAt === null ? null : new Date(expiresAt).toISOString(),
      settings: {
        typing_interval_ms: typingIntervalMs,
        typing_expiry_ms: typingExpiryMs,
        ping_interval_ms: pingIntervalMs,
        max_frame_bytes: this.#engine.config.limits.frameBytes,
      },
    }
  }

  #requireRoom({ user, listener }: Admission): void {
    const { limits } = this.#engine.config
    const limit = listener ? limits.listenersPerUser : limits.sessionsPerUser
    const same = this.#engine.hub.sessions(user).filter((session) => session.listener === listener)
    if (limit > 0 && same.length >= limit) {
      const what = listener ? 'listeners' : 'sessions'
      const details = { retry_after_ms: retryAfterCrowdMs }
      const text = `${user} has ${limit} ${what}, the most there may be`
      throw new Refusal(4429, new FanfareError('rate_limited', text, details))
    }
  }
}

function sizeOf({ events, positions, gaps, gapsAfter }: Missed): { events: number; gaps: number } {
  return { events: events.length + positions.length, gaps: gaps.length + gapsAfter.length }
}
