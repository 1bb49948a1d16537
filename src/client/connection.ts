/** Where the SDK holds its one session: the socket, the connect frame, what comes in, and the way back after a break. */
import { type AfterClose, type CloseCode, closeCodes, type ErrorCode, FanfareError } from '../protocol/codes.ts'
import type { Args, CommandName, ConnectResult, Result } from '../protocol/commands.ts'
import { type EventFrame, type Gap, type PushFrame, type ReplyFrame, socketPath } from '../protocol/frames.ts'
import type { UserId } from '../protocol/ids.ts'
import { type TypingData, typingExpiryMs, typingIntervalMs } from '../protocol/typing.ts'
import { backoffMs } from './backoff.ts'
import { type CallSettings, Calls, errorOf } from './calls.ts'
import { platform, type Socket, type WebSocketClass } from './platform.ts'
import { Pulse } from './pulse.ts'
import { type Token, TokenSource } from './token.ts'
import { onWake } from './wake.ts'

/** Socket and connect reply must both come in it. It begins before the server's own 10 s (S1), so that 4401 is always about the token. */
const connectTimeoutMs = 10_000
/** A page that wakes waits no longer than this for a sign of life on its session. */
const wakeAnswerMs = 5_000
/** After 4429 the delay is at once drawn from the whole of it, as after this many attempts. */
const backOffAttempts = 5
/**
 * How many new tokens in a row may be refused as made too early. After the wait that the server names one is enough if the clocks of the
 * token's maker and the server agree.
 */
const maxEarlyTokens = 5
/** Only after a session that lasted so long the delays begin anew: one that a server ends at once is no success. */
const lastingMs = 10_000
/** A token is refreshed this long before it expires, one that is short at three quarters of what is left of it. */
const refreshBeforeMs = 60_000
/**
 * If it were sooner than this, the token is too short to refresh, or this machine's clock is ahead and would have it refreshed again and
 * again; the server's 4401 tells then.
 */
const minRefreshMs = 30_000
/** setTimeout takes no longer delay; a longer one would fire at once. */
const longestTimerMs = 2 ** 31 - 1
/** The ids of the connection's own commands; calls count from 1. */
const connectId = 0
const pingId = -1

/** What an application's code finds in `state.error` after a close code; any other one is `unavailable`. */
const closeErrors: { readonly [code: number]: ErrorCode } = {
  1009: 'too_large',
  4400: 'invalid_argument',
  4401: 'unauthorized',
  4403: 'unauthorized',
  4410: 'forbidden',
  4429: 'rate_limited',
}

/** How a chat is connected. The object never changes; each change makes a new one. */
export interface ConnectionState {
  /**
   * `connecting`: a token is asked for, or a session is about to begin. `connected`: there is a session. `waiting`: the next attempt comes
   * at `retryAt`. `closed`: for good, by `close()` (then `error` is null) or because going on is pointless (`error` says why).
   */
  readonly status: 'connecting' | 'connected' | 'waiting' | 'closed'
  /** When the next attempt comes, in milliseconds since 1970 by this machine's clock; null unless `waiting`. */
  readonly retryAt: number | null
  /** Why there is no session. Null while there is one, before the first, and after `close()`. */
  readonly error: FanfareError | null
}

export interface ConnectionOptions {
  /** The server's address, `http(s)://` or `ws(s)://`, without the socket's path. */
  readonly url: string
  readonly token: Token
  readonly WebSocket: WebSocketClass
  /** How many calls may wait. */
  readonly queueLimit: number
}

/** What the owner of a connection is asked and told. */
export interface ConnectionHandlers {
  /** Where the next session goes on from (R2), if anywhere. */
  cursor(): string | undefined
  /** The session stands at `cursor`, told without an event: it has just begun, or all is quiet. */
  reached(cursor: string): void
  /** A session was to go on from the cursor, and begins anew (R5). */
  reset(): void
  connected(): void
  disconnected(): void
  event(frame: EventFrame): void
  gap(gap: Gap): void
  typing(data: TypingData): void
  state(state: ConnectionState): void
}

