import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { connect } from '@nats-io/transport-node'
import { describe, expect, vi } from 'vitest'
import { openNats } from '../../src/broker/nats.ts'
import { brokerContract, entry, newUser, patience, settled, taken } from '../../src/testing/broker-contract.ts'
import { natsTest, startNats } from '../../src/testing/nats.ts'
import { startNode as startProgram } from '../cli/command.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'
import { prefix, startNode } from './nats-stage.ts'

brokerContract('the NATS broker', {
  test: natsTest,
  async stage() {
    const nats = await startNats()
    return {
      open: () => openNats(nats.url, 'fanfare.test', () => {}),
      stop: () => nats.stop(),
      goOn: () => nats.start(),
      [Symbol.asyncDispose]: () => nats[Symbol.asyncDispose](),
    }
  },
})

describe('who is let in', () => {
  const config = 'authorization { users = [{ user: "fan/fare", password: "p@ss:wörd" }] }'
  const credentials = 'fan%2Ffare:p%40ss%3Aw%C3%B6rd'

  natsTest('BROKER the user and the password of the URL let the node in', async () => {
    await using nats = await startNats({ config })
    await using a = await startNode(nats.url.replace('//', `//${credentials}@`))
    expect([a.broker.connected, a.troubles]).toEqual([true, []])
  })

  natsTest('BROKER a token in the URL lets the node in', async () => {
    await using nats = await startNats({ config: 'authorization { token: "t/ken" }' })
    await using a = await startNode(nats.url.replace('//', '//t%2Fken@'))
    expect([a.broker.connected, a.troubles]).toEqual([true, []])
  })

  natsTest(
    'BROKER who is not let in starts all the same, tells why without the URL, and comes in when he is',
    async () => {
      await using nats = await startNats({ config })
      await using a = await startNode(nats.url.replace('//', '//hush:hush-hush@'))
      expect(a.broker.connected).toBe(false)
      expect(a.troubles).toEqual([
        "the broker can't be reached (Authorization Violation); until it can, what happens here reaches other nodes late",
      ])
      await nats.stop()
      await using opened = await startNats({ port: nats.port })
      await vi.waitFor(() => expect(a.broker.connected).toBe(true), patience)
      expect(a.interruptions).toBe(1)
      expect(opened.port).toBe(nats.port)
    },
  )

  natsTest('BROKER a node that is let in but may not listen says so, and that it is not connected', async () => {
    await using nats = await startNats({
      config: 'authorization { users = [{ user: a, password: a, permissions: { subscribe: { deny: ">" } } }] }',
    })
    await using a = await startNode(nats.url.replace('//', '//a:a@'))
    await vi.waitFor(() => expect(a.troubles).not.toEqual([]), patience)
    expect(a.troubles).toEqual([`the broker complains: Permissions Violation for Subscription to "${prefix}.all"`])
    expect(a.broker.connected).toBe(false)
  })

  natsTest('BROKER a node that may not publish says so once, and not for each topic', async () => {
    await using nats = await startNats({
      config: 'authorization { users = [{ user: a, password: a, permissions: { publish: { deny: ">" } } }] }',
    })
    await using a = await startNode(nats.url.replace('//', '//a:a@'))
    a.broker.publish(entry(1), [newUser(), newUser(), newUser()])
    a.broker.publish(entry(2), null)
    await vi.waitFor(() => expect(a.troubles).toHaveLength(2), patience)
    expect(a.troubles).toEqual([
      `the broker complains: Permissions Violation for Publish to "${prefix}.topic.*"`,
      `the broker complains: Permissions Violation for Publish to "${prefix}.all"`,
    ])
  })
})

natsTest('BROKER of several servers one that is there is enough', async () => {
  await using nats = await startNats()
  await using gone = await startNats()
  await gone.stop()
  await using a = await startNode(`${gone.url}, ${nats.url}`)
  await using b = await startNode(`${nats.url},${gone.url}`)
  expect([a.troubles, b.troubles]).toEqual([[], []])
  a.broker.publish(entry(1), null)
  expect(await taken(b, 1)).toEqual([entry(1)])
})

natsTest('BROKER nodes of different prefixes on one server hear nothing of each other', async () => {
  await using nats = await startNats()
  await using a = await startNode(nats.url, 'fanfare.one')
  await using b = await startNode(nats.url, 'fanfare.one')
  await using other = await startNode(nats.url, 'fanfare.other')
  const user = newUser()
  for (const { broker } of [b, other]) broker.subscribe(user)
  await settled(b, a)
  a.broker.publish(entry(1), [user])
  a.broker.publish(entry(2), null)
  expect(await taken(b, 2)).toEqual([entry(1), entry(2)])
  await using end = await startNode(nats.url, 'fanfare.other')
  end.broker.publish(entry(3), null)
  expect(await taken(other, 1)).toEqual([entry(3)])
})

natsTest('BROKER no subject shows a name', async () => {
  await using nats = await startNats()
  await using spy = await connect({ servers: [`127.0.0.1:${nats.port}`] })
  const subjects: string[] = []
  spy.subscribe('>', { callback: (_, { subject }) => void subjects.push(subject) })
  await spy.flush()
  await using a = await startNode(nats.url)
  for (const topic of ['user/alice', 'user/bob', 'conversation/x'] as const) a.broker.publish(entry(1), [topic])
  a.broker.publish(entry(2), null)
  await vi.waitFor(() => expect(subjects).toHaveLength(4), patience)
  for (const subject of subjects) expect(subject).toMatch(/^fanfare\.test\.(topic\.[\w-]{22}|all)$/)
  expect(new Set(subjects).size).toBe(4)
})

