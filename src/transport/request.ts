/** What a request says of itself: its path, its body, and the page that it comes from (S8). */
import type { IncomingMessage } from 'node:http'
import { FanfareError } from '../protocol/codes.ts'
import { isObject } from '../protocol/frames.ts'

/** The path, without the query. Taken as it was sent: nothing is resolved or unescaped, so that nothing can hide in it. */
export function pathOf({ url = '/' }: IncomingMessage): string {
  const query = url.indexOf('?')
  return query < 0 ? url : url.slice(0, query)
}

/** The origin that the request names, to be told to the operator: of what no browser would send nothing reaches his terminal. */
export function toldOrigin({ headers }: IncomingMessage): string | null {
  return headers.origin?.replaceAll(/[^ -~]/g, '?') ?? null
}

/**
 * Whether the request comes from no browser page, from the server's own origin, or from one of `allowed` (exact match). Cookies are
 * never looked at, so this only guards what a page could do with a token that it holds.
 */
export function isAllowedOrigin({ headers }: IncomingMessage, allowed: readonly string[]): boolean {
  const { origin, host } = headers
  if (origin === undefined) return true
  if (allowed.includes(origin)) return true
  // Behind a proxy that ends TLS the server doesn't know its own scheme, so the host alone decides.
  return host !== undefined && (origin === `http://${host}` || origin === `https://${host}`)
}

/** Reads a JSON object of at most `limit` bytes (0: any); an empty body is an empty object. */
export async function readJson(request: IncomingMessage, limit: number): Promise<{ [key: string]: unknown }> {
  const bytes = await read(request, limit)
  if (bytes.length === 0) return {}
  let body: unknown
  try {
    body = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch {
    throw new FanfareError('invalid_argument', 'the body is not JSON')
  }
  if (!isObject(body)) throw new FanfareError('invalid_argument', 'the body is not a JSON object')
  return body
}

async function read(request: IncomingMessage, limit: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  // Not destroyed when left early, but read to its end: who still sends must not see a broken connection instead of the answer.
  const body: AsyncIterable<Buffer> = request.iterator({ destroyOnReturn: false })
  try {
    for await (const chunk of body) {
      length += chunk.length
      if (limit > 0 && length > limit) break
      chunks.push(chunk)
    }
  } catch {
    throw new FanfareError('invalid_argument', 'the body broke off; nothing was done')
  }
  if (limit > 0 && length > limit) {
    request.resume()
    throw new FanfareError('too_large', `the body has more than ${limit} bytes`, { limit })
  }
  return Buffer.concat(chunks)
}
