/** Where the NATS servers are, and what one shows them to be let in: from the text that an operator gives. */

export interface NatsAddress {
  /** `HOST:PORT` of each server of one cluster. */
  readonly servers: readonly string[]
  /** Whether no connection without TLS will do. */
  readonly tls: boolean
  readonly credentials: { readonly user: string; readonly pass: string } | { readonly token: string } | null
}

const usualPort = 4222

/**
 * Reads `nats://HOST:PORT`, or several with commas. `tls://` demands TLS. `USER:PASSWORD@` or `TOKEN@` before the host lets one in, and
 * is the same for all, be it said once or each time. Null where the text is no such address.
 */
export function readNatsAddress(text: string): NatsAddress | null {
  const urls = text.split(',').map((part) => readUrl(part.trim()))
  if (!urls.every((url) => url !== null)) return null
  const schemes = new Set(urls.map(({ protocol }) => protocol))
  const users = new Map(urls.filter(hasUser).map((url) => [`${url.username}:${url.password}`, url]))
  if (schemes.size > 1 || users.size > 1) return null
  const [somebody] = users.values()
  return {
    servers: urls.map(({ hostname, port }) => `${hostname}:${port || usualPort}`),
    tls: schemes.has('tls:'),
    credentials: somebody ? credentialsOf(somebody) : null,
  }
}

function readUrl(text: string): URL | null {
  const url = /^(nats|tls):\/\/[^\s\\]+$/.test(text) ? URL.parse(text) : null
  const isBare = url?.hostname && /^\/?$/.test(url.pathname) && url.search === '' && url.hash === ''
  // A password without a user would be nobody's.
  return url && isBare && (hasUser(url) || url.password === '') && isDecodable(url) ? url : null
}

function hasUser({ username }: URL): boolean {
  return username !== ''
}

function isDecodable(url: URL): boolean {
  try {
    return credentialsOf(url) !== null
  } catch {
    return false
  }
}

function credentialsOf({ username, password }: URL): NatsAddress['credentials'] {
  const user = decodeURIComponent(username)
  return password === '' ? { token: user } : { user, pass: decodeURIComponent(password) }
}
