/** Where calls wait: for a session to be sent on, for their turn, then for their reply. Each goes out again until it has one (C6). */
import { type ErrorBody, errorCodes, FanfareError } from '../protocol/codes.ts'
import type { Args, CommandName, ConnectResult, Result } from '../protocol/commands.ts'
import type { ReplyFrame } from '../protocol/frames.ts'
import type { UserId } from '../protocol/ids.ts'
import { backoffMs } from './backoff.ts'
import { platform, type Signal } from './platform.ts'

/** A call that is answered `unavailable` is sent this many times more. */
const maxRetries = 5
/** After a `rate_limited` that doesn't say how long to wait. */
const rateLimitedMs = 1_000
/** Calls that go out before the first of them was answered: fewer than a server takes at once. */
const firstWindow = 100
/** What must not be done twice, or concerns one session only. All other commands may be repeated. */
const once = new Set<CommandName>(['rotate_user_channel', 'refresh_token', 'subscribe_typing', 'unsubscribe_typing'])
/** What must keep its order among itself, and waits for nothing else. */
const watching = /subscribe_typing$/
/** What changes nothing, or only ever moves forward. Of all else the order counts. */
const unordered = /^(get|mark|refresh)_/

export interface CallSettings {
  readonly signal?: Signal | undefined
  /** For the SDK's own calls: it goes out before those that wait, does not count among them, and is tried for as long as it takes. */
  readonly urgent?: boolean | undefined
  /** Likewise, but it goes out in its turn. Where it waits for its lane, it holds up nothing else. */
  readonly patient?: boolean | undefined
}

/** What tells calls apart. */
interface Named {
  readonly conversation?: string
  readonly message?: string
  readonly participants?: readonly UserId[]
}

interface Call {
  readonly command: CommandName
  readonly args: Named
  readonly text: string
  /** Of the calls with the same one, only one at a time is on its way, so that none overtakes one that must go out again. */
  readonly lane: string | undefined
  readonly urgent: boolean
  readonly patient: boolean
  /** Whether it is on its way in this session. */
  sent: boolean
  /** Whether it was on its way in a session that broke. */
  lost: boolean
  /** Whether the server put it off. */
  putOff: boolean
  /** How often the server could not do it. */
  failures: number
  resolve(result: unknown): void
  reject(error: unknown): void
}

export class Calls {
  /** By id, so in the order in which they were made. */
  readonly #calls = new Map<number, Call>()
  readonly #limit: number
  /** How many of them count: all but the SDK's own. */
  #waiting = 0
  #nextId = 1
  /** Sends on the session, null while there is none. */
  #write: ((text: string) => void) | null = null
  /** 0 means no limit. */
  #maxFrameBytes = 0
  #user: UserId | null = null
  /** While it runs the server wants to be left alone, until `#pausedUntil`. */
  #pauseTimer: unknown = null
  #pausedUntil = 0
  /** So many calls may be on their way at once: only one after the server said that they come too fast, and one more for each that is done. */
  #window = firstWindow
  #end: FanfareError | null = null

  constructor(limit: number) {
    this.#limit = limit
  }

