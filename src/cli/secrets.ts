/**
 * The two secrets. They come from the environment or from a file that the environment names, never from the command line. Where
 * one is not given, a random one is made once and kept in the data folder, for its owner's eyes only. Neither is ever printed.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { closeSync, fsyncSync, linkSync, openSync, rmSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { OperatorError } from '../engine/operator-error.ts'
import { shortestSecretBytes } from '../engine/token-limits.ts'
import { type Environment, type GivenSecret, readGivenSecret, readText, unreadable } from './environment.ts'
import { codeOf } from './error-code.ts'
import { syncToDisk } from './sync-to-disk.ts'

export interface Secret {
  /** The variable that holds it. The one that names a file with it is the same with `_FILE` behind. */
  readonly variable: string
  /** The file in the data folder that keeps it where neither variable is set. */
  readonly file: string
  readonly help: string
  /** What is wrong with a given one, as the end of a sentence, or null. */
  flaw(secret: string): string | null
}

export const secrets = {
  tokenSecret: {
    variable: 'FANFARE_TOKEN_SECRET',
    file: 'token-secret',
    help: `What the application's backend signs its users' tokens with (HS256): ${shortestSecretBytes} bytes or more.`,
    flaw(secret) {
      const bytes = Buffer.byteLength(secret)
      return bytes < shortestSecretBytes ? `has ${bytes} bytes, and needs ${shortestSecretBytes} or more` : null
    },
  },
  apiKey: {
    variable: 'FANFARE_API_KEY',
    file: 'api-key',
    help: "What the application's backend shows when it calls the server itself: visible ASCII characters. Several with commas or lines.",
    flaw(secret) {
      const keys = keysIn(secret)
      return keys.length > 0 && keys.every((key) => /^[!-~]+$/.test(key))
        ? null
        : 'is empty, or has other characters than visible ASCII'
    },
  },
} satisfies Record<string, Secret>

/** The secret that the environment gives, or that the data folder keeps; where there is none, a new one, kept from now on. */
export function readSecret(secret: Secret, dataFolder: string, environment: Environment): string {
  const path = join(dataFolder, secret.file)
  return checked(secret, findSecret(secret, dataFolder, environment) ?? kept(path, keep(path)))
}

/** The secret that the environment gives, or null; what the data folder keeps counts as little as what was never made. */
export function readSecretIfGiven(secret: Secret, environment: Environment): string | null {
  const found = readGivenSecret(secret.variable, environment)
  return found && checked(secret, found)
}

/** The same as `readSecret` where a server must have it already: none is made. */
export function readMadeSecret(secret: Secret, dataFolder: string, environment: Environment): string {
  const made = findSecret(secret, dataFolder, environment)
  if (made) return checked(secret, made)
  throw new OperatorError(
    `there is no secret in ${join(dataFolder, secret.file)}: name the server's data folder with --data, or set ${secret.variable}`,
  )
}

export interface FoundSecret extends GivenSecret {
  /** The file in the data folder that keeps it, where one does. */
  readonly path?: string
}

/** The secret as it is, good or not; null where none was made yet. */
export function findSecret(secret: Secret, dataFolder: string, environment: Environment): FoundSecret | null {
  const given = readGivenSecret(secret.variable, environment)
  if (given) return given
  const path = join(dataFolder, secret.file)
  const text = readKept(path)
  return text === null ? null : kept(path, text)
}

/** The keys that stand in one text, parted by commas or line ends: any of them is good, so that one can be replaced without a break. */
export function keysIn(text: string): string[] {
  return text
    .split(/[,\n]/)
    .map((key) => key.trim())
    .filter((key) => key !== '')
}

function checked({ flaw }: Secret, { text, source, remedy }: GivenSecret): string {
  const wrong = flaw(text)
  if (wrong) throw new OperatorError(`${source} ${wrong}; ${remedy}`)
  return text
}

function kept(path: string, text: string): FoundSecret {
  return {
    text,
    source: path,
    remedy: 'put the right one back, or delete it to have a new one made, which ends whatever relies on the old one',
    path,
  }
}

function readKept(path: string): string | null {
  try {
    return readText(path)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return null
    throw new OperatorError(`${path} can't be read (${unreadable(error)}); let the server's user read it`)
  }
}

/**
 * Makes a random secret and keeps it at `path`. The file gets its name only when it is whole and on disk, so a crash leaves
 * all of it or nothing; and where another process was faster, its secret counts.
 */
function keep(path: string): string {
  const secret = randomBytes(32).toString('base64url')
  const draft = `${path}.${randomUUID()}.new`
  try {
    writeDurably(draft, secret)
    linkSync(draft, path)
    syncToDisk(dirname(path))
    return secret
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return readText(path)
    throw new OperatorError(
      `no secret can be kept at ${path} (${unreadable(error)}); make the folder writable, or set the secret in the environment`,
    )
  } finally {
    rmSync(draft, { force: true })
  }
}

function writeDurably(path: string, text: string): void {
  const file = openSync(path, 'wx', 0o600)
  try {
    writeSync(file, text)
    fsyncSync(file)
  } finally {
    closeSync(file)
  }
}
