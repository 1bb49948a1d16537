/**
 * The seam between a session and its connection. Every adapter passes the suite in `src/testing/socket-contract.ts`.
 */
import type { CloseCode } from '../protocol/codes.ts'
import type { Frame } from '../protocol/frames.ts'

export interface Socket {
  /** Queues a frame. Frames arrive whole and in order, or the connection ends. After `close` it does nothing. */
  send(frame: Frame): void
  /** Sends what is queued, then closes with the code. Calling it again does nothing. */
  close(code: CloseCode, reason: string): void
  /** Bytes given to `send` that the peer's side has not taken yet. */
  readonly bufferedBytes: number
  /** Calls `run` once, in a later turn, when the peer's side has taken all that was given to `send` before. Never after the end. */
  whenDrained(run: () => void): void
}
