/** The kinds of value that an option can take: how each is read from text, shown in the help, and explained in an error. */
import { readNatsAddress } from '../broker/nats-address.ts'
import { longestTtlSeconds } from '../engine/token-limits.ts'
import { isUserId, type UserId } from '../protocol/ids.ts'
import { isDatabaseUrl } from '../storage/postgres/url.ts'
import { isAddressOrNetwork } from '../transport/address.ts'

export interface Kind<Value> {
  /** What stands for the value in the help: `PORT`. A flag has none. */
  readonly placeholder: string | null
  /** What is taken, as the end of a sentence: `a port from 0 to 65535`. */
  readonly takes: string
  /** Whether giving it again adds to it. Elsewhere the last one counts. */
  readonly repeatable: boolean
  /** The value that `text` means, or undefined where it means none. */
  read(text: string): Value | undefined
  /** A value as the help shows it. */
  show(value: Value): string
}

export const host: Kind<string> = {
  placeholder: 'HOST',
  takes: 'a host name or an IP address',
  repeatable: false,
  read: (text) => (/^[^\s/]+$/.test(text) ? text : undefined),
  show: String,
}

const loopbackHosts = ['127.0.0.1', '::1', 'localhost']

/** The hosts by which the demo page lets itself be called. */
export const loopbackHost: Kind<string> = {
  ...host,
  takes: `a host that only this machine can reach (${loopbackHosts.join(', ')}), since dev gives tokens to whoever asks`,
  read: (text) => (loopbackHosts.includes(text) ? text : undefined),
}

export const folder: Kind<string> = {
  placeholder: 'FOLDER',
  takes: 'the path of a folder',
  repeatable: false,
  read: (text) => (text === '' || text.includes('\0') ? undefined : text),
  show: String,
}

export const file: Kind<string> = { ...folder, placeholder: 'FILE', takes: 'the path of a file that is not there yet' }

/** A file that is there already; none unless it is given. */
export const optionalFile: Kind<string | null> = {
  ...file,
  takes: 'the path of a file',
  show: (value) => value ?? 'none',
}

export const user: Kind<UserId> = {
  placeholder: 'USER',
  takes: "a user's id, with or without user/ before it: 1–128 of A–Z a–z 0–9 _ . @ : ~ -",
  repeatable: false,
  read(text) {
    const id = text.startsWith('user/') ? text : `user/${text}`
    return isUserId(id) ? id : undefined
  },
  show: String,
}

