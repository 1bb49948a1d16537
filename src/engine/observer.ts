/**
 * The seam to whoever watches over the server: what the engine and the transport tell, by plain calls. An observer returns at once and
 * never throws. It is never given a message's content, a token, a key or the name of a user channel (U1).
 */
import type { ErrorCode } from '../protocol/codes.ts'
import type { CommandName } from '../protocol/commands.ts'
import type { SessionId, UserId } from '../protocol/ids.ts'

/** What may be told of a session. */
export interface SessionFacts {
  readonly id: SessionId
  /** Null where it never connected. */
  readonly user: UserId | null
  readonly listener: boolean
  readonly address: string
  /** The browser page's that it came from; null where it came from none. */
  readonly origin: string | null
}

/** A name that no command has is left out: it is whatever somebody sent. */
export type ObservedCommand = CommandName | 'unknown'

/** Something that was asked for and not done. */
export interface RefusalFacts {
  /** Where: a connection that wanted to be a session, a request over HTTP, or a command of a session. */
  readonly where: 'upgrade' | 'http' | 'session'
  /** Null where it was refused before it was known to be one. */
  readonly command: ObservedCommand | null
  readonly code: ErrorCode
  readonly user: UserId | null
  readonly address: string
  readonly origin: string | null
}

export interface Observer {
  /** A session has connected; `missed` says what it was owed where it resumed, or `'reset'` where its cursor was no good (R5). */
  sessionConnected(
    session: SessionFacts,
    missed: { readonly events: number; readonly gaps: number } | 'reset' | null,
  ): void
  /** A session has ended, be it that it never connected. `code` is what either side closed it with, and 1006 where nobody did. */
  sessionEnded(session: SessionFacts, code: number, lastedMs: number): void
  /** A command was answered: with a result (null), or with this error. */
  answered(command: ObservedCommand, error: ErrorCode | null): void
  refused(refusal: RefusalFacts): void
  /** One frame was pushed to so many sessions here. */
  pushed(what: 'event' | 'typing', sessions: number): void
  /** Another database has taken the place of the one before; so many sessions were closed, to come back and load anew (R5). */
  replaced(sessions: number): void
  /** A fault of the server's own: what could not be done, and the error. */
  fault(doing: string, error: unknown): void
}
