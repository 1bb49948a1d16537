/** The server: the engine with its database and its doors, listening. */
import { createServer, type Server as HttpListener, type IncomingMessage, type ServerResponse } from 'node:http'
import { type AddressInfo, isIPv6 } from 'node:net'
import { join } from 'node:path'
import { LocalBroker } from './broker/local.ts'
import { openNats } from './broker/nats.ts'
import { type Clock, systemClock } from './engine/clock.ts'
import type { Config } from './engine/config.ts'
import { Engine } from './engine/engine.ts'
import { Tokens, type TokenTrust } from './engine/tokens.ts'
import { both } from './operator/both.ts'
import { Journal } from './operator/journal.ts'
import type { Log } from './operator/log.ts'
import { Metrics, type Readings } from './operator/metrics.ts'
import { Readiness } from './operator/readiness.ts'
import { openSqlite } from './storage/sqlite.ts'
import { TrustedProxies } from './transport/address.ts'
import { serveDemo } from './transport/demo.ts'
import { HttpServer } from './transport/http.ts'
import { answerError, answerNothingHere } from './transport/http-error.ts'
import { serveProbes } from './transport/probes.ts'
import { WebSocketServer } from './transport/websocket-server.ts'

/** Where to listen. Port 0 takes a free one. */
export interface Place {
  readonly host: string
  readonly port: number
}

export interface ServerOptions extends Place {
  /** A folder that exists; the database is made in it at the first start. */
  readonly dataFolder: string
  readonly tokenTrust: TokenTrust
  /** Any of them is the application's: it may have several, to replace one without a break. At least one. */
  readonly apiKeys: readonly string[]
  /** The NATS servers by which it speaks with the others of its database (see `openNats`); null where there are none. */
  readonly brokerUrl: string | null
  /** Browser origins that may come in beside the server's own; exact. */
  readonly origins: readonly string[]
  /** Addresses and networks of proxies, whose X-Forwarded-For is believed. */
  readonly trustedProxies: readonly string[]
  readonly config: Config
  /** Whether to serve the demo page, which gives tokens to anyone: on loopback only. */
  readonly demo: boolean
  readonly log: Log
  /** A place of their own for the metrics, where they need no key; null: they are with the rest, for the API key. */
  readonly metrics: Place | null
  /** The time; a test may give its own. */
  readonly clock?: Clock
}

export interface Server {
  /** Where it listens: `http://HOST:PORT`. */
  readonly url: string
  /** Where the metrics have a place of their own; null where they have none. */
  readonly metricsUrl: string | null
  /** Drains (S7): takes no more sessions, answers what was asked for, ends all sessions, and is gone. Calling it again does nothing more. */
  close(): Promise<void>
}

/** Who dribbles a request's head or body is cut off after these. */
const timeouts = { headersTimeout: 10_000, requestTimeout: 30_000, connectionsCheckingInterval: 2_000 }
/** When the server ends, calls over HTTP may still read their answers for this long. */
const lastAnswersMs = 1_000

/**
 * Opens the database and listens. Rejects with `DatabaseUnusable`, or with the system's error of `listen` (`EADDRINUSE`, …); then
 * nothing is left open.
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { config, log, clock = systemClock } = options
  const metrics = new Metrics(() => readings(engine, sockets))
  const observer = both(new Journal(log, clock), metrics)
  const limits = {
    maxParticipants: config.limits.participants,
    maxConversationsPerUser: config.limits.conversationsPerUser,
  }
  const storage = await openSqlite(join(options.dataFolder, 'fanfare.db'), limits, observer)
  const engine = await Engine.start({
    config,
    clock,
    storage,
    broker:
      options.brokerUrl === null
        ? new LocalBroker()
        : openNats(options.brokerUrl, `fanfare.${storage.epoch}`, (trouble) =>
            observer.fault('speaking with other nodes', trouble),
          ),
    tokens: new Tokens(options.tokenTrust, clock, (doing, error) => observer.fault(doing, error)),
    observer,
  })

  const proxies = new TrustedProxies(options.trustedProxies)
  const sockets = new WebSocketServer(engine, options.origins, proxies)
  const readiness = new Readiness(
    () => engine.draining,
    () => storage.events.probe(),
    clock,
  )
  const probed = { reasons: () => readiness.reasons(), text: () => metrics.text() }
  const http = new HttpServer(
    engine,
    options.apiKeys,
    options.origins,
    proxies,
    async (request, response, byBackend) => {
      if (await serveProbes(probed, options.metrics ? null : byBackend, request, response)) return true
      return options.demo ? serveDemo(engine, request, response) : false
    },
  )
  // Some HTTP clients offer HTTP/2 with every request: those are answered as if they had not.
  const shouldUpgradeCallback = ({ headers }: IncomingMessage) => headers.upgrade?.toLowerCase() === 'websocket'
  const main = createServer({ ...timeouts, shouldUpgradeCallback })
  main.on('request', (request, response) => void http.answer(request, response))
  main.on('upgrade', (request, tcp, head) => sockets.upgrade(request, tcp, head))
  const beside = createServer(timeouts)
  beside.on('request', async (request: IncomingMessage, response: ServerResponse) => {
    try {
      if (!(await serveProbes(probed, () => true, request, response))) answerNothingHere(request, response)
    } catch (error) {
      answerError(response, engine.toError(error, 'answering with the metrics'))
    }
  })

  let url: string
  let metricsUrl: string | null
  try {
    metricsUrl = options.metrics && (await listen(beside, options.metrics))
    url = await listen(main, options)
  } catch (error) {
    beside.close()
    await engine.close()
    throw error
  }
  log.info({ url, metrics_url: metricsUrl, node: process.versions.node }, 'started')

  let closing: Promise<void> | null = null
  const close = async () => {
    log.info({ sessions: engine.sessions.size }, 'draining')
    // While sessions end it still listens, so that who comes is told to come back, and not left to guess.
    await engine.drain()
    await sockets.ended()
    await Promise.all([end(main), end(beside)])
    await engine.close()
    log.info('stopped')
  }
  return {
    url,
    metricsUrl,
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

/** Gives the address at which it then listens. */
async function listen(server: HttpListener, { host, port }: Place): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const address = server.address() as AddressInfo
  return `http://${isIPv6(host) ? `[${host}]` : host}:${address.port}`
}

/** Takes no more requests, and resolves when those that came are answered. */
async function end(server: HttpListener): Promise<void> {
  if (!server.listening) return
  const closed = new Promise((resolve) => server.close(resolve))
  const cut = setTimeout(() => server.closeAllConnections(), lastAnswersMs)
  server.closeIdleConnections()
  await closed
  clearTimeout(cut)
}

function readings({ sessions, queues, typing }: Engine, sockets: WebSocketServer): Readings {
  const kinds = { user: 0, listener: 0, unconnected: 0 }
  for (const { user, listener } of sessions) kinds[listener ? 'listener' : user ? 'user' : 'unconnected']++
  return { sessions: kinds, queueBytes: queues.bytes, typingLeases: typing.leases, ...sockets.traffic }
}
