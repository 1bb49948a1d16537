/** A connection in memory, whose wire a test pumps by hand: nothing crosses it, either way, before the test says so. */
import type { Session } from '../engine/session.ts'
import type { Socket } from '../engine/socket.ts'
import type { CloseCode } from '../protocol/codes.ts'
import type { Frame } from '../protocol/frames.ts'
import type { Ending } from './raw-session.ts'

/** The end that the session has is `Socket`; the rest of this class is the peer and the wire. */
export class SocketPair implements Socket {
  /** What the peer got, in order. */
  readonly texts: string[] = []
  readonly #onSend: (text: string) => void
  #session: Session | null = null
  #toPeer: Frame[] = []
  #toServer: string[] = []
  #whenDrained: (() => void)[] = []
  #closing: Ending | null = null
  #ending: Ending | null = null

  /** `onSend` is told of each frame in the moment in which the session gives it to the wire. */
  constructor(onSend: (text: string) => void = () => {}) {
    this.#onSend = onSend
  }

  /** Hands what the peer says to the session. */
  begin(session: Session): void {
    this.#session = session
  }

  send(frame: Frame): void {
    if (this.#closing || this.#ending) return
    this.#onSend(frame.text)
    this.#toPeer.push(frame)
  }

  close(code: CloseCode, reason: string): void {
    this.#closing ??= { code, reason }
  }

  whenDrained(run: () => void): void {
    if (!this.#closing && !this.#ending) this.#whenDrained.push(run)
  }

  get bufferedBytes(): number {
    return this.#toPeer.reduce((bytes, { text }) => bytes + Buffer.byteLength(text), 0)
  }

  /** How the connection ended, as the peer saw it; null while it has not. */
  get ending(): Ending | null {
    return this.#ending
  }

  /** Whether there is nothing to pump. */
  get quiet(): boolean {
    if (this.#ending) return true
    return this.#toServer.length + this.#toPeer.length + this.#whenDrained.length === 0 && !this.#closing
  }

  /** The peer says something; it stays on the wire until `pumpToServer`. */
  say(text: string): void {
    if (!this.#ending) this.#toServer.push(text)
  }

  /** Carries at most `count` of the peer's frames to the session. */
  pumpToServer(count = Number.POSITIVE_INFINITY): void {
    for (const text of this.#toServer.splice(0, count)) this.#session?.receive(text)
  }

  /** Carries at most `count` frames to the peer, and the close behind them once they are through. */
  pumpToPeer(count = Number.POSITIVE_INFINITY): void {
    this.texts.push(...this.#toPeer.splice(0, count).map(({ text }) => text))
    if (this.#toPeer.length > 0) return
    if (this.#closing) this.#end(this.#closing)
    else for (const run of this.#whenDrained.splice(0)) queueMicrotask(run)
  }

  /** A turn ends: where something still waits for the peer the session is told, as a transport does after it has written. */
  endTurn(): void {
    if (this.#toPeer.length > 0 && !this.#closing) this.#session?.fellBehind()
  }

  /** The wire breaks: what is on it is lost, and nobody says goodbye. */
  cut(): void {
    this.#lose()
    this.#session?.ended(1006)
  }

  /** The server's process is gone: the same for the peer, and nobody is left to be told. */
  crash(): void {
    this.#lose()
    this.#session = null
  }

  #lose(): void {
    if (this.#ending) return
    this.#toPeer = []
    this.#toServer = []
    this.#whenDrained = []
    this.#ending = { code: 1006, reason: '' }
  }

  #end(ending: Ending): void {
    if (this.#ending) return
    this.#ending = ending
    this.#session?.ended(ending.code)
  }
}
