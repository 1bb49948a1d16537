/** Which tokens prove who one is, and which prove nothing (S2). Each is tried on a session and over HTTP. */
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { EncryptJWT, SignJWT, UnsecuredJWT } from 'jose'
import { describe, expect, it } from 'vitest'
import { FakeClock } from '../../src/testing/clock.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { connecting, expectRefused, expectTaken } from './tokens-stage.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const base64url = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('how a token is signed', () => {
  it('S2 only HS256 with the shared secret counts', async () => {
    const clock = new FakeClock()
    await using server = await startServer({ clock })
    const now = clock.now() / 1000
    const claims = { sub: 'alice', iat: now, exp: now + 3_600 }
    const secret = bytes(server.tokenSecret)
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2_048 })
    const elliptic = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const edwards = generateKeyPairSync('ed25519')
    const sign = (header: { alg: string }, key: Parameters<SignJWT['sign']>[0]) =>
      new SignJWT(claims).setProtectedHeader(header).sign(key)
    const good = await sign({ alg: 'HS256' }, secret)
    const [head, payload, signature] = good.split('.') as [string, string, string]
    const unsigned = (header: object) => `${base64url(header)}.${payload}`
    const hmac = (header: object, key: string | Uint8Array) =>
      `${unsigned(header)}.${createHmac('sha256', key).update(unsigned(header)).digest('base64url')}`
    await expectTaken(server, good, 'as it should be')
    for (const typ of ['JWT', 'jwt', 'at+jwt', 'application/at+jwt', 'application/JWT']) {
      await expectTaken(server, hmac({ alg: 'HS256', typ }, secret), `the typ ${typ}`)
    }

    const pem = publicKey.export({ type: 'spki', format: 'pem' }) as string
    const refused: { [what: string]: string } = {
      'alg none': new UnsecuredJWT(claims).encode(),
      'alg None, with the signature': `${unsigned({ alg: 'None' })}.${signature}`,
      'alg none, with the signature': `${unsigned({ alg: 'none' })}.${signature}`,
      'no alg': hmac({ typ: 'JWT' }, secret),
      'alg in small letters': hmac({ alg: 'hs256' }, secret),
      HS384: await sign({ alg: 'HS384' }, secret),
      HS512: await sign({ alg: 'HS512' }, secret),
      RS256: await sign({ alg: 'RS256' }, privateKey),
      PS256: await sign({ alg: 'PS256' }, privateKey),
      ES256: await sign({ alg: 'ES256' }, elliptic.privateKey),
      EdDSA: await sign({ alg: 'EdDSA' }, edwards.privateKey),
      'RS256 in name, HMAC in truth': hmac({ alg: 'RS256' }, secret),
      'HS256 with a public key': hmac({ alg: 'HS256' }, pem),
      'HS256 with a key of its own header': hmac(
        { alg: 'HS256', jwk: { kty: 'oct', k: Buffer.alloc(32, 1).toString('base64url') } },
        Buffer.alloc(32, 1),
      ),
      'another secret': await sign({ alg: 'HS256' }, bytes('another-secret-of-32-bytes-or-more')),
      'the secret and a letter': await sign({ alg: 'HS256' }, bytes(`${server.tokenSecret}x`)),
      'the API key as the secret': await sign({ alg: 'HS256' }, bytes(server.apiKey.padEnd(32, '\0'))),
      'an unknown critical header': hmac({ alg: 'HS256', crit: ['x'], x: 1 }, secret),
      'a typ of another kind': hmac({ alg: 'HS256', typ: 'logout+jwt' }, secret),
      'a typ within another': hmac({ alg: 'HS256', typ: 'text/jwt' }, secret),
      'an empty typ': hmac({ alg: 'HS256', typ: '' }, secret),
      'a typ that is a number': hmac({ alg: 'HS256', typ: 7 }, secret),
      'a typ that is null': hmac({ alg: 'HS256', typ: null }, secret),
      'encrypted only': await new EncryptJWT(claims)
        .setProtectedHeader({ alg: 'dir', enc: 'A128CBC-HS256' })
        .encrypt(secret.slice(0, 32)),
      'another payload': `${head}.${base64url({ ...claims, sub: 'bob' })}.${signature}`,
      'another signature': `${head}.${payload}.${signature.replace(/^./, (first) => (first === 'A' ? 'B' : 'A'))}`,
      'no signature': `${head}.${payload}.`,
      'two parts': `${head}.${payload}`,
      'four parts': `${good}.x`,
    }
    for (const [what, token] of Object.entries(refused)) await expectRefused(server, token, what)
  })

  it('S2 what is no JWT at all is refused as well', async () => {
    await using server = await startServer()
    const good = await server.token('alice')
    const odd = ['\0', '\ud800', `${good}\0`, `\0${good}`, `${good}\udfff`, good.replaceAll('.', '.\ud800')]
    for (const token of ['x', '.', '..', 'a.b.c', '....', '{}', server.apiKey, 'é', 'x'.repeat(60_000), ...odd]) {
      expect([token.slice(0, 20), ...(await connecting(server, token))]).toEqual([
        token.slice(0, 20),
        'unauthorized',
        '4401 unauthorized',
      ])
    }
    expect(await connecting(server, '')).toEqual(['unauthorized', '4401 unauthorized'])
  })
})

