/**
 * One connection to a NATS server. It is believed in only as long as the server answers on it, and never comes back once it has ended.
 *
 * With `noEcho` a node can't hear itself, so what the server is asked is NATS' own ping: the answer comes behind all that was sent before,
 * and says that the server has taken it.
 */
import { type Msg, type NatsConnection, PermissionViolationError } from '@nats-io/transport-node'

/** The server is asked this often whether it is there, and given up when it has not answered for so long. */
const beatMs = 1_000
const silenceMs = 4_000
/** A server that has not taken so much of what was sent is given up too. It is as much as NATS itself lets wait for a client. */
const mostWaitingBytes = 64 * 1024 * 1024
/** It is asked sooner where so much was sent since. */
const askingBytes = 4 * 1024 * 1024

export class NatsLine {
  /** Resolves when it has ended, in whatever way. */
  readonly ended: Promise<void>
  /** Whether the server refused this node something that it must be let do. */
  refused = false
  readonly #connection: NatsConnection
  #askedAt: number | null = null
  #sentBytes = 0
  #askedBytes = 0
  #takenBytes = 0

  constructor(connection: NatsConnection, onError: (error: Error) => void) {
    this.#connection = connection
    const beat = setInterval(() => this.#beat(), beatMs)
    this.ended = connection.closed().then(() => clearInterval(beat))
    void this.#hearErrors(onError)
  }

  /** The longest payload that the server takes. */
  get longestBytes(): number {
    return this.#connection.info?.max_payload ?? Number.POSITIVE_INFINITY
  }

  /** Asks for what is published under a subject. Gives the way to ask for it no more. */
  listen(subject: string, take: (bytes: Uint8Array) => void): () => void {
    if (this.#connection.isClosed()) return () => {}
    const callback = (error: Error | null, message: Msg) => {
      if (!error) take(message.data)
    }
    const subscription = this.#connection.subscribe(subject, { callback })
    return () => subscription.unsubscribe()
  }

  publish(subjects: readonly string[], payload: Uint8Array): void {
    if (this.#connection.isClosed()) return
    for (const subject of subjects) this.#connection.publish(subject, payload)
    this.#sentBytes += subjects.length * payload.length
    if (this.#sentBytes - this.#takenBytes > mostWaitingBytes) this.end()
    else if (this.#askedAt === null && this.#sentBytes - this.#askedBytes > askingBytes) this.#ask()
  }

  /** Whether the server has taken all that was sent so far; it resolves with false when the connection ends before. */
  taken(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#connection.flush().then(
        () => resolve(true),
        () => resolve(false),
      )
      void this.ended.then(() => resolve(false))
    })
  }

  /** Ends it without a word. Nothing comes by it any more. */
  end(): void {
    void this.#connection.close()
  }

  #beat(): void {
    if (this.#askedAt === null) this.#ask()
    // Not by the library's `reconnect`, which first waits until all has left that the other end doesn't take.
    else if (performance.now() - this.#askedAt >= silenceMs) this.end()
  }

  #ask(): void {
    this.#askedAt = performance.now()
    this.#askedBytes = this.#sentBytes
    this.#connection.flush().then(
      () => {
        this.#askedAt = null
        this.#takenBytes = this.#askedBytes
      },
      () => {},
    )
  }

  async #hearErrors(onError: (error: Error) => void): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (status.type !== 'error') continue
      if (status.error instanceof PermissionViolationError) this.refused = true
      onError(status.error)
    }
  }
}
