/**
 * The one table of what can be set. The command line, the environment, `--help` and docs/configuration.md all follow from it. The
 * two secrets are no options, since whoever lists the processes of a machine reads their command lines: see `secrets.ts`. An option
 * that may hold one had better come from the environment for the same reason.
 */
import { defaultConfig, type Limits } from '../engine/config.ts'
import { defaultTtlSeconds } from '../engine/token-limits.ts'
import { type LogLevel, logLevels } from '../operator/log-level.ts'
import { hasPassword } from '../storage/postgres/url.ts'
import type { Command } from './commands.ts'
import {
  choice,
  claim,
  claims,
  count,
  databaseUrl,
  flag,
  folder,
  host,
  type Kind,
  keysUrl,
  loopbackHost,
  milliseconds,
  natsUrl,
  optionalFile,
  optionalPort,
  origins,
  port,
  proxies,
  ttlSeconds,
  url,
} from './kind.ts'

export interface Option<Value> {
  /** As on the command line, without the dashes. The environment variable follows from it: see `variableOf`. */
  readonly name: string
  readonly kind: Kind<Value>
  readonly default: Value
  /** One sentence for the help. */
  readonly help: string
  readonly commands: readonly Command[]
  /**
   * Whether a value holds a secret, where the option may: then the server warns of one on the command line, and no error repeats it. Where
   * there is a variable for it, it may also be in a file that the one with `_FILE` behind names.
   */
  isSecret?(text: string): boolean
  /** Whether there is no variable for it: it is meant for one call, not for all. */
  readonly commandLineOnly?: true
  /** What is otherwise with `dev`. */
  readonly dev?: { readonly kind?: Kind<Value>; readonly default?: Value; readonly help?: string }
}

/** Doctor looks at what serve would do. */
const everywhere = ['serve', 'dev', 'doctor'] as const

type ServerOption<Value> = Option<Value> & { readonly commands: typeof everywhere }

/** An option per limit: a limit without one is a compile error. */
const limits: { readonly [Name in keyof Limits]: ServerOption<number> } = {
  frameBytes: limit('frameBytes', 'max-frame-bytes', 'bytes of a frame, and of an HTTP body that comes with a token'),
  bodyBytes: limit('bodyBytes', 'max-body-bytes', "bytes of a message's body"),
  metadataBytes: limit('metadataBytes', 'max-metadata-bytes', "bytes of a record's metadata, and of an attachment"),
  participants: limit('participants', 'max-participants', 'participants of a conversation'),
  sessionsPerUser: limit('sessionsPerUser', 'max-sessions-per-user', 'sessions of one user at once'),
  conversationsPerUser: limit('conversationsPerUser', 'max-conversations-per-user', 'conversations of one user'),
  unauthenticatedPerAddress: limit(
    'unauthenticatedPerAddress',
    'max-unauthenticated-per-address',
    'connections of one address that have not yet proved who they are',
  ),
  pageLength: limit('pageLength', 'max-page-length', 'entries of one page of a list'),
  listenersPerUser: limit('listenersPerUser', 'max-listeners-per-user', 'listeners of one user at once'),
  typingWatchesPerSession: limit(
    'typingWatchesPerSession',
    'max-typing-watches-per-session',
    'conversations whose typing one session watches',
  ),
  readsAtOnce: limit('readsAtOnce', 'max-reads-at-once', 'reads of a session, or of a user over HTTP, at once'),
  commandsPerSecond: limit(
    'commandsPerSecond',
    'max-commands-per-second',
    'commands of a session in a second, and calls over HTTP of a user',
  ),
  commandsBurst: limit('commandsBurst', 'max-commands-burst', 'commands of a session at once, before that rate holds'),
  messagesPerSecond: limit(
    'messagesPerSecond',
    'max-messages-per-second',
    'messages that a user sends or edits in a second',
  ),
  messagesBurst: limit('messagesBurst', 'max-messages-burst', 'messages of a user at once, before that rate holds'),
  typingPerSecond: limit(
    'typingPerSecond',
    'max-typing-per-second',
    'changes of typing that a session tells in a second',
  ),
  typingBurst: limit(
    'typingBurst',
    'max-typing-burst',
    'changes of typing of a session at once, before that rate holds',
  ),
  sessionsPerSecondPerAddress: limit(
    'sessionsPerSecondPerAddress',
    'max-sessions-per-second-per-address',
    'new sessions of one address in a second',
  ),
  sessionsBurstPerAddress: limit(
    'sessionsBurstPerAddress',
    'max-sessions-burst-per-address',
    'new sessions of one address at once, before that rate holds',
  ),
}

