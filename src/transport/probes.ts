/** What an operator's machines ask: whether the server lives, whether it is ready, and what it has counted. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { FanfareError } from '../protocol/codes.ts'
import { answer } from './http-error.ts'
import { pathOf } from './request.ts'

export interface Probed {
  /** What keeps the server from being ready; nothing where it is. */
  reasons(): Promise<readonly string[]>
  /** The metrics, with their content type. */
  text(): Promise<{ readonly type: string; readonly text: string }>
}

/**
 * Answers `GET /livez`, `/readyz` and `/metrics`; false for anything else. The first two say nothing that a stranger may not know, for
 * those who ask them have no key. `mayRead` says whether this request may have the metrics (else `unauthorized`); null: they are not here.
 */
export async function serveProbes(
  probed: Probed,
  mayRead: (() => boolean) | null,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<boolean> {
  if (request.method !== 'GET' && request.method !== 'HEAD') return false
  switch (pathOf(request)) {
    case '/livez':
      answer(response, 200, { live: true })
      return true
    case '/readyz': {
      const reasons = await probed.reasons()
      answer(response, reasons.length === 0 ? 200 : 503, { ready: reasons.length === 0, reasons })
      return true
    }
    case '/metrics': {
      if (!mayRead) return false
      if (!mayRead()) throw new FanfareError('unauthorized', 'give the API key: Authorization: Bearer …')
      const { type, text } = await probed.text()
      response.writeHead(200, {
        'content-type': type,
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
      })
      response.end(text)
      return true
    }
    default:
      return false
  }
}
