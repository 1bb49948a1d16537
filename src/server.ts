/** The server: the engine with its database and its doors, listening. */
import { createServer, type Server as HttpListener, type IncomingMessage, type ServerResponse } from 'node:http'
import { createServer as createTlsServer, type Server as TlsListener } from 'node:https'
import { type AddressInfo, isIPv6, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Broker } from './broker/broker.ts'
import { LocalBroker } from './broker/local.ts'
import { type Clock, systemClock } from './engine/clock.ts'
import type { Config } from './engine/config.ts'
import { Engine } from './engine/engine.ts'
import type { Observer } from './engine/observer.ts'
import { Tokens, type TokenTrust } from './engine/tokens.ts'
import { both } from './operator/both.ts'
import { Journal } from './operator/journal.ts'
import type { Log } from './operator/log.ts'
import { Metrics, type Readings } from './operator/metrics.ts'
import { Readiness } from './operator/readiness.ts'
import { openPostgres } from './storage/postgres.ts'
import { openSqlite } from './storage/sqlite.ts'
import type { Storage, StorageLimits, StorageObserver } from './storage/storage.ts'
import { TrustedProxies } from './transport/address.ts'
import { Certificate, type CertificateFiles } from './transport/certificate.ts'
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
  /** A folder that exists; the embedded database is made in it at the first start. */
  readonly dataFolder: string
  /** The PostgreSQL database that it shares with others; null for the embedded one. */
  readonly databaseUrl: string | null
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
  /** What to speak HTTPS with; null: HTTP, for this machine alone or for a proxy that ends TLS. */
  readonly tls: CertificateFiles | null
  /** The time; a test may give its own. */
  readonly clock?: Clock
}

export interface Server {
  /** Where it listens: `http://HOST:PORT`, or `https://…`. */
  readonly url: string
  /** Where the metrics have a place of their own; null where they have none. */
  readonly metricsUrl: string | null
  /** Reads the certificate again if its files have changed, as it does by itself each minute. Sessions go on. Without one it does nothing. */
  reload(): void
  /** Drains (S7): takes no more sessions, answers what was asked for, ends all sessions, and is gone. Calling it again does nothing more. */
  close(): Promise<void>
}

/** Who dribbles a request's head or body is cut off after these. */
const timeouts = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  handshakeTimeout: 10_000,
  connectionsCheckingInterval: 2_000,
}
/** When the server ends, calls over HTTP may still read their answers for this long. */
const lastAnswersMs = 1_000
/** How often the certificate's files are looked at. */
const certificateIntervalMs = 60_000

/**
 * Opens the database and listens. Rejects with `DatabaseUnusable`, with an `OperatorError` for the certificate, or with the system's error
 * of `listen` (`EADDRINUSE`, …); then nothing is left open. Options that are none are for the caller to refuse.
 */
export async function startServer(options: ServerOptions): Promise<Server> {
  const { config, log, clock = systemClock } = options
  const certificate = options.tls && new Certificate(options.tls)
  const metrics = new Metrics(() => readings(engine, sockets))
  const observer = both(new Journal(log, clock), metrics)
  const limits = {
    maxParticipants: config.limits.participants,
    maxConversationsPerUser: config.limits.conversationsPerUser,
  }
  const tokens = new Tokens(options.tokenTrust, clock, (doing, error) => observer.fault(doing, error))
  const proxies = new TrustedProxies(options.trustedProxies)
  const { storage, broker } = await openStorage(options, limits, observer)
  const engine = await Engine.start({ config, clock, storage, broker, tokens, observer })

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
  const main = certificate
    ? createTlsServer({ ...timeouts, shouldUpgradeCallback, ...certificate.credentials })
    : createServer({ ...timeouts, shouldUpgradeCallback })
  const connections = certificate ? connectionsOf(main) : []
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
    const onFault = (error: Error) => observer.fault('taking a connection', error)
    metricsUrl = options.metrics && (await listen(beside, 'http', options.metrics, onFault))
    url = await listen(main, certificate ? 'https' : 'http', options, onFault)
  } catch (error) {
    beside.close()
    await engine.close()
    throw error
  }
  log.info({ url, metrics_url: metricsUrl, node: process.versions.node }, 'started')
  const renewal = certificate && new Renewal(certificate, main as TlsListener, log, clock)

  let closing: Promise<void> | null = null
  const close = async () => {
    log.info({ sessions: engine.sessions.size }, 'draining')
    renewal?.stop()
    // While sessions end it still listens, so that who comes is told to come back, and not left to guess.
    await engine.drain()
    await sockets.ended()
    await Promise.all([end(main, connections), end(beside, [])])
    await engine.close()
    log.info('stopped')
  }
  return {
    url,
    metricsUrl,
    reload: () => renewal?.look(),
    close: () => {
      closing ??= close()
      return closing
    },
  }
}

