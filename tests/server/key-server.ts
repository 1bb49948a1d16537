/** A server of public keys as an identity provider has one, which counts how often it is asked. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { type CryptoKey, exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'

export type Algorithm = 'RS256' | 'ES256' | 'EdDSA'

/** A pair of keys, with the public one as a JWKS has it. */
export interface SigningKey {
  readonly alg: Algorithm
  readonly privateKey: CryptoKey
  readonly publicKey: CryptoKey
  readonly jwk: JWK
}

export async function makeKey(alg: Algorithm, kid: string): Promise<SigningKey> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true })
  return { alg, privateKey, publicKey, jwk: { ...(await exportJWK(publicKey)), kid, alg, use: 'sig' } }
}

/** A token signed with the key; `header` and `claims` on top of what it would have anyway. */
export function signed({ alg, privateKey, jwk }: SigningKey, claims: object, header: object = {}): Promise<string> {
  return new SignJWT({ ...claims })
    .setProtectedHeader({ alg, typ: 'JWT', ...(jwk.kid !== undefined && { kid: jwk.kid }), ...header })
    .sign(privateKey)
}

export interface KeyServer extends AsyncDisposable {
  readonly url: string
  /** What it gives out; a test may change it. */
  keys: JWK[]
  /** How it answers; a test may give another way. */
  answer: (request: IncomingMessage, response: ServerResponse) => void
  /** The paths that it was asked for, in order. */
  readonly asked: readonly string[]
}

export async function startKeyServer(...keys: readonly SigningKey[]): Promise<KeyServer> {
  const asked: string[] = []
  const http = createServer((request, response) => {
    asked.push(request.url ?? '')
    server.answer(request, response)
  })
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const server: KeyServer = {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}`,
    keys: keys.map(({ jwk }) => jwk),
    answer: (_request, response) => {
      response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: server.keys }))
    },
    asked,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections()
      await new Promise((resolve) => http.close(resolve))
    },
  }
  return server
}