  /** Sends a command, now or when it can be, and gives its result. */
  make<N extends CommandName>(command: N, args: Args<N>, settings: CallSettings = {}): Promise<Result<N>> {
    return new Promise((resolve, reject) => {
      const { signal, urgent = false, patient = false } = settings
      const counts = !urgent && !patient
      if (this.#end) throw this.#end
      if (signal?.aborted) throw signal.reason
      if (counts && this.#waiting >= this.#limit) {
        throw new FanfareError('rate_limited', `${this.#limit} calls wait already. This one was not sent.`, {
          queue_limit: this.#limit,
        })
      }
      const id = this.#nextId++
      const settle = () => {
        if (this.#calls.delete(id) && counts) this.#waiting--
        signal?.removeEventListener('abort', abort)
      }
      const named = args as Named
      const call: Call = {
        command,
        args: named,
        text: textOf({ id, command, args }),
        lane: laneOf(command, named),
        urgent,
        patient,
        sent: false,
        lost: false,
        putOff: false,
        failures: 0,
        resolve(result) {
          settle()
          resolve(result as Result<N>)
        },
        reject(error) {
          settle()
          reject(error)
        },
      }
      const abort = () => {
        call.reject(signal?.reason)
        this.#flush()
      }
      signal?.addEventListener('abort', abort)
      this.#calls.set(id, call)
      if (counts) this.#waiting++
      this.#flush()
    })
  }

  /** A session began: sends what has waited for one, in order. */
  connected(write: (text: string) => void, { user, settings }: ConnectResult): void {
    this.#write = write
    this.#maxFrameBytes = settings.max_frame_bytes
    this.#user = user
    this.#flush()
  }

  /** Settles the call that `reply` answers, if it still waits, or lets it go out again. */
  reply(reply: ReplyFrame): void {
    const call = this.#calls.get(reply.id)
    if (!call) return
    if ('error' in reply) this.#failed(call, errorOf(reply.error))
    else {
      if (!call.urgent) this.#window++
      call.resolve(reply.result)
    }
    this.#flush()
  }

  /**
   * The session is over. What got no reply is sent again in the next one. What must not be is rejected, and so is what was about this
   * session only, also if the server had put it off.
   */
  disconnected(error: FanfareError): void {
    this.#write = null
    for (const call of this.#calls.values()) {
      if ((call.sent || isOwn(call)) && once.has(call.command)) call.reject(error)
      call.lost ||= call.sent
      call.sent = false
    }
  }

  /** Rejects everything, and from now on each new call. */
  end(error: FanfareError): void {
    this.#end ??= error
    platform.clearTimeout(this.#pauseTimer)
    for (const call of this.#calls.values()) call.reject(error)
  }

  #failed(call: Call, error: FanfareError): void {
    const { code, details } = error
    if (code === 'rate_limited') {
      this.#window = 1
      this.#again(call, Number(details?.retry_after_ms) || rateLimitedMs)
    } else if (code === 'unavailable' && (isOwn(call) || call.failures < maxRetries)) {
      this.#again(call, backoffMs(++call.failures))
    } else if (call.lost && code === 'not_found' && this.#endsTaking(call)) {
      // The first time did it, and only its reply was lost.
      const gone = { id: call.args.conversation }
      call.resolve({ conversation: call.command === 'delete_conversation' ? { ...gone, deleted: true } : gone })
    } else call.reject(error)
  }

  /** Whether who made it takes no part in its conversation when it is done. */
  #endsTaking({ command, args }: Call): boolean {
    return (
      /^(leave|delete)_conversation$/.test(command) ||
      (command === 'remove_participants' && this.#user !== null && args.participants?.includes(this.#user) === true)
    )
  }

  /** Lets `call` and all behind it wait. Of several who ask for a pause the longest counts. */
  #again(call: Call, afterMs: number): void {
    call.sent = false
    call.putOff = true
    const until = Date.now() + afterMs
    if (this.#pauseTimer !== null && until <= this.#pausedUntil) return
    platform.clearTimeout(this.#pauseTimer)
    this.#pausedUntil = until
    this.#pauseTimer = platform.setTimeout(() => {
      this.#pauseTimer = null
      this.#flush()
    }, afterMs)
  }

  /** Sends what may be sent, in order: behind one that must wait, all wait. */
  #flush(): void {
    if (!this.#write) return
    const lanes = new Set<string | undefined>()
    let blocked = this.#pauseTimer !== null
    let room = this.#window
    for (const { sent } of this.#calls.values()) if (sent) room--
    for (const call of this.#calls.values()) {
      if (!call.sent) {
        const first = call.urgent && !call.putOff
        const waits = !first && (blocked || room <= 0 || lanes.has(call.lane))
        blocked ||= waits && !call.patient
        if (!waits) {
          if (!this.#send(call, this.#write)) continue
          room--
        }
      }
      if (call.lane) lanes.add(call.lane)
    }
  }

  /** Whether it is on its way now. */
  #send(call: Call, write: (text: string) => void): boolean {
    const max = this.#maxFrameBytes
    // The server would close the session for it, and every other call would pay.
    if (max && new platform.TextEncoder().encode(call.text).length > max) {
      call.reject(
        new FanfareError('too_large', `The command is larger than a frame may be (${max} bytes). It was not sent.`, {
          max_frame_bytes: max,
        }),
      )
      return false
    }
    call.sent = true
    write(call.text)
    return true
  }
}

function isOwn({ urgent, patient }: Call): boolean {
  return urgent || patient
}

function laneOf(command: CommandName, { conversation, message }: Named): string | undefined {
  if (watching.test(command)) return `typing ${conversation}`
  return unordered.test(command) ? undefined : (conversation ?? message ?? command)
}

/** What JSON has no form for (a bigint, an object within itself) could never be sent. */
function textOf(frame: object): string {
  try {
    return JSON.stringify(frame)
  } catch (cause) {
    const error = new FanfareError(
      'invalid_argument',
      `The arguments have no form in JSON (${cause}). Nothing was sent.`,
    )
    error.cause = cause
    throw error
  }
}

/** The error that a reply holds. A code of a newer server that isn't known here becomes `internal`. */
export function errorOf({ code, message, details }: ErrorBody): FanfareError {
  return new FanfareError(code in errorCodes ? code : 'internal', message, details)
}
