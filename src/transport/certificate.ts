/** The certificate that the server shows, and its key: two files that somebody renews. */
import { X509Certificate } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { createSecureContext } from 'node:tls'
import { OperatorError } from '../engine/operator-error.ts'

/** Paths of PEM files. The certificate's has those of its issuers behind it. */
export interface CertificateFiles {
  readonly cert: string
  readonly key: string
}

/** What a server of HTTPS is given. */
export interface Credentials {
  readonly cert: Buffer
  readonly key: Buffer
}

export class Certificate {
  readonly #files: CertificateFiles
  #seen: string
  #credentials: Credentials

  /** Reads both. Throws an `OperatorError` where one can't be read, is no PEM, or they don't belong together. */
  constructor(files: CertificateFiles) {
    this.#files = files
    this.#seen = marks(files)
    this.#credentials = read(files)
  }

  get credentials(): Credentials {
    return this.#credentials
  }

  /** Until when it is good. */
  get expiresAt(): Date {
    return new X509Certificate(this.#credentials.cert).validToDate
  }

  /**
   * Reads both again if the files have changed since they were read, and says whether they had. Throws as the constructor does, for whoever
   * renews them may have written only one yet; then what was read before still holds, and the next call tries again.
   */
  renew(): boolean {
    const seen = marks(this.#files)
    if (seen === this.#seen) return false
    this.#credentials = read(this.#files)
    this.#seen = seen
    return true
  }
}

/** What changes when a file does, or when a link to it leads elsewhere. */
function marks({ cert, key }: CertificateFiles): string {
  return [cert, key]
    .map((file) => {
      const status = statSync(file, { throwIfNoEntry: false })
      return status ? `${status.ino} ${status.size} ${status.mtimeMs}` : 'none'
    })
    .join()
}

function read({ cert, key }: CertificateFiles): Credentials {
  const credentials = { cert: readOne(cert, '--tls-cert'), key: readOne(key, '--tls-key') }
  try {
    createSecureContext(credentials)
    return credentials
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new OperatorError(
      `${cert} and ${key} are no certificate with its key (${reason}); give two PEM files that belong together`,
    )
  }
}

function readOne(file: string, option: string): Buffer {
  try {
    return readFileSync(file)
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    throw new OperatorError(
      `${option} names ${file}, which can't be read (${code}); name a file that this user may read`,
    )
  }
}
