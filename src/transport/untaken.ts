/** Answers over HTTP that their peers do not take (S6): what waits of them counts with all queues, and who takes nothing is cut off. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket as TcpSocket } from 'node:net'
import type { Clock } from '../engine/clock.ts'
import type { Queue, Queues } from '../engine/queues.ts'

/** How often is looked whether anything was taken. */
const lookIntervalMs = 30_000

export class Untaken {
  readonly #clock: Clock
  readonly #queues: Queues

  constructor(clock: Clock, queues: Queues) {
    this.#clock = clock
    this.#queues = queues
  }

  /** Cuts the connection off where of the answer, once it was given, nothing is taken from one look to the next. */
  watch({ socket }: IncomingMessage, response: ServerResponse): void {
    let before: number | null = null
    const look = () => {
      const left = response.writableEnded ? leftOf(socket) : null
      if (left !== null && left === before) {
        socket.destroy()
        return
      }
      before = left
      cancel = this.#clock.after(lookIntervalMs, look)
    }
    let cancel = this.#clock.after(lookIntervalMs, look)
    response.once('close', () => cancel())
  }

  /** An answer of so many bytes was given: what waits of it counts until all is taken. */
  given({ socket }: IncomingMessage, response: ServerResponse, bytes: number): void {
    if (response.writableLength === 0) return
    const queue: Queue = {
      close: () => {
        this.#queues.note(queue, 0)
        socket.destroy()
      },
    }
    response.once('close', () => this.#queues.note(queue, 0))
    this.#queues.note(queue, bytes)
  }
}

/** What is below a socket of Node’s. */
interface Handle {
  readonly writeQueueSize?: number
  readonly _parent?: Handle
}

/** How many bytes the system has not taken. What Node counts as waiting becomes less only with a whole write, such as a page of history. */
function leftOf(tcp: TcpSocket): number {
  // Node has no other name for it. With TLS it is the connection below that tells.
  const { _handle } = tcp as TcpSocket & { readonly _handle?: Handle | null }
  return (_handle?._parent ?? _handle)?.writeQueueSize ?? 0
}