describe('what a token claims', () => {
  it('S2 sub, exp and iat are required, of the right kind, and now', async () => {
    const clock = new FakeClock()
    await using server = await startServer({ clock })
    const now = clock.now() / 1000
    const taken: { [what: string]: { [claim: string]: unknown } } = {
      'iat 4 s ahead': { iat: now + 4 },
      'iat 5 s ahead': { iat: now + 5 },
      'iat of 1970': { iat: 0 },
      'a second left': { exp: now + 1 },
      'a part of a second left': { exp: now + 0.5 },
      'the last second of 9999': { exp: Date.UTC(9999, 11, 31, 23, 59, 59) / 1000 },
      'nbf that has passed': { nbf: now },
      'nbf 5 s ahead': { nbf: now + 5 },
      'claims of others': { aud: 'x', iss: ['y'], jti: 7, user: 'bob', __proto__: { sub: 'bob' } },
      'a name of each kind of character': { sub: 'A-Za.z0_9@x:y~' },
      'a name of 128 characters': { sub: 'x'.repeat(128) },
    }
    for (const [what, claims] of Object.entries(taken)) {
      await expectTaken(server, await server.token('alice', claims), what)
    }
    const refused: typeof taken = {
      'no sub': { sub: undefined },
      'no exp': { exp: undefined },
      'no iat': { iat: undefined },
      'sub null': { sub: null },
      'sub a number': { sub: 7 },
      'sub a list': { sub: ['alice'] },
      'sub empty': { sub: '' },
      'sub with its type': { sub: 'user/alice' },
      'sub with a space': { sub: 'alice ' },
      'sub with a line end': { sub: 'alice\n' },
      'sub with another alphabet': { sub: 'аlice' },
      'sub of 129 characters': { sub: 'x'.repeat(129) },
      'exp now': { exp: now },
      'exp a second ago': { exp: now - 1 },
      'exp 0': { exp: 0 },
      'exp negative': { exp: -1 },
      'exp a text': { exp: String(now + 3_600) },
      'exp null': { exp: null },
      'exp in milliseconds': { exp: (now + 3_600) * 1000 },
      'exp past all dates': { exp: 1e300 },
      'iat 6 s ahead': { iat: now + 6 },
      'iat in milliseconds': { iat: now * 1000 },
      'iat a text': { iat: String(now) },
      'iat null': { iat: null },
      'nbf 6 s ahead': { nbf: now + 6 },
      'nbf a text': { nbf: 'now' },
    }
    for (const [what, claims] of Object.entries(refused)) {
      await expectRefused(server, await server.token('alice', claims), what)
    }
  })

  it('S2 the text of the refusal says what is wrong, and never repeats the token', async () => {
    await using server = await startServer()
    const token = await server.token('alice', { exp: Date.now() })
    const headers = { authorization: `Bearer ${token}` }
    const { error } = await server.call('get_unread_count', {}, undefined, headers)
    expect(error.message).toContain('milliseconds')
    expect(error.message).not.toContain(token.slice(0, 10))
  })

  it('S2 iss and aud must be the configured ones, where some are', async () => {
    const tokenTrust = { issuer: 'https://auth.example.com/', audiences: ['chat', 'web'] }
    await using server = await startServer({ tokenTrust })
    const good = { iss: 'https://auth.example.com/', aud: 'chat' }
    const taken: { [what: string]: object } = {
      'as it should be': good,
      'the other audience': { ...good, aud: 'web' },
      'an audience among others': { ...good, aud: ['mail', 'web'] },
    }
    for (const [what, claims] of Object.entries(taken)) {
      await expectTaken(server, await server.token('alice', { ...claims }), what)
    }
    const refused: typeof taken = {
      'no iss': { aud: 'chat' },
      'another iss': { ...good, iss: 'https://auth.example.com' },
      'a list of issuers': { ...good, iss: [good.iss] },
      'no aud': { iss: good.iss },
      'another aud': { ...good, aud: 'mail' },
      'an aud that begins alike': { ...good, aud: 'chatter' },
      'other audiences': { ...good, aud: ['mail', 'Chat'] },
      'an empty list': { ...good, aud: [] },
      'audiences in one text': { ...good, aud: 'chat,web' },
    }
    for (const [what, claims] of Object.entries(refused)) {
      await expectRefused(server, await server.token('alice', { ...claims }), what)
    }
  })

  it('M8, S2 create_token makes tokens that this server takes, whatever iss and aud it asks for', async () => {
    for (const audiences of [['chat'], ['chat', 'web']]) {
      await using server = await startServer({ tokenTrust: { issuer: 'https://auth.example.com/', audiences } })
      const { token } = (await server.call('create_token', { user: 'user/alice' })).result
      await expectTaken(server, token, audiences.join())
    }
  })
})
