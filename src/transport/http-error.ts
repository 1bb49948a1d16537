/** Errors over HTTP: the reply's error object with its status (W7). */
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { errorCodes, FanfareError } from '../protocol/codes.ts'

/** After a refusal that names no time, a client comes back no sooner than this. */
const retryAfterMs = 1_000

/** Answers with `{"result":…}` or `{"error":…}`, unless it was answered already or the peer has gone. Gives how many bytes that were. */
export function answer(response: ServerResponse, status: number, body: object): number {
  if (response.headersSent || response.destroyed) return 0
  const text = JSON.stringify(body)
  const bytes = Buffer.byteLength(text)
  response.writeHead(status, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': bytes,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  })
  response.end(text)
  return bytes
}

/** Answers with an error; one that may be retried says when (`Retry-After`, in seconds), and a 401 what would do (RFC 9110, 15.5.2). */
export function answerError(response: ServerResponse, error: FanfareError): void {
  const { status } = errorCodes[error.code]
  if (mayComeBack(status) && !response.headersSent) response.setHeader('retry-after', secondsUntil(error))
  if (status === 401 && !response.headersSent) response.setHeader('www-authenticate', 'Bearer')
  answer(response, status, { error })
}

/** Answers a request for a path or method that isn't there. */
export function answerNothingHere(request: IncomingMessage, response: ServerResponse): void {
  answerError(
    response,
    new FanfareError('not_found', `nothing is here for ${request.method}; commands are at POST /v2/…`),
  )
}

/** Refuses to make a WebSocket of the connection, and ends it. */
export function refuseUpgrade(tcp: Duplex, error: FanfareError): void {
  const { status } = errorCodes[error.code]
  const body = JSON.stringify({ error })
  const retryAfter = mayComeBack(status) ? `Retry-After: ${secondsUntil(error)}\r\n` : ''
  tcp.on('error', () => {})
  // No timeout of HTTP's holds any more: who does not hang up himself would be kept for ever, and the server from closing.
  tcp.once('finish', () => tcp.destroy())
  tcp.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nConnection: close\r\n${retryAfter}Content-Type: application/json\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

function mayComeBack(status: number): boolean {
  return status === 429 || status === 503
}

function secondsUntil({ details }: FanfareError): number {
  return Math.ceil(Number(details?.retry_after_ms ?? retryAfterMs) / 1000)
}