/** The database, and what carries to the other servers on it. */
async function openStorage(
  { dataFolder, databaseUrl, brokerUrl, log }: ServerOptions,
  limits: StorageLimits,
  observer: Observer & StorageObserver,
): Promise<{ readonly storage: Storage; readonly broker: Broker }> {
  if (databaseUrl === null) {
    const storage = await openSqlite(join(dataFolder, 'fanfare.db'), limits, observer)
    return { storage, broker: new LocalBroker() }
  }
  const storage = await openPostgres(databaseUrl, limits, observer)
  if (brokerUrl === null) return { storage, broker: new LocalBroker(false) }
  const tell = (trouble: string) => log.warn({ trouble }, 'broker')
  // Most servers have no broker, and so no use for its client.
  const { openNats } = await import('./broker/nats.ts')
  return { storage, broker: openNats(brokerUrl, `fanfare.${storage.name}`, tell) }
}

type Listener = HttpListener | TlsListener

/** Gives the address at which it then listens. What is wrong from then on is told to `onFault`, and costs the connection that was not taken. */
async function listen(
  server: Listener,
  scheme: 'http' | 'https',
  { host, port }: Place,
  onFault: (error: Error) => void,
): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  // A process that may open no more files has none for a connection either: without an ear for it that would be its end.
  server.on('error', onFault)
  const address = server.address() as AddressInfo
  return `${scheme}://${isIPv6(host) ? `[${host}]` : host}:${address.port}`
}

/** The connections that it has now, of which HTTPS itself knows only those whose handshake is done. */
function connectionsOf(server: Listener): Iterable<Socket> {
  const connections = new Set<Socket>()
  function forget(this: Socket): void {
    connections.delete(this)
  }
  server.on('connection', (socket: Socket) => {
    connections.add(socket)
    socket.once('close', forget)
  })
  return connections
}

/** Takes no more requests, and resolves when those that came are answered. What is left of `connections` by then ends too. */
async function end(server: Listener, connections: Iterable<Socket>): Promise<void> {
  if (!server.listening) return
  const closed = new Promise((resolve) => server.close(resolve))
  const cut = setTimeout(() => {
    server.closeAllConnections()
    for (const socket of connections) socket.destroy()
  }, lastAnswersMs)
  server.closeIdleConnections()
  await closed
  clearTimeout(cut)
}

function readings({ sessions, queues, typing }: Engine, sockets: WebSocketServer): Readings {
  const kinds = { user: 0, listener: 0, unconnected: 0 }
  for (const { user, listener } of sessions) kinds[listener ? 'listener' : user ? 'user' : 'unconnected']++
  return { sessions: kinds, queueBytes: queues.bytes, typingLeases: typing.leases, ...sockets.traffic }
}

/** Shows a renewed certificate to whoever connects from then on. */
class Renewal {
  readonly #certificate: Certificate
  readonly #server: TlsListener
  readonly #log: Log
  readonly #clock: Clock
  #cancel = () => {}

  constructor(certificate: Certificate, server: TlsListener, log: Log, clock: Clock) {
    this.#certificate = certificate
    this.#server = server
    this.#log = log
    this.#clock = clock
    this.#tell()
    this.#lookLater()
  }

  /** Looks at the files now. What is wrong with them is told, and the certificate stays as it was. */
  look(): void {
    try {
      if (!this.#certificate.renew()) return
      this.#server.setSecureContext(this.#certificate.credentials)
      this.#tell()
    } catch (error) {
      this.#log.error({ reason: error instanceof Error ? error.message : String(error) }, 'certificate_kept')
    }
  }

  stop(): void {
    this.#cancel()
  }

  #tell(): void {
    const { expiresAt } = this.#certificate
    const level = expiresAt.getTime() > this.#clock.now() ? 'info' : 'error'
    this.#log[level]({ expires_at: expiresAt }, 'certificate')
  }

  // A watch of the file system would miss a renewal by a link, or on some file systems any.
  #lookLater(): void {
    this.#cancel = this.#clock.after(certificateIntervalMs, () => {
      this.look()
      this.#lookLater()
    })
  }
}
