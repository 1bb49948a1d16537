/** Where calls wait: for a session to be sent on, then for their reply. */
import { type ErrorBody, errorCodes, FanfareError } from '../protocol/codes.ts'
import type { Args, CommandName, Result } from '../protocol/commands.ts'
import type { ReplyFrame } from '../protocol/frames.ts'
import { platform, type Signal } from './platform.ts'

interface Call {
  readonly text: string
  resolve(result: unknown): void
  reject(error: unknown): void
}

export class Calls {
  /** By id, so in the order in which they were made. */
  readonly #calls = new Map<number, Call>()
  #nextId = 1
  /** Sends on the session, null while there is none. */
  #write: ((text: string) => void) | null = null
  /** 0 means no limit. */
  #maxFrameBytes = 0
  #end: FanfareError | null = null

  /** Sends a command, now or when a session begins, and gives its result. */
  make<N extends CommandName>(command: N, args: Args<N>, signal?: Signal): Promise<Result<N>> {
    return new Promise((resolve, reject) => {
      if (this.#end) throw this.#end
      if (signal?.aborted) throw signal.reason
      const id = this.#nextId++
      const text = JSON.stringify({ id, command, args })
      const settle = () => {
        this.#calls.delete(id)
        signal?.removeEventListener('abort', abort)
      }
      const call: Call = {
        text,
        resolve(result) {
          settle()
          resolve(result as Result<N>)
        },
        reject(error) {
          settle()
          reject(error)
        },
      }
      const abort = () => call.reject(signal?.reason)
      signal?.addEventListener('abort', abort)
      this.#calls.set(id, call)
      this.#send(call)
    })
  }

  /** A session began: sends what has waited for one, in order. */
  connected(write: (text: string) => void, maxFrameBytes: number): void {
    this.#write = write
    this.#maxFrameBytes = maxFrameBytes
    for (const call of this.#calls.values()) this.#send(call)
  }

  /** Settles the call that `reply` answers, if it still waits. */
  reply(reply: ReplyFrame): void {
    const call = this.#calls.get(reply.id)
    if ('error' in reply) call?.reject(errorOf(reply.error))
    else call?.resolve(reply.result)
  }

  /** The session is over: rejects what got no reply, which was all sent. What comes from now on waits for the next session. */
  disconnected(error: FanfareError): void {
    this.#write = null
    for (const call of this.#calls.values()) call.reject(error)
  }

  /** Rejects everything, and from now on each new call. */
  end(error: FanfareError): void {
    this.#end ??= error
    for (const call of this.#calls.values()) call.reject(error)
  }

  #send(call: Call): void {
    if (!this.#write) return
    const max = this.#maxFrameBytes
    // The server would close the session for it, and every other call would pay.
    if (max && new platform.TextEncoder().encode(call.text).length > max) {
      call.reject(
        new FanfareError('too_large', `The command is larger than a frame may be (${max} bytes). It was not sent.`, {
          max_frame_bytes: max,
        }),
      )
    } else {
      this.#write(call.text)
    }
  }
}

/** The error that a reply holds. A code of a newer server that isn't known here becomes `internal`. */
export function errorOf({ code, message, details }: ErrorBody): FanfareError {
  return new FanfareError(code in errorCodes ? code : 'internal', message, details)
}
