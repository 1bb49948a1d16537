/** Where the SDK gets its tokens (C5). */
import { FanfareError } from '../protocol/codes.ts'
import { platform } from './platform.ts'

/** What is asked on a link that has died may never be answered, and there would be no end to the waiting. */
const answerMs = 30_000

/**
 * A token, or a function that gets one from the application's backend. The function is asked when the first session begins, when the
 * server refuses the token that it gave before, and shortly before that one expires (not of one that is good for less than 40 s); never
 * twice at once. If it gives null (or nothing), there is none any more, and the chat ends: nothing is asked again. If it throws or
 * rejects, or has not answered after 30 s, there is none now: it is asked again after a delay that grows, and a session that there is
 * goes on meanwhile. A chat is one user's: a token of another one ends it as well.
 */
export type Token = string | (() => string | null | Promise<string | null>)

export class TokenSource {
  /** Whether there can be another token than the first. */
  readonly renewable: boolean
  readonly #token: Token
  #asked: Promise<string> | null = null
  #timer: unknown

  constructor(token: Token) {
    this.#token = token
    this.renewable = typeof token === 'function'
  }

  /**
   * Gets a token, or rejects: with `unauthorized` when there is none any more, with `unavailable` when it could not be got now. Who asks
   * while it is being got shares the answer.
   */
  ask(): Promise<string> {
    this.#asked ??= this.#get().finally(() => {
      this.#asked = null
    })
    return this.#asked
  }

  /** Leaves no timer behind. What is asked for may then have no answer. */
  stop(): void {
    platform.clearTimeout(this.#timer)
  }

  async #get(): Promise<string> {
    const token = this.#token
    if (typeof token === 'string') return token
    let answer: string | null
    try {
      answer = await Promise.race([token(), this.#late()])
    } catch (cause) {
      const error = new FanfareError('unavailable', `The token function failed (${cause}). It is asked again.`)
      error.cause = cause
      throw error
    } finally {
      this.stop()
    }
    if (answer) return answer
    throw new FanfareError('unauthorized', 'The token function gave no token. Create a new chat once there is one.')
  }

  #late(): Promise<never> {
    return new Promise((_, reject) => {
      this.#timer = platform.setTimeout(() => reject(new Error(`no answer in ${answerMs} ms`)), answerMs)
    })
  }
}
