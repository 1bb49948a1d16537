/** The two tables of the contract: error codes of replies, and close codes of sessions. The code is API, the text is not. */

interface ErrorRow {
  /** The status of the HTTP answer (W7). */
  readonly status: number
  /** Whether the same command may succeed later without being changed. */
  readonly retryable: boolean
}

/** Every error code with its HTTP status, and whether to try again. */
export const errorCodes = {
  /** An argument is missing, malformed, unknown or contradicts another. */
  invalid_argument: { status: 400, retryable: false },
  /** No command has this name. */
  unknown_command: { status: 404, retryable: false },
  /** No token or key, or one that isn't valid (any more). */
  unauthorized: { status: 401, retryable: false },
  /** The token was made before its user's channel was rotated with `revoke`. */
  token_revoked: { status: 401, retryable: false },
  /** One may see it, but not do this to it. */
  forbidden: { status: 403, retryable: false },
  /** It doesn't exist, or one may not know that it does. */
  not_found: { status: 404, retryable: false },
  /** It contradicts what is there now. */
  conflict: { status: 409, retryable: false },
  /** It passes a limit of size or number (section L); `details` has the limit. */
  too_large: { status: 413, retryable: false },
  /** Too much at once; `details.retry_after_ms` says when to come back. */
  rate_limited: { status: 429, retryable: true },
  /** The server can't do it now, a full disk for instance. Nothing was changed. */
  unavailable: { status: 503, retryable: true },
  /** A fault of the server's own. */
  internal: { status: 500, retryable: true },
} as const satisfies Record<string, ErrorRow>

/** What went wrong, for a program to act upon: a key of `errorCodes`, where each is explained. */
export type ErrorCode = keyof typeof errorCodes

/**
 * What more there is to know of an error: `retry_after_ms` with `rate_limited` and `token_revoked`, and at times with `unavailable`; `limit`
 * with `too_large`, and where a limit is passed with `conflict` or `invalid_argument`; `revision`, the present one, where another is
 * `conflict` (M4). Of the SDK's own: `queue_limit` with `rate_limited`, and `max_frame_bytes` with `too_large`.
 */
export type ErrorDetails = { readonly [key: string]: string | number | boolean }

/** An error as it stands in a reply (W3). */
export interface ErrorBody {
  readonly code: ErrorCode
  readonly message: string
  readonly retryable: boolean
  readonly details?: ErrorDetails
}

/**
 * An error with a code of the contract. Its message is for the caller to read: what happened, what was kept, what to do.
 * Everything that a command may answer with is thrown as one of these; anything else thrown is a fault and answered `internal`.
 */
export class FanfareError extends Error {
  override readonly name = 'FanfareError'
  /** It is API; the message is not. */
  readonly code: ErrorCode
  /** Undefined where there is no more to know. */
  readonly details: ErrorDetails | undefined

  constructor(code: ErrorCode, message: string, details?: ErrorDetails) {
    super(message)
    this.code = code
    this.details = details
  }

  /** Whether the same command may succeed later without being changed. */
  get retryable(): boolean {
    return errorCodes[this.code].retryable
  }

  /** The error as it stands in a reply. */
  toJSON(): ErrorBody {
    const body = { code: this.code, message: this.message, retryable: this.retryable }
    return this.details ? { ...body, details: this.details } : body
  }
}

/** What a client does when its session is closed with a code. */
export type AfterClose = 'stop' | 'new_token' | 'resume' | 'back_off'

interface CloseRow {
  readonly reason: string
  readonly after: AfterClose
}

/**
 * Every close code that a session is closed with, with its reason and what the client does then. Others are WebSocket's own, such as 1008
 * for a frame in too many pieces (L1): after those it resumes.
 */
export const closeCodes = {
  4400: { reason: 'bad_request', after: 'stop' },
  4401: { reason: 'unauthorized', after: 'new_token' },
  4403: { reason: 'session_revoked', after: 'new_token' },
  4408: { reason: 'ping_timeout', after: 'resume' },
  4409: { reason: 'slow_consumer', after: 'resume' },
  4410: { reason: 'channel_rotated', after: 'stop' },
  4429: { reason: 'rate_limited', after: 'back_off' },
  4503: { reason: 'draining', after: 'resume' },
  /** A frame was too large: WebSocket's own code (RFC 6455, 7.4.1). */
  1009: { reason: 'frame_too_large', after: 'stop' },
} as const satisfies Record<number, CloseRow>

export type CloseCode = keyof typeof closeCodes