natsTest('BROKER what no node has sent is left out, and told once', async () => {
  await using nats = await startNats()
  await using a = await startNode(nats.url)
  await using b = await startNode(nats.url)
  await using stranger = await connect({ servers: [`127.0.0.1:${nats.port}`] })
  const entryText = JSON.stringify(entry(1))
  const payloads: readonly (string | Uint8Array)[] = [
    '',
    '\n',
    'hello',
    entryText,
    `\n${entryText}`,
    `node\n${entryText}`,
    `node 0\n${entryText}`,
    `node 1.5\n${entryText}`,
    `${'n'.repeat(33)} 1\n${entryText}`,
    `node 1 \n${entryText}`,
    ...[
      '',
      '{',
      'null',
      '[]',
      '{}',
      '{"kind":"shutdown"}',
      '{"kind":"__proto__"}',
      '{"kind":"entry"}',
      entryText.replace('"position":1', '"position":"1"'),
      entryText.replace('"recipients":[]', '"recipients":["alice"]'),
      entryText.replace('"recipients":[]', '"recipients":{"conversation":"conversation/x","version":1}'),
      entryText.replace('"endsTyping":null', '"endsTyping":{"conversation":null}'),
      '{"kind":"disconnect","user":"conversation/x"}',
      '{"kind":"who_types","conversation":"user/alice"}',
      '{"kind":"finished","conversation":"conversation/01890a5d-ac96-774b-bcce-b302099a8057"}',
      '{"kind":"typing","conversation":"conversation/01890a5d-ac96-774b-bcce-b302099a8057","node":"n","leases":[{}]}',
    ].map((text, index) => `stranger ${index + 1}\n${text}`),
    Buffer.from(`bytes 1\n${entryText.replace('create', 'cr\xffate')}`, 'latin1'),
    new Uint8Array(100_000),
  ]
  for (const payload of payloads) stranger.publish(`${prefix}.all`, payload)
  await stranger.flush()
  a.broker.publish(entry(2), null)
  expect(await taken(b, 1)).toEqual([entry(2)])
  expect(b.troubles).toEqual(['the broker brings what no node of this version has sent, and that is left out'])
  expect([b.broker.connected, b.interruptions]).toEqual([true, 0])
})

natsTest('BROKER copies are known of the 1,000 nodes that were heard of last', async () => {
  await using nats = await startNats()
  await using a = await startNode(nats.url)
  await using others = await connect({ servers: [`127.0.0.1:${nats.port}`] })
  const say = (node: number, number: number) =>
    others.publish(`${prefix}.all`, `n${node} ${number}\n${JSON.stringify(entry(node))}`)
  for (let node = 0; node < 1_000; node++) say(node, 1)
  say(0, 2)
  say(1_000, 1)
  const before = await taken(a, 1_002)
  expect(before).toHaveLength(1_002)
  say(0, 2)
  say(2, 1)
  say(1_000, 1)
  // The one that has been quiet for longest is forgotten.
  say(1, 1)
  expect(await taken(a, 1)).toEqual([entry(1)])
})

natsTest('BROKER a publication with keys of a later version is taken without them', async () => {
  await using nats = await startNats()
  await using a = await startNode(nats.url)
  await using later = await connect({ servers: [`127.0.0.1:${nats.port}`] })
  later.publish(`${prefix}.all`, `later 1\n${JSON.stringify({ ...entry(1), colour: 'red' })}`)
  expect(await taken(a, 1)).toEqual([entry(1)])
})

describe('TLS', () => {
  natsTest('BROKER tls:// takes no server without TLS', async () => {
    await using nats = await startNats()
    await using a = await startNode(nats.url.replace('nats:', 'tls:'))
    expect(a.broker.connected).toBe(false)
    expect(a.troubles).toEqual([expect.stringContaining("(server does not support 'tls')")])
  })

  natsTest(
    'BROKER tls:// takes a server by a certificate of an authority that this node trusts, and no other',
    async () => {
      using folder = temporaryFolder()
      const [key, certificate] = [folder.in('key.pem'), folder.in('cert.pem')]
      const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
      const files = ['-keyout', key, '-out', certificate]
      execFileSync(
        'openssl',
        ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', ...subject, ...files],
        {
          stdio: 'ignore',
        },
      )
      await using nats = await startNats({ config: `tls { cert_file: "${certificate}", key_file: "${key}" }` })
      const url = `tls://localhost:${nats.port}`
      await using stranger = await startNode(url)
      expect(stranger.broker.connected).toBe(false)
      expect(stranger.troubles).toEqual([expect.stringContaining('(DEPTH_ZERO_SELF_SIGNED_CERT)')])
      const trusted = getCACertificates()
      setDefaultCACertificates([...trusted, readFileSync(certificate, 'utf8')])
      try {
        await using node = await startNode(url)
        expect([node.broker.connected, node.troubles]).toEqual([true, []])
      } finally {
        setDefaultCACertificates(trusted)
      }
    },
  )
})

natsTest(
  'BROKER a node that was closed keeps its process from ending no longer, be there a server or not',
  async () => {
    await using nats = await startNats()
    await using gone = await startNats()
    await gone.stop()
    const module = new URL('../../src/broker/nats.ts', import.meta.url).href
    for (const url of [nats.url, gone.url]) {
      const script = `const { openNats } = await import(${JSON.stringify(module)})
      const broker = openNats(${JSON.stringify(url)}, 'fanfare.test', () => {})
      await broker.start(() => {}, () => {})
      console.log(broker.connected)
      await broker.close()`
      await using program = startProgram(['--input-type=module', '--eval', script])
      expect(await program.ended).toEqual({ code: 0, stdout: `${url === nats.url}\n`, stderr: '' })
    }
  },
)
