/** Tokens that are signed with a key of a JWKS (S2): which count, what is fetched for them and how often, and what is while nothing can be. */
import { createHmac } from 'node:crypto'
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose'
import { describe, expect, it, vi } from 'vitest'
import { FakeClock } from '../../src/testing/clock.ts'
import { connect, open } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { codeOf, refusal } from '../chat/stage.ts'
import { type KeyServer, makeKey, type SigningKey, signed, startKeyServer } from './key-server.ts'
import { calling, connecting, expectRefused, expectTaken } from './tokens-stage.ts'

const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

const algorithms = ['RS256', 'ES256', 'EdDSA'] as const

/** A server that trusts the keys of `keyServer` and no shared secret, with a clock to move; and claims that are good by it. */
async function trusting(keyServer: KeyServer, secret: string | null = null) {
  const clock = new FakeClock()
  const server = await startServer({ clock, tokenTrust: { jwksUrl: `${keyServer.url}/jwks`, secret } })
  const claims = () => ({ sub: 'alice', iat: clock.now() / 1000, exp: clock.now() / 1000 + 86_400 })
  return { server, clock, claims, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

describe('how a token is signed', () => {
  it('S2 RS256, ES256 and EdDSA tokens count, by a key of the set, and one fetch is enough for all', async () => {
    const keys = await Promise.all(algorithms.map((alg) => makeKey(alg, `key-${alg}`)))
    await using keyServer = await startKeyServer(...keys)
    await using stage = await trusting(keyServer)
    for (const key of keys) {
      await expectTaken(stage.server, await signed(key, stage.claims()), key.alg)
      await expectTaken(stage.server, await signed(key, stage.claims(), { typ: 'at+jwt' }), `${key.alg}, at+jwt`)
      // There is one key of its kind, so that its name may be left out.
      await expectTaken(stage.server, await signed(key, stage.claims(), { kid: undefined }), `${key.alg}, no kid`)
    }
    expect(keyServer.asked).toEqual(['/jwks'])
  })

  it('S2 a token of another algorithm, of another’s key, or with another payload is refused', async () => {
    const [rsa, elliptic, edwards] = (await Promise.all(algorithms.map((alg) => makeKey(alg, alg)))) as [
      SigningKey,
      SigningKey,
      SigningKey,
    ]
    await using keyServer = await startKeyServer(rsa, elliptic, edwards)
    await using stage = await trusting(keyServer)
    const claims = stage.claims()
    const good = await signed(rsa, claims)
    const [head, payload, signature] = good.split('.') as [string, string, string]
    await expectTaken(stage.server, good, 'as it should be')
    const refused: { [what: string]: string } = {
      'alg none': `${base64url({ alg: 'none', kid: 'RS256' })}.${payload}.`,
      'alg none, with the signature': `${base64url({ alg: 'none' })}.${payload}.${signature}`,
      'another payload': `${head}.${base64url({ ...claims, sub: 'bob' })}.${signature}`,
      'a wrong typ': await signed(edwards, claims, { typ: 'logout+jwt' }),
      'an expired one': await signed(edwards, { ...claims, exp: claims.iat }),
      'one that is not valid yet': await signed(edwards, { ...claims, nbf: claims.iat + 6 }),
      'HS256, with the secret that this server does not go by': await new SignJWT(claims)
        .setProtectedHeader({ alg: 'HS256' })
        .sign(new TextEncoder().encode(stage.server.tokenSecret)),
    }
    for (const alg of algorithms) {
      refused[`${alg}, by a key of the same name`] = await signed(await makeKey(alg, alg), claims)
    }
    for (const alg of ['RS384', 'RS512', 'PS256'] as const) {
      const { privateKey } = await generateKeyPair(alg, { extractable: true })
      refused[alg] = await new SignJWT(claims).setProtectedHeader({ alg, kid: 'RS256' }).sign(privateKey)
    }
    const { privateKey } = await generateKeyPair('ES384')
    refused.ES384 = await new SignJWT(claims).setProtectedHeader({ alg: 'ES384', kid: 'ES256' }).sign(privateKey)
    for (const [what, token] of Object.entries(refused)) await expectRefused(stage.server, token, what)
  })

  it('S2 a public key is no shared secret, be there a shared secret besides or not', async () => {
    const key = await makeKey('RS256', 'rsa')
    await using keyServer = await startKeyServer(key)
    const pem = await exportSPKI(key.publicKey)
    for (const secret of [null, 'another-secret-of-32-bytes-or-more']) {
      await using stage = await trusting(keyServer, secret)
      const payload = base64url(stage.claims())
      const secrets = [pem, pem.trim(), pem.replaceAll('\n', ''), key.jwk.n as string, JSON.stringify(key.jwk)]
      const bytes = Buffer.from(key.jwk.n as string, 'base64url')
      for (const [index, publicKey] of [...secrets, bytes, ''].entries()) {
        for (const header of [{ alg: 'HS256', kid: 'rsa' }, { alg: 'HS256' }, { alg: 'RS256', kid: 'rsa' }]) {
          const unsigned = `${base64url(header)}.${payload}`
          const token = `${unsigned}.${createHmac('sha256', publicKey).update(unsigned).digest('base64url')}`
          await expectRefused(stage.server, token, `${secret} ${index} ${JSON.stringify(header)}`)
        }
      }
    }
  })

  it('S2 with a JWKS HS256 tokens count where there is a token secret besides', async () => {
    const key = await makeKey('ES256', 'one')
    await using keyServer = await startKeyServer(key)
    await using stage = await trusting(keyServer, 'token-secret-of-a-test-32-bytes-long')
    const token = await stage.server.token('alice')
    await expectTaken(stage.server, token, 'HS256')
    expect(keyServer.asked).toEqual([])
    await expectTaken(stage.server, await signed(key, stage.claims()), 'ES256')
  })

  it('S2 a shared secret in the set, or a private key, is no key', async () => {
    const key = await makeKey('RS256', 'rsa')
    await using keyServer = await startKeyServer(key)
    const secret = Buffer.alloc(32, 7)
    const edwards = await makeKey('EdDSA', 'private')
    keyServer.keys = [
      key.jwk,
      { kty: 'oct', kid: 'oct', k: secret.toString('base64url'), alg: 'HS256' },
      { ...edwards.jwk, ...(await exportJWK(edwards.privateKey)) },
    ]
    await using stage = await trusting(keyServer)
    const unsigned = `${base64url({ alg: 'HS256', kid: 'oct' })}.${base64url(stage.claims())}`
    const token = `${unsigned}.${createHmac('sha256', secret).update(unsigned).digest('base64url')}`
    await expectRefused(stage.server, token, 'HS256 by the set')
    await expectRefused(stage.server, await signed(edwards, stage.claims()), 'by a private key')
    await expectTaken(stage.server, await signed(key, stage.claims()), 'the others count still')
  })

  it('S2 where several keys are of one kind a token names its own, and a wrong name is no way to another', async () => {
    const [one, other] = [await makeKey('ES256', 'one'), await makeKey('ES256', 'other')]
    await using keyServer = await startKeyServer(one, other)
    await using stage = await trusting(keyServer)
    for (const key of [one, other]) await expectTaken(stage.server, await signed(key, stage.claims()), `${key.jwk.kid}`)
    const refused = {
      'the other’s': 'other',
      'no name': undefined,
      'no text': 7,
      'a list': ['one', 'other'],
      none: null,
    }
    for (const [what, kid] of Object.entries(refused)) {
      await expectRefused(stage.server, await signed(one, stage.claims(), { kid }), what)
    }
  })
})

describe('what a header names', () => {
  it('S2 no key and no URL of a token’s header is fetched or honoured', async () => {
    const key = await makeKey('RS256', 'good')
    const evil = await makeKey('RS256', 'evil')
    await using keyServer = await startKeyServer(key)
    await using evilServer = await startKeyServer(evil)
    await using stage = await trusting(keyServer)
    const claims = stage.claims()
    const headers: object[] = [
      { jku: `${evilServer.url}/jwks` },
      { jku: `${evilServer.url}/jwks`, kid: 'good' },
      { jwk: evil.jwk },
      { jwk: evil.jwk, kid: 'good' },
      { x5u: `${evilServer.url}/certificate` },
      { x5c: [Buffer.from(await exportSPKI(evil.publicKey)).toString('base64')] },
      { kid: `${evilServer.url}/jwks` },
      { kid: '../../../../dev/null' },
      { kid: "good' OR '1'='1" },
      { kid: '__proto__' },
      { kid: 'x'.repeat(10_000) },
      { kid: 'good\0' },
      { crit: ['jku'], jku: `${evilServer.url}/jwks` },
    ]
    for (const header of headers) {
      // The signer refuses to sign what it can't honour, so what is critical is signed by hand.
      const token = 'crit' in header ? await signedAs(evil, claims, header) : await signed(evil, claims, header)
      await expectRefused(stage.server, token, JSON.stringify(header).slice(0, 80))
    }
    const own = { jku: `${evilServer.url}/jwks`, jwk: evil.jwk, x5u: `${evilServer.url}/certificate` }
    await expectTaken(stage.server, await signed(key, claims, own), 'a good one with all of them')
    expect(evilServer.asked).toEqual([])
    expect(new Set(keyServer.asked)).toEqual(new Set(['/jwks']))
  })
})

/** A token with a header that jose would not sign. */
async function signedAs({ privateKey }: SigningKey, claims: object, header: object): Promise<string> {
  const unsigned = `${base64url({ alg: 'RS256', ...header })}.${base64url(claims)}`
  const signature = await crypto.subtle.sign('RSASSA-PKCS1-v1_5', privateKey, Buffer.from(unsigned))
  return `${unsigned}.${Buffer.from(signature).toString('base64url')}`
}

describe('when keys are fetched', () => {
  it('S2 a key that came since is fetched when a token names it, and one that went counts no more', async () => {
    const [old, next] = [await makeKey('EdDSA', 'old'), await makeKey('EdDSA', 'next')]
    await using keyServer = await startKeyServer(old)
    await using stage = await trusting(keyServer)
    await expectTaken(stage.server, await signed(old, stage.claims()), 'the old key')
    stage.clock.advance(5_000)
    keyServer.keys = [next.jwk]
    await expectTaken(stage.server, await signed(next, stage.claims()), 'the next key')
    expect(keyServer.asked).toHaveLength(2)
    await expectRefused(stage.server, await signed(old, stage.claims()), 'the old key, that was taken away')
  })

  it('S2 a flood of tokens that name keys of nobody has the set fetched once in 5 s', async () => {
    const key = await makeKey('EdDSA', 'known')
    await using keyServer = await startKeyServer(key)
    await using stage = await trusting(keyServer)
    const flood = async (count: number) => {
      const tokens = Array.from({ length: count }, async (_, index) =>
        calling(stage.server, await signed(key, stage.claims(), { kid: `unknown-${index}` })),
      )
      const good = calling(stage.server, await signed(key, stage.claims()))
      expect(new Set((await Promise.all(tokens)).map(({ status }) => status))).toEqual(new Set([401]))
      expect((await good).status).toBe(200)
    }
    await flood(100)
    expect(keyServer.asked).toHaveLength(1)
    await flood(100)
    stage.clock.advance(4_999)
    await flood(10)
    expect(keyServer.asked).toHaveLength(1)
    stage.clock.advance(1)
    await flood(100)
    await flood(10)
    expect(keyServer.asked).toHaveLength(2)
  })

  it('S2 keys are fetched anew after 10 minutes, while the old ones are still gone by', async () => {
    const key = await makeKey('ES256', 'one')
    await using keyServer = await startKeyServer(key)
    await using stage = await trusting(keyServer)
    const token = await signed(key, stage.claims())
    await expectTaken(stage.server, token, 'first')
    stage.clock.advance(599_999)
    await expectTaken(stage.server, token, 'before it is time')
    expect(keyServer.asked).toHaveLength(1)
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const { answer } = keyServer
    keyServer.answer = (request, response) => void released.then(() => answer(request, response))
    keyServer.keys = []
    stage.clock.advance(1)
    await expectTaken(stage.server, token, 'while the new ones are on their way')
    release()
    await vi.waitFor(async () => expect((await calling(stage.server, token)).status).toBe(401), { timeout: 10_000 })
    expect(keyServer.asked).toHaveLength(2)
  })
})

describe('while keys can not be fetched', () => {
  it('S1 connect is unavailable and closes with 4503 and a time, for the token may be good; HTTP is told 503', async () => {
    const key = await makeKey('RS256', 'one')
    await using keyServer = await startKeyServer(key)
    const { answer } = keyServer
    await using stage = await trusting(keyServer)
    const token = await signed(key, stage.claims())
    const failures: KeyServer['answer'][] = [
      (request) => request.socket.destroy(),
      (_request, response) => response.writeHead(500).end(),
      (_request, response) => response.writeHead(302, { location: `${keyServer.url}/elsewhere` }).end(),
      (_request, response) => response.end('<html>'),
      (_request, response) => response.end('{"keys":7}'),
    ]
    for (const failure of failures) {
      keyServer.answer = failure
      const [code, ending] = await connecting(stage.server, token)
      expect(code).toBe('unavailable')
      const afterMs = Number(/^4503 draining (\d+)$/.exec(ending ?? '')?.[1])
      expect(afterMs).toBeGreaterThanOrEqual(5_000)
      expect(afterMs).toBeLessThanOrEqual(10_000)
      const { status, error, headers } = await calling(stage.server, token)
      expect([status, error.code, error.retryable]).toEqual([503, 'unavailable', true])
      expect(headers.get('retry-after')).toBe(`${Math.ceil(Number(error.details?.retry_after_ms) / 1_000)}`)
      stage.clock.advance(5_000)
    }
    // Not each failure is told, but that they began.
    const faults = stage.server.logged.filter(({ event }) => event === 'fault')
    expect(faults.map(({ doing }) => doing)).toEqual(['fetching the keys of --jwks-url'])
    expect(keyServer.asked).toEqual(failures.map(() => '/jwks'))
    keyServer.answer = answer
    await expectTaken(stage.server, token, 'when they can')
  })

  it('S2 a flood of tokens asks for them once in 5 s', async () => {
    const key = await makeKey('EdDSA', 'one')
    await using keyServer = await startKeyServer(key)
    keyServer.answer = (_request, response) => response.writeHead(503).end()
    await using stage = await trusting(keyServer)
    const token = await signed(key, stage.claims())
    for (let round = 1; round <= 3; round++) {
      const calls = Array.from({ length: 50 }, () => calling(stage.server, token))
      expect(new Set((await Promise.all(calls)).map(({ status }) => status))).toEqual(new Set([503]))
      expect((await calling(stage.server, token)).status).toBe(503)
      expect(keyServer.asked).toHaveLength(round)
      stage.clock.advance(5_000)
    }
  })

  it('S2 the keys that are there count for an hour, those that are not are unavailable, and HS256 goes on', async () => {
    const [key, next] = [await makeKey('EdDSA', 'one'), await makeKey('EdDSA', 'next')]
    await using keyServer = await startKeyServer(key)
    await using stage = await trusting(keyServer, 'token-secret-of-a-test-32-bytes-long')
    const token = await signed(key, stage.claims())
    await expectTaken(stage.server, token, 'at first')
    keyServer.answer = (_request, response) => response.writeHead(503).end()
    stage.clock.advance(3_599_999)
    await expectTaken(stage.server, token, 'for an hour')
    expect((await calling(stage.server, await signed(next, stage.claims()))).status).toBe(503)
    stage.clock.advance(1)
    expect((await calling(stage.server, token)).status).toBe(503)
    await expectTaken(stage.server, await stage.server.token('alice'), 'HS256')
  })

  it('S4 refresh_token is unavailable, and the session goes on with the token it has', async () => {
    const key = await makeKey('EdDSA', 'one')
    await using keyServer = await startKeyServer(key)
    keyServer.answer = (request) => request.socket.destroy()
    await using stage = await trusting(keyServer, 'token-secret-of-a-test-32-bytes-long')
    await using alice = await connect(stage.server, 'user/alice')
    const error = await refusal(alice.command('refresh_token', { token: await signed(key, stage.claims()) }))
    expect(error).toMatchObject({ code: 'unavailable', details: { retry_after_ms: expect.any(Number) } })
    expect(await alice.rest()).toEqual([])
  })
})

describe('what goes with a JWKS', () => {
  it('S4 refresh_token takes a token of any kind of the same user, and no other’s', async () => {
    const [rsa, edwards] = [await makeKey('RS256', 'rsa'), await makeKey('EdDSA', 'edwards')]
    await using keyServer = await startKeyServer(rsa, edwards)
    await using stage = await trusting(keyServer)
    await using alice = await open(stage.server)
    await alice.command('connect', { token: await signed(rsa, stage.claims()) })
    const claims = { ...stage.claims(), exp: stage.clock.now() / 1000 + 90_000 }
    const expires_at = new Date(claims.exp * 1000).toISOString()
    expect(await alice.command('refresh_token', { token: await signed(edwards, claims) })).toEqual({ expires_at })
    const bobs = await signed(edwards, { ...claims, sub: 'bob' })
    expect(await codeOf(alice.command('refresh_token', { token: bobs }))).toBe('unauthorized')
  })

  it('M8 create_token is forbidden where HS256 tokens do not count', async () => {
    await using keyServer = await startKeyServer()
    await using stage = await trusting(keyServer)
    const { status, error } = await stage.server.call('create_token', { user: 'user/alice' })
    expect([status, error.code]).toEqual([403, 'forbidden'])
    expect(keyServer.asked).toEqual([])
  })
})
