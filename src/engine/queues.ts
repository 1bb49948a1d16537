/** How much waits for peers that take less than they are sent (S6). */

/** What waits for one peer: a session's pushes and replies, or an answer over HTTP. */
export interface Queue {
  /** Ends it, and notes that nothing waits any more. */
  close(code: 4409): void
}

export class Queues {
  readonly #limitBytes: number
  readonly #behind = new Map<Queue, number>()
  #bytes = 0

  /** `limitBytes` is what all queues may hold together. */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes
  }

  /** Bytes that wait for all peers that are behind. */
  get bytes(): number {
    return this.#bytes
  }

  /** So much waits in the queue now. When it is too much in all, the longest queues go, and their sessions or connections with them. */
  note(queue: Queue, bytes: number): void {
    this.#bytes += bytes - (this.#behind.get(queue) ?? 0)
    if (bytes > 0) this.#behind.set(queue, bytes)
    else this.#behind.delete(queue)
    while (this.#bytes > this.#limitBytes && this.#behind.size > 0) this.#longest().close(4409)
  }

  #longest(): Queue {
    let [longest, most] = [...this.#behind][0] as [Queue, number]
    for (const [queue, bytes] of this.#behind) {
      if (bytes > most) {
        longest = queue
        most = bytes
      }
    }
    return longest
  }
}