export const options = {
  host: {
    name: 'host',
    kind: host,
    default: '127.0.0.1',
    help: 'Where to listen: a name or an address of this machine, or 0.0.0.0 or :: for all of them.',
    commands: everywhere,
    dev: { kind: loopbackHost, help: 'Where to listen: 127.0.0.1, ::1 or localhost.' },
  } satisfies Option<string>,
  port: {
    name: 'port',
    kind: port,
    default: 8080,
    help: 'The port to listen on; 0 takes a free one.',
    commands: everywhere,
  } satisfies Option<number>,
  data: {
    name: 'data',
    kind: folder,
    default: './data',
    help: 'The folder of the database and of the secrets that are not given. A server makes it where it is missing.',
    commands: [...everywhere, 'token', 'rotate', 'disconnect', 'backup', 'copy'],
  } satisfies Option<string>,
  databaseUrl: {
    name: 'database-url',
    kind: databaseUrl,
    default: null,
    help: 'The PostgreSQL database that several nodes share; without it the server has one of its own in the data folder.',
    commands: [...everywhere, 'copy'],
    isSecret: hasPassword,
  } satisfies Option<string | null>,
  brokerUrl: {
    name: 'broker-url',
    kind: natsUrl,
    default: null,
    help: 'The NATS servers that carry between the nodes of one database.',
    commands: everywhere,
    isSecret: (text) => text.includes('@'),
  } satisfies Option<string | null>,
  origins: {
    name: 'origins',
    kind: origins,
    default: [],
    help: "Whose pages a browser may connect from, besides the server's own. May be given several times.",
    commands: everywhere,
  } satisfies Option<readonly string[]>,
  trustedProxies: {
    name: 'trusted-proxies',
    kind: proxies,
    default: [],
    help: 'The reverse proxies in front of the server: what they say in X-Forwarded-For is believed. May be given several times.',
    commands: everywhere,
  } satisfies Option<readonly string[]>,
  jwksUrl: {
    name: 'jwks-url',
    kind: keysUrl,
    default: null,
    help: 'Where the public keys are that tokens are signed with (RS256, ES256 or EdDSA): a JWKS.',
    commands: everywhere,
  } satisfies Option<string | null>,
  tokenIssuer: {
    name: 'token-issuer',
    kind: claim,
    default: null,
    help: 'Who must have made a token: what it has as iss.',
    commands: [...everywhere, 'token'],
  } satisfies Option<string | null>,
  tokenAudience: {
    name: 'token-audience',
    kind: claims,
    default: [],
    help: 'Whom a token must be made for: one of these must be in its aud. May be given several times.',
    commands: [...everywhere, 'token'],
  } satisfies Option<readonly string[]>,
  tlsCert: {
    name: 'tls-cert',
    kind: optionalFile,
    default: null,
    help: 'A PEM file with the certificate and those of its issuers. With it, and its key, the server speaks HTTPS.',
    commands: everywhere,
  } satisfies Option<string | null>,
  tlsKey: {
    name: 'tls-key',
    kind: optionalFile,
    default: null,
    help: 'A PEM file with its key. Both are read again on SIGHUP, and within a minute of their change.',
    commands: everywhere,
  } satisfies Option<string | null>,
  listeners: {
    name: 'listeners',
    kind: flag,
    default: defaultConfig.listeners,
    help: 'Lets who holds the name of a user channel, and no token, receive what is published there.',
    commands: everywhere,
    dev: { default: true },
  } satisfies Option<boolean>,
  conversations: {
    name: 'conversations',
    kind: choice(['everyone', 'backend']),
    default: defaultConfig.conversations,
    help: "Who makes conversations and changes their participants: everyone, or only the application's backend.",
    commands: everywhere,
  } satisfies Option<'everyone' | 'backend'>,
  retentionDays: {
    name: 'retention-days',
    kind: count,
    default: defaultConfig.retentionMs / 86_400_000,
    help: 'For how many days what happened is kept to resume from; 0 keeps it for ever. Messages themselves always stay.',
    commands: everywhere,
  } satisfies Option<number>,
  queueBytes: {
    name: 'queue-bytes',
    kind: count,
    default: defaultConfig.queueBytes,
    help: 'The most bytes that wait for one slow reader before its session ends, to resume later; 0 turns this limit off.',
    commands: everywhere,
  } satisfies Option<number>,
  queuesBytes: {
    name: 'queues-bytes',
    kind: count,
    default: defaultConfig.queuesBytes,
    help: 'The most bytes that wait for all slow readers together; then the one furthest behind goes. 0 turns this limit off.',
    commands: everywhere,
  } satisfies Option<number>,
  drainMs: {
    name: 'drain-ms',
    kind: milliseconds,
    default: defaultConfig.drainMs,
    help: 'Over how many milliseconds the sessions of a server that ends are told to come back.',
    commands: everywhere,
  } satisfies Option<number>,
  logLevel: {
    name: 'log-level',
    kind: choice(logLevels),
    default: 'info',
    help: 'How much the log tells; debug has a line for each session that comes and goes.',
    commands: everywhere,
  } satisfies Option<LogLevel>,
  metricsPort: {
    name: 'metrics-port',
    kind: optionalPort,
    default: null,
    help: 'A port for /metrics, where it needs no key; without one it is on the main port, for the API key.',
    commands: everywhere,
  } satisfies Option<number | null>,
  metricsHost: {
    name: 'metrics-host',
    kind: host,
    default: '127.0.0.1',
    help: 'Where that port is. Whoever reaches it reads the metrics.',
    commands: everywhere,
  } satisfies Option<string>,
  noLimits: {
    name: 'no-limits',
    kind: flag,
    default: false,
    help: 'Turns all limits off, for benchmarks, whatever the options below say.',
    commands: everywhere,
  } satisfies Option<boolean>,
  ...limits,
  from: {
    name: 'from',
    kind: { ...folder, show: (value) => value ?? 'what --data says' },
    default: null,
    help: 'The data folder of the embedded database that is copied.',
    commands: ['copy'],
    commandLineOnly: true,
  } satisfies Option<string | null>,
  to: {
    name: 'to',
    kind: { ...databaseUrl, show: (value) => value ?? 'what --database-url says' },
    default: null,
    help: 'The empty PostgreSQL database that it is copied into. With a password in it, FANFARE_DATABASE_URL is the better place.',
    commands: ['copy'],
    commandLineOnly: true,
    isSecret: hasPassword,
  } satisfies Option<string | null>,
  ttl: {
    name: 'ttl',
    kind: ttlSeconds,
    default: defaultTtlSeconds,
    help: 'For how many seconds the token is good.',
    commands: ['token'],
    commandLineOnly: true,
  } satisfies Option<number>,
  url: {
    name: 'url',
    kind: url,
    default: 'http://127.0.0.1:8080',
    help: 'Where the server is that is to do it.',
    commands: ['rotate', 'disconnect'],
  } satisfies Option<string>,
  revoke: {
    name: 'revoke',
    kind: flag,
    default: false,
    help: 'Logs the user out everywhere besides: his sessions end, and tokens made until now count no more.',
    commands: ['rotate'],
    commandLineOnly: true,
  } satisfies Option<boolean>,
} as const