export class Connection {
  state: ConnectionState = { status: 'connecting', retryAt: null, error: null }
  /** The session, null while there is none. */
  session: ConnectResult | null = null
  /** Whose sessions these are; null before the first. */
  user: UserId | null = null
  /** The server's settings as the latest session was told them; before the first, the contract's. */
  settings: Pick<ConnectResult['settings'], 'typing_interval_ms' | 'typing_expiry_ms'> = {
    typing_interval_ms: typingIntervalMs,
    typing_expiry_ms: typingExpiryMs,
  }
  readonly #options: ConnectionOptions
  readonly #handlers: ConnectionHandlers
  readonly #tokens: TokenSource
  readonly #calls: Calls
  readonly #pulse = new Pulse(
    () => this.#socket?.send(JSON.stringify({ id: pingId, command: 'ping' })),
    () => this.#lost(1006, 'nothing came any more'),
  )
  readonly #stopWaking: () => void
  /** The token to connect with, null when one must be asked for. */
  #token: string | null = null
  /** Whether the token was asked for in this attempt. If it is refused, asking again would bring the same. */
  #tokenIsNew = false
  /** How many new tokens in a row were refused as made too early. */
  #earlyTokens = 0
  #socket: Socket | null = null
  /** Whether the session is to go on from a cursor. */
  #resumes = false
  /** How many delays in a row were drawn from a bound that doubles. */
  #attempts = 0
  /** When the latest session began, by this machine's clock. */
  #begunAt = 0
  /** Whether a page that wakes need not wait for the next attempt: the server named no time for it. */
  #mayHurry = false
  /** Whether the page woke during this attempt, which may be on a network that is gone. */
  #hasWoken = false
  /** Ends an attempt to connect, or begins the next. */
  #attemptTimer: unknown
  #refreshTimer: unknown

  constructor(options: ConnectionOptions, handlers: ConnectionHandlers) {
    this.#options = options
    this.#handlers = handlers
    this.#tokens = new TokenSource(options.token)
    this.#calls = new Calls(options.queueLimit)
    this.#stopWaking = onWake(() => this.#wake())
    this.#open()
  }

  /**
   * Sends a command and gives its result. Without a session it waits for one, and if the session ends before the reply it is sent again
   * in the next, unless it must not be done twice: then it rejects with `unavailable`. Rejects else with the server's error; with the reason
   * if the connection is closed for good; with `too_large` if the frame would be; with `rate_limited` if too many wait; with the signal's
   * reason if aborted.
   */
  call<N extends CommandName>(command: N, args: Args<N>, settings?: CallSettings): Promise<Result<N>> {
    return this.#calls.make(command, args, settings)
  }

  /** Sends a command without asking for a reply. Without a session it is dropped. */
  send<N extends CommandName>(command: N, args: Args<N>): void {
    if (this.session) this.#socket?.send(JSON.stringify({ command, args }))
  }

  /** Ends the session, the attempts to have one, and all calls (`unavailable`). Calling it again does nothing. */
  close(): void {
    this.#end(new FanfareError('unavailable', 'The chat was closed by close(). Create a new one to go on.'), null)
  }

  get #closed(): boolean {
    return this.state.status === 'closed'
  }

  async #open(): Promise<void> {
    const { url, WebSocket } = this.#options
    let socket: Socket
    try {
      if (this.#token === null) {
        this.#token = await this.#tokens.ask()
        this.#tokenIsNew = true
      }
      if (this.#closed) return
      socket = new WebSocket(url.replace(/^http/, 'ws').replace(/\/*$/, socketPath))
    } catch (cause) {
      const error =
        cause instanceof FanfareError
          ? cause
          : new FanfareError('invalid_argument', `${url} is no address to connect to (${cause}).`)
      return error.retryable ? this.#retry(error, Number.NaN) : this.#end(error)
    }
    this.#socket = socket
    const lost = (code: number, reason: string) => {
      if (socket === this.#socket) this.#lost(code, reason)
    }
    socket.onopen = () => {
      const cursor = this.#handlers.cursor()
      this.#resumes = cursor !== undefined
      const args: Args<'connect'> = { token: this.#token ?? '', cursor }
      socket.send(JSON.stringify({ id: connectId, command: 'connect', args }))
    }
    socket.onmessage = ({ data }: { data: unknown }) => {
      if (socket !== this.#socket) return
      this.#pulse.heard()
      const frame = frameOf(data)
      if (frame) this.#receive(frame)
      else this.#lost(1006, 'what came is no frame of a Fanfare server')
    }
    socket.onclose = ({ code, reason }: { code: number; reason: string }) => lost(code, reason)
    // Some platforms send no close event when a connection couldn't be made at all.
    socket.onerror = ({ message }: { message?: string }) => lost(1006, message ?? '')
    this.#attemptTimer = platform.setTimeout(() => lost(1006, 'the server did not answer'), connectTimeoutMs)
  }

  #receive(frame: ReplyFrame | PushFrame): void {
    if ('id' in frame) {
      if (frame.id > connectId) this.#calls.reply(frame)
      else if (frame.id === connectId) {
        if ('error' in frame) this.#notBegun(errorOf(frame.error))
        else this.#begun(frame.result as ConnectResult)
      } else if ('result' in frame) this.#handlers.reached((frame.result as Result<'ping'>).cursor)
    } else if ('gap' in frame) this.#handlers.gap(frame.gap)
    else if (frame.event === 'typing') this.#handlers.typing(frame.data)
    // A frame of a kind that came later than this SDK has no `event`.
    else if (frame.event) this.#handlers.event(frame)
  }

  #begun(session: ConnectResult): void {
    platform.clearTimeout(this.#attemptTimer)
    if (session.user !== (this.user ?? session.user)) {
      // What waits would be sent in another's name, and what was sent already a second time: a `client_id` belongs to its user (M3).
      const whose = `This chat is of ${this.user}, and the token is of ${session.user}.`
      this.#end(new FanfareError('unauthorized', `${whose} Create a new chat for another user.`))
      return
    }
    this.session = session
    this.#begunAt = Date.now()
    this.user = session.user
    this.settings = session.settings
    this.#tokenIsNew = false
    this.#earlyTokens = 0
    this.#handlers.reached(session.cursor)
    if (this.#resumes && !session.resumed) this.#handlers.reset()
    if (this.#closed) return
    this.#calls.connected((text) => this.#socket?.send(text), session)
    this.#handlers.connected()
    this.#pulse.start(session.settings.ping_interval_ms)
    this.#refreshBefore(session.expires_at)
    this.#move('connected', null)
  }

  #notBegun(error: FanfareError): void {
    const { code, details } = error
    const afterMs = Number(details?.retry_after_ms)
    this.#leave(error)
    if (code === 'token_revoked' && afterMs >= 0 && this.#earlyTokens < maxEarlyTokens) {
      // Also a token that is new may have been made too early (U7); the next one will not, if the wait is long enough.
      this.#tokenIsNew = false
      this.#refused(error, afterMs + (this.#earlyTokens && backoffMs(this.#earlyTokens)))
      this.#earlyTokens++
    } else if (code === 'unauthorized' || code === 'token_revoked') this.#refused(error, 0)
    else if (error.retryable) this.#retry(error, afterMs)
    else this.#end(error)
  }

  /** The socket is gone, or as good as gone. */
  #lost(code: number, reason: string): void {
    const begun = this.session !== null
    const after: AfterClose = code in closeCodes ? closeCodes[code as CloseCode].after : 'resume'
    const error = new FanfareError(
      closeErrors[code] ?? 'unavailable',
      `The connection is lost (${code}${reason && ` ${reason}`}).`,
    )
    this.#leave(error)
    if (after === 'stop') this.#end(error)
    // With a delay if there was a session, lest two sides that disagree spin.
    else if (after === 'new_token') this.#refused(error, begun ? Number.NaN : 0)
    else if (after === 'back_off') {
      this.#attempts = backOffAttempts
      this.#retry(error, backoffMs(backOffAttempts))
    } else this.#retry(error, code === 4503 ? Number(/\d+/.exec(reason)?.[0]) : Number.NaN)
  }

  /** The server wants another token. It is asked for after `delayMs`, unless the last one that was asked for is what it refuses. */
  #refused(error: FanfareError, delayMs: number): void {
    if (this.#tokenIsNew || !this.#tokens.renewable) this.#end(error)
    else {
      this.#token = null
      this.#retry(error, delayMs)
    }
  }

  /**
   * Tries again after `delayMs`, which the server named; or, if it is NaN, after a delay that grows, or when the page wakes. If it has
   * woken meanwhile, that is at once.
   */
  #retry(error: FanfareError, delayMs: number): void {
    if (this.#closed) return
    // While nobody could be reached it may have expired.
    this.#tokenIsNew = false
    this.#mayHurry = Number.isNaN(delayMs)
    if (this.#mayHurry) delayMs = this.#hasWoken ? 0 : backoffMs(++this.#attempts)
    this.#attemptTimer = platform.setTimeout(() => this.#again(), delayMs)
    this.#move('waiting', error, Date.now() + delayMs)
  }

  #again(): void {
    this.#move('connecting', this.state.error)
    if (!this.#closed) this.#open()
  }

  /** The page is back, and the network may be another: a session must show that it lives, a wait is over, and so is the next one. */
  #wake(): void {
    if (this.session) {
      // A page that was put away may find its socket closed without having been told.
      if ((this.#socket?.readyState ?? 0) > 1) this.#lost(1006, 'closed while the page slept')
      else this.#pulse.check(wakeAnswerMs)
    }
    const { status } = this.state
    if (status !== 'connecting' && (status !== 'waiting' || !this.#mayHurry)) return
    this.#attempts = 0
    if (status === 'connecting') this.#hasWoken = true
    else {
      platform.clearTimeout(this.#attemptTimer)
      this.#again()
    }
  }

  /** Leaves the socket, if there is one, and everything that lives as long as a session. */
  #leave(error: FanfareError): void {
    const { session } = this
    const socket = this.#socket
    this.session = null
    this.#socket = null
    this.#pulse.stop()
    for (const timer of [this.#attemptTimer, this.#refreshTimer]) platform.clearTimeout(timer)
    socket?.close()
    if (!session) return
    if (Date.now() - this.#begunAt >= lastingMs) this.#attempts = 0
    this.#calls.disconnected(
      new FanfareError('unavailable', `${error.message} What was sent without a reply may or may not have been done.`),
    )
    this.#handlers.disconnected()
  }

  #end(error: FanfareError, shown: FanfareError | null = error): void {
    if (this.#closed) return
    // Before all else, so that what a callback does on the way finds the chat closed.
    this.state = { status: 'closed', retryAt: null, error: shown }
    this.#stopWaking()
    this.#tokens.stop()
    this.#leave(error)
    this.#calls.end(error)
    this.#handlers.state(this.state)
  }

  #move(status: ConnectionState['status'], error: FanfareError | null, retryAt: number | null = null): void {
    this.state = { status, retryAt, error }
    this.#hasWoken = false
    this.#handlers.state(this.state)
  }

  /** Sees to it that the session has a new token before `expiresAt` (S4). */
  #refreshBefore(expiresAt: string | null): void {
    const leftMs = expiresAt ? Date.parse(expiresAt) - Date.now() : 0
    const delayMs = leftMs - Math.min(refreshBeforeMs, leftMs / 4)
    if (!this.#tokens.renewable || delayMs < minRefreshMs) return
    this.#refreshTimer = platform.setTimeout(() => this.#refresh(), Math.min(delayMs, longestTimerMs))
  }

  /** Gives the session a new token. One that can't be got now is asked for again: the session is good until the server's 4401. */
  async #refresh(attempt = 1): Promise<void> {
    const session = this.session
    let token: string
    try {
      token = await this.#tokens.ask()
    } catch (error) {
      if (!(error as FanfareError).retryable) this.#end(error as FanfareError)
      else if (session === this.session) {
        this.#refreshTimer = platform.setTimeout(() => this.#refresh(attempt + 1), backoffMs(attempt))
      }
      return
    }
    if (session !== this.session) return
    try {
      const { expires_at } = await this.call('refresh_token', { token }, { urgent: true })
      // What came in the same turn as the reply may have ended the session.
      if (session !== this.session) return
      this.#token = token
      this.#refreshBefore(expires_at)
    } catch {
      // The session ends with 4401 when its old token does, and a new one is asked for then.
    }
  }
}

/** Null where it is none, as when something on the way answers in the server's place. */
function frameOf(data: unknown): ReplyFrame | PushFrame | null {
  try {
    const frame = JSON.parse(String(data))
    return Object(frame) === frame ? frame : null
  } catch {
    return null
  }
}
