/** What `fanfare dev` serves beside the server: the demo page, the SDK that it runs on, and tokens for whoever asks. */
import { readFile } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { stripTypeScriptTypes } from 'node:module'
import { extname } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Engine } from '../engine/engine.ts'
import { defaultTtlSeconds } from '../engine/token-limits.ts'
import { FanfareError } from '../protocol/codes.ts'
import { isUserName } from '../protocol/ids.ts'
import { answer, answerError } from './http-error.ts'
import { pathOf, readJson } from './request.ts'

const contentTypes: { readonly [extension: string]: string } = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.ts': 'text/javascript; charset=utf-8',
  '.svg': 'image/svg+xml',
}

/** From the repository the SDK is served as it is written, without its types; from the package as it was built. */
const extension = extname(import.meta.url)
const sdkFolder = fileURLToPath(new URL('../', import.meta.url))
const pageFolder = fileURLToPath(new URL('../../web/demo/', import.meta.url))

/**
 * Answers `GET /` and the page's files, `GET /sdk/…` and `POST /demo/token {"user":"alice"}`; false for anything else. Tokens are given
 * to anyone, so it must be reachable from this machine only: a request that names another host is refused, lest a page elsewhere
 * come in by a name that it has pointed here.
 */
export async function serveDemo(engine: Engine, request: IncomingMessage, response: ServerResponse): Promise<boolean> {
  const requested = pathOf(request)
  if (!/^(127\.0\.0\.1|localhost|\[::1\])(:\d+)?$/.test(request.headers.host ?? '')) {
    answerError(response, new FanfareError('forbidden', 'the demo page answers on this machine only'))
    return true
  }
  if (request.method === 'POST' && requested === '/demo/token') {
    await giveToken(engine, request, response)
    return true
  }
  if (request.method !== 'GET') return false
  const path = requested === '/' ? '/demo/index.html' : requested
  const page = /^\/demo\/([a-z][a-z-]*\.(?:html|css|js|svg))$/.exec(path)?.[1]
  const sdk = /^\/sdk\/((?:client|protocol)\/[a-z][a-z-]*\.(?:ts|js))$/.exec(path)?.[1]
  if (path === '/sdk/client.js') return giveText(response, '.js', `export * from './client/index${extension}'`)
  const file = page ? pageFolder + page : sdk ? sdkFolder + sdk : null
  const text = file && (await readFile(file, 'utf8').catch(() => null))
  if (file === null || text === null) return false
  return giveText(response, extname(file), extname(file) === '.ts' ? stripTypes(text) : text)
}

async function giveToken(engine: Engine, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { user } = await readJson(request, 1_024)
  if (!isUserName(user)) throw new FanfareError('invalid_argument', 'user: 1–128 of A–Z a–z 0–9 _ . @ : ~ -')
  const { token } = await engine.tokens.create(`user/${user}`, defaultTtlSeconds)
  answer(response, 200, { token })
}

function giveText(response: ServerResponse, extension: string, text: string): true {
  response.writeHead(200, {
    'content-type': contentTypes[extension] ?? 'text/plain',
    'cache-control': 'no-cache',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'self'",
  })
  response.end(text)
  return true
}

/** Node warns that this function may still change, which is nothing that who opens a demo page could do anything about. */
function stripTypes(text: string): string {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return stripTypeScriptTypes(text)
  } finally {
    process.emitWarning = emitWarning
  }
}