function limit(key: keyof Limits, name: string, what: string): ServerOption<number> {
  return {
    name,
    kind: count,
    default: defaultConfig.limits[key],
    help: `The most ${what}; 0 turns this limit off.`,
    commands: everywhere,
  }
}

type Table = typeof options

/** The keys of the options that a command takes. */
export type KeyOf<C extends Command> = keyof {
  readonly [Key in keyof Table as C extends Table[Key]['commands'][number] ? Key : never]: Key
}

/** The options that a command takes, in the order of the help, each as it is with that command. */
export function optionsOf<C extends Command>(command: C): readonly (Option<unknown> & { readonly key: KeyOf<C> })[] {
  return Object.entries<Option<unknown>>(options)
    .filter(([, option]) => option.commands.includes(command))
    .map(([key, option]) => ({ ...option, ...(command === 'dev' ? option.dev : {}), key: key as KeyOf<C> }))
}

/** Every option of every command, in the order of the help. */
export const allOptions: readonly Option<unknown>[] = Object.values(options)

/** The environment variable of an option: `max-frame-bytes` is `FANFARE_MAX_FRAME_BYTES`. */
export function variableOf(option: { readonly name: string }): string {
  return `FANFARE_${option.name.toUpperCase().replaceAll('-', '_')}`
}
