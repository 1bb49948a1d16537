/** A whole server for one test: a temporary folder, a free port, and an end of its own. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { SignJWT } from 'jose'
import { type Config, defaultConfig, defaultLimits, type Limits } from '../engine/config.ts'
import type { TokenTrust } from '../engine/tokens.ts'
import { openLog } from '../operator/log.ts'
import type { LogLevel } from '../operator/log-level.ts'
import type { ErrorBody } from '../protocol/codes.ts'
import type { CommandName, Result } from '../protocol/commands.ts'
import { type Server, type ServerOptions, startServer as start } from '../server.ts'
import { noRates } from './no-rates.ts'

export type TestServerOptions = Partial<Omit<Config, 'limits'>> &
  Partial<
    Pick<
      ServerOptions,
      'brokerUrl' | 'databaseUrl' | 'clock' | 'demo' | 'origins' | 'metrics' | 'tls' | 'trustedProxies'
    >
  > & {
    limits?: Partial<Limits>
    logLevel?: LogLevel
    tokenTrust?: Partial<TokenTrust>
    /** Besides the one that the test server has anyway. */
    apiKeys?: readonly string[]
  }

/** A line of the log. */
export type LogLine = { readonly level: LogLevel; readonly event: string } & { readonly [fact: string]: unknown }

/** The answer to a command over HTTP. */
export interface HttpAnswer<R = unknown> {
  readonly status: number
  readonly headers: Headers
  readonly result: R
  readonly error: ErrorBody
}

export class TestServer {
  readonly apiKey = 'api-key-of-a-test'
  readonly tokenSecret = 'token-secret-of-a-test-32-bytes-long'
  readonly folder: string
  /** What the server has told in its log. */
  readonly logged: LogLine[] = []
  readonly #options: TestServerOptions
  #server: Server | null = null
  #port = 0

  constructor(folder: string, options: TestServerOptions) {
    this.folder = folder
    this.#options = options
  }

  get url(): string {
    if (!this.#server) throw new Error('the server is stopped')
    return this.#server.url
  }

  get metricsUrl(): string | null {
    return this.#server?.metricsUrl ?? null
  }

  /** Where sessions begin. */
  get socketUrl(): string {
    return `${this.url.replace('http', 'ws')}/v2/socket`
  }

  /** Starts it, on the port that it had before if there was one. */
  async start(): Promise<void> {
    const { limits, clock, demo = false, origins = [], metrics = null, logLevel = 'debug', ...others } = this.#options
    const {
      databaseUrl = null,
      brokerUrl = null,
      tls = null,
      trustedProxies = [],
      tokenTrust,
      apiKeys = [],
      ...config
    } = others
    this.#server = await start({
      host: '127.0.0.1',
      port: this.#port,
      dataFolder: this.folder,
      databaseUrl,
      tokenTrust: { secret: this.tokenSecret, jwksUrl: null, issuer: null, audiences: [], ...tokenTrust },
      apiKeys: [this.apiKey, ...apiKeys],
      brokerUrl,
      origins,
      trustedProxies,
      demo,
      metrics,
      tls,
      log: openLog(logLevel, { write: (line) => this.logged.push(JSON.parse(line)) }, false),
      config: { ...defaultConfig, ...config, limits: { ...defaultLimits, ...noRates, ...limits } },
      ...(clock && { clock }),
    })
    this.#port = Number(new URL(this.#server.url).port)
  }

  async stop(): Promise<void> {
    await this.#server?.close()
    this.#server = null
  }

  /** A token for `user` (without `user/`), with any claim set otherwise; times in seconds. */
  async token(user: string, claims: { [claim: string]: unknown } = {}): Promise<string> {
    const now = Math.floor((this.#options.clock?.now() ?? Date.now()) / 1000)
    return new SignJWT({ sub: user, iat: now, exp: now + 3_600, ...claims })
      .setProtectedHeader({ alg: 'HS256' })
      .sign(new TextEncoder().encode(this.tokenSecret))
  }

  /** Does a command over HTTP: as `as` by the API key, or with the headers given. */
  async call<N extends CommandName>(
    command: N,
    args: object,
    as?: `user/${string}`,
    headers: Record<string, string> = {},
  ): Promise<HttpAnswer<Result<N>>> {
    const response = await fetch(`${this.url}/v2/${command}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${this.apiKey}`, ...(as && { 'fanfare-as': as }), ...headers },
      body: JSON.stringify(args),
    })
    return { status: response.status, headers: response.headers, ...((await response.json()) as object) } as never
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** Starts a server that ends with its scope: `await using server = await startServer()`. */
export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const server = new TestServer(await mkdtemp(join(tmpdir(), 'fanfare-')), options)
  await server.start()
  return server
}