export const url: Kind<string> = {
  placeholder: 'URL',
  takes: 'the address of a server, such as https://chat.example.com',
  repeatable: false,
  read(text) {
    if (!/^https?:\/\/[^\s@?#]+$/.test(text) || !URL.canParse(text)) return undefined
    return text.replace(/\/+$/, '')
  },
  show: String,
}

export const port: Kind<number> = {
  placeholder: 'PORT',
  takes: 'a port from 0 to 65535',
  repeatable: false,
  read: (text) => wholeNumber(text, 65_535),
  show: String,
}

/** A port where something more may listen; none unless it is given. */
export const optionalPort: Kind<number | null> = { ...port, show: (value) => (value === null ? 'none' : String(value)) }

export const count: Kind<number> = {
  placeholder: 'N',
  takes: 'a whole number, where 0 means no limit',
  repeatable: false,
  read: (text) => wholeNumber(text, Number.MAX_SAFE_INTEGER),
  show: String,
}

export const milliseconds: Kind<number> = {
  placeholder: 'MS',
  takes: 'a whole number of milliseconds',
  repeatable: false,
  read: (text) => wholeNumber(text, 86_400_000),
  show: String,
}

/** How long a token lives. */
export const ttlSeconds: Kind<number> = {
  placeholder: 'SECONDS',
  takes: `a whole number of seconds from 1 to ${longestTtlSeconds}, which is a year`,
  repeatable: false,
  read: (text) => wholeNumber(text, longestTtlSeconds) || undefined,
  show: String,
}

function wholeNumber(text: string, highest: number): number | undefined {
  const number = Number(text)
  return /^\d+$/.test(text) && number <= highest ? number : undefined
}

/** On the command line its bare name turns it on; `--name=0` turns off what the environment has turned on. */
export const flag: Kind<boolean> = {
  placeholder: null,
  takes: '1 or 0 (on or off)',
  repeatable: false,
  read: (text) => flagWords.get(text),
  show: (value) => (value ? 'on' : 'off'),
}

const flagWords = new Map([
  ['1', true],
  ['true', true],
  ['on', true],
  ['0', false],
  ['false', false],
  ['off', false],
])

export const natsUrl: Kind<string | null> = {
  placeholder: 'URL',
  takes: 'nats://HOST:PORT or tls://HOST:PORT, several with commas, and before a host perhaps USER:PASSWORD@ or TOKEN@',
  repeatable: true,
  read: (text) => (readNatsAddress(text) ? text : undefined),
  show: (value) => value ?? 'none',
}

export const databaseUrl: Kind<string | null> = {
  placeholder: 'URL',
  takes: 'postgres://USER:PASSWORD@HOST:5432/DATABASE, where what can be left out is as PostgreSQL has it',
  repeatable: false,
  read: (text) => (isDatabaseUrl(text) ? text : undefined),
  show: (value) => value ?? 'none',
}

export const origins: Kind<readonly string[]> = {
  placeholder: 'ORIGINS',
  takes:
    'origins as a browser sends them, such as https://chat.example.com: no path, no capitals, no *, no usual port; several with commas',
  repeatable: true,
  read(text) {
    const list = listed(text)
    return list.every(isOrigin) ? list : undefined
  },
  show: (value) => (value.length === 0 ? 'none' : value.join(',')),
}

/** What stands between commas. */
function listed(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

/** Whether a browser could send just this. One that it would send otherwise could never match, and nobody would be told. */
function isOrigin(text: string): boolean {
  // Applications in a shell of their own have origins such as capacitor://localhost, which `URL` knows no origin of.
  if (!/^[a-z][a-z0-9+.-]*:\/\/[^\s/?#@*]+$/.test(text) || !URL.canParse(text)) return false
  return /^https?:/.test(text) ? new URL(text).origin === text : true
}

/** The address of a page with keys: over TLS, or where nobody is in between. Nothing of it may be secret, for it is shown. */
export const keysUrl: Kind<string | null> = {
  placeholder: 'URL',
  takes: 'an http or https URL without a user or a fragment, such as https://auth.example.com/.well-known/jwks.json',
  repeatable: false,
  read(text) {
    const url = URL.canParse(text) ? new URL(text) : null
    return url && /^https?:$/.test(url.protocol) && !url.username && !url.password && !/[#\s]/.test(text)
      ? text
      : undefined
  },
  show: (value) => value ?? 'none',
}

/** What a claim of a token says. */
export const claim: Kind<string | null> = {
  placeholder: 'TEXT',
  takes: 'a text, such as https://auth.example.com/',
  repeatable: false,
  read: (text) => (/^[^\p{Cc}]+$/u.test(text) ? text : undefined),
  show: (value) => value ?? 'any',
}

export const claims: Kind<readonly string[]> = {
  placeholder: 'TEXTS',
  takes: 'one or more texts, parted by commas',
  repeatable: true,
  read(text) {
    const list = listed(text)
    return list.length > 0 && !/\p{Cc}/u.test(text) ? list : undefined
  },
  show: (value) => (value.length === 0 ? 'any' : value.join(',')),
}

export const proxies: Kind<readonly string[]> = {
  placeholder: 'ADDRESSES',
  takes: 'IP addresses, or networks such as 10.0.0.0/8, parted by commas',
  repeatable: true,
  read(text) {
    const list = listed(text)
    return list.every(isAddressOrNetwork) ? list : undefined
  },
  show: (value) => (value.length === 0 ? 'none' : value.join(',')),
}

export function choice<const Word extends string>(words: readonly Word[]): Kind<Word> {
  return {
    placeholder: words.join('|'),
    takes: words.join(' or '),
    repeatable: false,
    read: (text) => words.find((word) => word === text),
    show: String,
  }
}
