/** The server: the engine with its database and its doors, listening. */
import { createServer } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import { join } from 'node:path'
import { LocalBroker } from './broker/local.ts'
import { type Clock, systemClock } from './engine/clock.ts'
import type { Config } from './engine/config.ts'
import { Engine } from './engine/engine.ts'
import { Tokens, type TokenTrust } from './engine/tokens.ts'
import { openSqlite } from './storage/sqlite.ts'
import { serveDemo } from './transport/demo.ts'
import { HttpServer } from './transport/http.ts'
import { WebSocketServer } from './transport/websocket-server.ts'

export interface ServerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** A folder that exists; the database is made in it at the first start. */
  readonly dataFolder: string
  readonly tokenTrust: TokenTrust
  /** Any of them is the application's: it may have several, to replace one without a break. At least one. */
  readonly apiKeys: readonly string[]
  /** Browser origins that may come in beside the server's own; exact. */
  readonly origins: readonly string[]
  readonly config: Config
  /** Whether to serve the demo page, which gives tokens to anyone: on loopback only. */
  readonly demo: boolean
  /** The time; a test may give its own. */
  readonly clock?: Clock
}

export interface Server {
  /** Where it listens: `http://HOST:PORT`. */
  readonly url: string
  /** Drains (S7): takes no more sessions, answers what was asked for, ends all sessions, and is gone. Calling it again does nothing more. */
  close(): Promise<void>
}

/** Who dribbles a request's head or body is cut off after these. */
const headersTimeoutMs = 10_000
const requestTimeoutMs = 30_000
/** When the server ends, calls over HTTP may still read their answers for this long. */
const lastAnswersMs = 1_000

/**
 * Opens the database and listens. Rejects with `DatabaseUnusable`, or with the system's error of `listen` (`EADDRINUSE`, …); then
 * nothing is left open.
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { config, clock = systemClock } = options
  const storage = await openSqlite(join(options.dataFolder, 'fanfare.db'), {
    maxParticipants: config.limits.participants,
    maxConversationsPerUser: config.limits.conversationsPerUser,
  })
  const onFault = (doing: string, error: unknown) => console.error(`fanfare: fault in ${doing}:`, error)
  const engine = await Engine.start({
    config,
    clock,
    storage,
    broker: new LocalBroker(),
    tokens: new Tokens(options.tokenTrust, clock, onFault),
    onFault,
  })

  const sockets = new WebSocketServer(engine, options.origins)
  const http = new HttpServer(engine, options.apiKeys, options.origins, async (request, response) =>
    options.demo ? serveDemo(engine, request, response) : false,
  )
  const server = createServer({
    headersTimeout: headersTimeoutMs,
    requestTimeout: requestTimeoutMs,
    // Some HTTP clients offer HTTP/2 with every request: those are answered as if they had not.
    shouldUpgradeCallback: ({ headers }) => headers.upgrade?.toLowerCase() === 'websocket',
  })
  server.on('request', (request, response) => void http.answer(request, response))
  server.on('upgrade', (request, tcp, head) => sockets.upgrade(request, tcp, head))

  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(options.port, options.host, resolve)
    })
  } catch (error) {
    await engine.close()
    throw error
  }

  let closing: Promise<void> | null = null
  const close = async () => {
    // While sessions end it still listens, so that who comes is told to come back, and not left to guess.
    await engine.drain()
    await sockets.ended()
    const closed = new Promise((resolve) => server.close(resolve))
    const cut = setTimeout(() => server.closeAllConnections(), lastAnswersMs)
    server.closeIdleConnections()
    await closed
    clearTimeout(cut)
    await engine.close()
  }
  const { port } = server.address() as AddressInfo
  const host = isIPv6(options.host) ? `[${options.host}]` : options.host
  return {
    url: `http://${host}:${port}`,
    close: () => {
      closing ??= close()
      return closing
    },
  }
}
