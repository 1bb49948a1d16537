/** What a session is owed at the end of a turn. Sessions that are owed the same frames share it, and so the bytes that are written. */
import type { Frame } from '../protocol/frames.ts'
import { frameBytes } from './frame-bytes.ts'

export class Owed {
  readonly length: number
  readonly #before: Owed | null
  readonly #own: Uint8Array
  readonly #frame: Frame | null
  /** The one behind it that was asked for last: a frame goes to all its sessions in a row. */
  #next: Owed | null = null
  #bytes: Uint8Array | null = null

  private constructor(before: Owed | null, frame: Frame | null, own: Uint8Array) {
    this.#before = before
    this.#frame = frame
    this.#own = own
    this.length = (before?.length ?? 0) + own.length
  }

  /** Owed nothing yet. Each turn begins with one of its own, so that what was written is forgotten. */
  static nothing(): Owed {
    return new Owed(null, null, new Uint8Array(0))
  }

  /** The same, and this frame. */
  and(frame: Frame): Owed {
    if (this.#next === null || this.#next.#frame !== frame) this.#next = new Owed(this, frame, frameBytes(frame))
    return this.#next
  }

  /** All frames, joined once for all who are owed them. */
  get bytes(): Uint8Array {
    this.#bytes ??= this.#join()
    return this.#bytes
  }

  #join(): Uint8Array {
    if (!this.#before?.length) return this.#own
    const parts: Uint8Array[] = []
    for (let one: Owed | null = this; one; one = one.#before) parts.push(one.#own)
    return Buffer.concat(parts.reverse(), this.length)
  }
}
