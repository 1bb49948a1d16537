/** Commands over HTTP: `POST /v2/<command>` (W7). */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from '../engine/call.ts'
import { isSessionOnly, observed } from '../engine/commands.ts'
import type { Engine } from '../engine/engine.ts'
import type { Proof } from '../engine/tokens.ts'
import { requireUnrevoked } from '../engine/user-channels.ts'
import { FanfareError } from '../protocol/codes.ts'
import { socketPath } from '../protocol/frames.ts'
import { isUserId, type UserId } from '../protocol/ids.ts'
import type { TrustedProxies } from './address.ts'
import { answer, answerError, answerNothingHere } from './http-error.ts'
import { isAllowedOrigin, pathOf, readJson, toldOrigin } from './request.ts'
import { Untaken } from './untaken.ts'

/** The application's backend may name thousands of users in one call. */
const backendBodyBytes = 1_048_576

/** Pages beside the commands; false when there is none at this path. `byBackend` says whether the request has the API key. */
export type Pages = (request: IncomingMessage, response: ServerResponse, byBackend: () => boolean) => Promise<boolean>

export class HttpServer {
  readonly #engine: Engine
  /** Only their digests are kept. */
  readonly #apiKeys: readonly Buffer[]
  readonly #origins: readonly string[]
  readonly #proxies: TrustedProxies
  readonly #pages: Pages
  readonly #untaken: Untaken

  constructor(
    engine: Engine,
    apiKeys: readonly string[],
    origins: readonly string[],
    proxies: TrustedProxies,
    pages: Pages,
  ) {
    this.#engine = engine
    this.#apiKeys = apiKeys.map(digest)
    this.#origins = origins
    this.#proxies = proxies
    this.#pages = pages
    this.#untaken = new Untaken(engine.clock, engine.queues)
  }

  /** Answers one request. It never throws. */
  async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    this.#untaken.watch(request, response)
    const path = pathOf(request)
    const command = /^\/v2\/([a-z_]+)$/.exec(path)?.[1]
    try {
      if (!isAllowedOrigin(request, this.#origins)) {
        throw new FanfareError('forbidden', 'pages of this origin may not call: see --origins')
      }
      this.#allowOrigin(request, response)
      if (command && request.method === 'POST') await this.#command(command, request, response)
      else if (command && request.method === 'OPTIONS') response.writeHead(204).end()
      else if (path === socketPath) this.#explainSocket(response)
      else if (!(await this.#pages(request, response, () => this.#byBackend(request)))) {
        answerNothingHere(request, response)
      }
    } catch (error) {
      const refusal = this.#engine.toError(error, `${request.method} over HTTP`)
      this.#refuse(request, response, refusal, command, null)
    }
  }

  async #command(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.#engine.draining) {
      response.setHeader('connection', 'close')
      throw new FanfareError('unavailable', 'this server is about to end: come back for the next one')
    }
    const { caller, proof } = await this.#caller(request)
    if (isSessionOnly(name)) throw new FanfareError('unknown_command', `${name} is a command of sessions only`)
    const { frameBytes } = this.#engine.config.limits
    const limit = caller.backend ? Math.max(frameBytes && backendBodyBytes, frameBytes) : frameBytes
    const args = await readJson(request, limit)
    // Not before the whole body is here: who is logged out meanwhile must not hold a door open with half a request (U7).
    if (proof) await requireUnrevoked(this.#engine, proof)
    this.#engine.call(caller, proof, name, args, {
      result: (result) => this.#untaken.given(request, response, answer(response, 200, { result })),
      error: (error) => this.#refuse(request, response, error, name, caller.user),
    })
  }

  #refuse(
    request: IncomingMessage,
    response: ServerResponse,
    error: FanfareError,
    command: string | undefined,
    user: UserId | null,
  ): void {
    this.#engine.observer.refused({
      where: 'http',
      command: command === undefined ? null : observed(command),
      code: error.code,
      user,
      address: this.#proxies.clientOf(request),
      origin: toldOrigin(request),
    })
    answerError(response, error)
  }

  /** Who calls: a user by his token, which may have been revoked, or the backend by the API key, perhaps on a user's behalf. */
  async #caller({ headers }: IncomingMessage): Promise<{ caller: Caller; proof: Proof | null }> {
    const credential = credentialOf(headers)
    if (!credential) {
      throw new FanfareError('unauthorized', 'give a token or the API key: Authorization: Bearer …')
    }
    const as = headers['fanfare-as']
    if (this.#isApiKey(credential)) {
      if (as !== undefined && !isUserId(as)) {
        throw new FanfareError('invalid_argument', 'Fanfare-As is no user id, such as user/alice')
      }
      return { caller: { user: as ?? null, backend: true, session: null }, proof: null }
    }
    const proof = await this.#engine.tokens.verify(credential)
    if (as !== undefined) throw new FanfareError('forbidden', 'Fanfare-As goes with the API key only')
    return { caller: { user: proof.user, backend: false, session: null }, proof }
  }

  #byBackend({ headers }: IncomingMessage): boolean {
    const credential = credentialOf(headers)
    return credential !== null && this.#isApiKey(credential)
  }

  /** Compared with each of them, be the first the right one: how long it takes tells nothing. */
  #isApiKey(credential: string): boolean {
    const given = digest(credential)
    return this.#apiKeys.filter((key) => timingSafeEqual(key, given)).length > 0
  }

  /** What a browser needs to let a page of an allowed origin read the answer. */
  #allowOrigin({ headers }: IncomingMessage, response: ServerResponse): void {
    response.setHeader('vary', 'origin')
    if (headers.origin === undefined) return
    response.setHeader('access-control-allow-origin', headers.origin)
    response.setHeader('access-control-allow-headers', 'authorization, content-type')
    // Else the page could not read when to come back.
    response.setHeader('access-control-expose-headers', 'retry-after')
    response.setHeader('access-control-max-age', '600')
  }

  #explainSocket(response: ServerResponse): void {
    response.setHeader('upgrade', 'websocket')
    answer(response, 426, { error: new FanfareError('invalid_argument', 'this path is for WebSockets') })
  }
}

function credentialOf({ authorization = '' }: IncomingHttpHeaders): string | null {
  return /^Bearer (\S+)$/i.exec(authorization)?.[1] ?? null
}

/** Digests have one length, so that comparing them tells nothing of the key, its length included. */
function digest(key: string): Buffer {
  return createHash('sha256').update(key).digest()
}
