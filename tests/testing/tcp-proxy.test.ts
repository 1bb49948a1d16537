/** The proxy that other tests trust: each of its faults, on real connections, by a clock that stands still. */
import { once } from 'node:events'
import { type AddressInfo, createServer, connect as dial, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { FakeClock } from '../../src/testing/clock.ts'
import { type ProxyConnection, startProxy, type TcpProxy } from '../../src/testing/tcp-proxy.ts'
import { RawTcp } from '../server/raw-tcp.ts'

/** One connection through the proxy: both of its ends, and the middle. */
interface Line {
  readonly client: RawTcp
  readonly server: RawTcp
  readonly middle: ProxyConnection
}

interface Stage extends AsyncDisposable {
  readonly proxy: TcpProxy
  readonly clock: FakeClock
  line(): Promise<Line>
}

async function openStage(seed = 1): Promise<Stage> {
  const clock = new FakeClock()
  const ends: RawTcp[] = []
  const listener = createServer({ allowHalfOpen: true })
  listener.listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const proxy = await startProxy({ port: (listener.address() as AddressInfo).port, seed, clock })
  return {
    proxy,
    clock,
    async line() {
      const accepted = once(listener, 'connection') as Promise<[Socket]>
      const socket = dial({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true })
      const client = new RawTcp(socket)
      const server = new RawTcp((await accepted)[0])
      ends.push(client, server)
      await until(() => socket.readyState === 'open')
      return { client, server, middle: [...proxy.connections].at(-1) as ProxyConnection }
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      for (const end of ends) await end[Symbol.asyncDispose]()
      listener.close()
      await once(listener, 'close')
    },
  }
}

/** Until it is so; the test's own time limit is the only one. */
async function until(holds: () => boolean): Promise<void> {
  await expect.poll(holds, { timeout: 15_000, interval: 5 }).toBe(true)
}

/** Resolves when the proxy has all that `end` has written, so that what has not come through is not on its way either. */
function taken(stage: Stage, pieces: number): Promise<void> {
  return until(() => stage.clock.waiting >= pieces)
}

/** Resolves when nothing more comes to `end`. */
function heardAll({ socket }: RawTcp): Promise<void> {
  return until(() => socket.readableEnded || socket.closed)
}

/** The code of the error that a connection ended with; null where it ended properly. */
function endOf({ socket, closed }: RawTcp): Promise<string | null> {
  let code: string | null = null
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code ?? 'unknown'
  })
  return closed.then(() => code)
}

test('PROXY without faults everything comes through, both ways, and so does each side’s end', async () => {
  await using stage = await openStage()
  const { client, server, middle } = await stage.line()
  const much = 'x'.repeat(1_000_000)
  client.socket.write(`${much}.`)
  expect(await server.until('.')).toBe(`${much}.`)
  client.socket.end()
  await once(server.socket, 'end')
  server.socket.end(`${much}!`)
  expect(await client.until('!')).toBe(`${much}!`)
  await middle.closed
  expect(middle.passed('toServer')).toBe(1_000_001)
  expect(stage.proxy.connections.size).toBe(0)
})

test('PROXY a delay holds what comes back for so long, one way only', async () => {
  await using stage = await openStage()
  const { client, server } = await stage.line()
  stage.proxy.set('toServer', { delayMs: 300 })
  client.socket.write('late')
  await taken(stage, 1)
  server.socket.write('at once')
  await client.until('at once')
  stage.clock.advance(299)
  expect(server.text).toBe('')
  stage.clock.advance(1)
  expect(await server.until('late')).toBe('late')
})

test('PROXY jitter never changes the order, and the same seed draws the same', async () => {
  const arrivals = async (seed: number) => {
    await using stage = await openStage(seed)
    const { client, server, middle } = await stage.line()
    stage.proxy.set('toServer', { delayMs: 10, jitterMs: 1_000 })
    const times: number[] = []
    let begun = stage.clock.now()
    for (const letter of 'abcdef') {
      client.socket.write(letter)
      await taken(stage, 1)
      while (middle.passed('toServer') === times.length) stage.clock.advance(1)
      times.push(stage.clock.now() - begun)
      begun = stage.clock.now()
    }
    // Together they wait in line.
    for (const letter of 'ghijkl') {
      client.socket.write(letter)
      await new Promise(setImmediate)
    }
    await until(() => {
      stage.clock.advance(1_010)
      return middle.passed('toServer') === 12
    })
    expect(await server.until('l')).toBe('abcdefghijkl')
    return times
  }
  const first = await arrivals(7)
  expect(await arrivals(7)).toEqual(first)
  expect(await arrivals(8)).not.toEqual(first)
  expect(new Set(first).size).toBeGreaterThan(3)
  for (const ms of first) expect(ms).toBeGreaterThanOrEqual(10)
  for (const ms of first) expect(ms).toBeLessThanOrEqual(1_010)
})

test('PROXY a drip lets so many bytes go on in each interval', async () => {
  await using stage = await openStage()
  const { client, server, middle } = await stage.line()
  middle.set('toClient', { dripBytes: 3, dripIntervalMs: 100 })
  server.socket.write('abcdefgh')
  expect(await client.until('abc')).toBe('abc')
  stage.clock.advance(99)
  expect(middle.passed('toClient')).toBe(3)
  stage.clock.advance(1)
  expect(await client.until('def')).toBe('abcdef')
  middle.set('toClient', { dripBytes: Number.POSITIVE_INFINITY })
  stage.clock.advance(100)
  expect(await client.until('h')).toBe('abcdefgh')
})

test('PROXY who drips makes the sender wait, as a slow reader does', async () => {
  await using stage = await openStage()
  const { server, middle } = await stage.line()
  middle.set('toClient', { dripBytes: 1, dripIntervalMs: 1_000 })
  while (server.socket.write(Buffer.alloc(1_000_000))) await new Promise(setImmediate)
  for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
  expect(server.socket.writableLength).toBeGreaterThan(0)
  expect(middle.passed('toClient')).toBe(1)
})

test('PROXY a connection is cut in the middle of a piece, after exactly so many bytes', async () => {
  await using stage = await openStage()
  stage.proxy.set('toClient', { cutAfterBytes: 5 })
  const { client, server } = await stage.line()
  server.socket.write('abc')
  await client.until('abc')
  server.socket.write('defg')
  await heardAll(client)
  await heardAll(server)
  expect(client.text).toBe('abcde')
})

test('PROXY a cut ends all connections, and the next one is whole', async () => {
  await using stage = await openStage()
  const lines = [await stage.line(), await stage.line()]
  stage.proxy.cut()
  for (const { client, server } of lines) {
    await heardAll(client)
    await heardAll(server)
  }
  const { client, server } = await stage.line()
  client.socket.write('whole')
  expect(await server.until('whole')).toBe('whole')
})

test('PROXY one connection is cut and the others go on', async () => {
  await using stage = await openStage()
  const one = await stage.line()
  const other = await stage.line()
  one.middle.cut()
  await heardAll(one.client)
  await heardAll(one.server)
  other.client.socket.write('goes on')
  expect(await other.server.until('goes on')).toBe('goes on')
})

test('PROXY what is silent one way says nothing there and stays, and all comes when it ends', async () => {
  await using stage = await openStage()
  const { client, server, middle } = await stage.line()
  middle.set('toServer', { silent: true })
  client.socket.write('unheard')
  server.socket.write('heard')
  await client.until('heard')
  client.socket.end()
  server.socket.write('still')
  await client.until('still')
  for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
  expect(server.text).toBe('')
  expect(server.socket.readyState).toBe('open')
  middle.set('toServer', { silent: false })
  await once(server.socket, 'end')
  expect(server.text).toBe('unheard')
})

test('PROXY who is half-open hears not even that the other side is gone', async () => {
  await using stage = await openStage()
  const { client, server, middle } = await stage.line()
  stage.proxy.set('both', { silent: true })
  server.socket.resetAndDestroy()
  await server.closed
  client.socket.write('anybody there?')
  for (let turn = 0; turn < 100; turn++) await new Promise(setImmediate)
  expect(client.socket.readyState).toBe('open')
  middle.set('both', { silent: false })
  expect(await endOf(client)).toBe('ECONNRESET')
})

test('PROXY a reset is one for both sides', async () => {
  await using stage = await openStage()
  const { client, server } = await stage.line()
  const ends = Promise.all([endOf(client), endOf(server)])
  stage.proxy.reset()
  expect(await ends).toEqual(['ECONNRESET', 'ECONNRESET'])
})

test('PROXY a reset by one side is one for the other', async () => {
  await using stage = await openStage()
  const { client, server } = await stage.line()
  const end = endOf(client)
  server.socket.resetAndDestroy()
  expect(await end).toBe('ECONNRESET')
})

test('PROXY while it refuses nobody comes in, who is in stays, and later it listens on the same port', async () => {
  await using stage = await openStage()
  const inside = await stage.line()
  const { port } = stage.proxy
  stage.proxy.refuse()
  expect(await endOf(new RawTcp(dial(port, '127.0.0.1')))).toBe('ECONNREFUSED')
  inside.client.socket.write('still here')
  expect(await inside.server.until('here')).toBe('still here')
  await stage.proxy.accept()
  expect(stage.proxy.port).toBe(port)
  const { client, server } = await stage.line()
  client.socket.write('back')
  expect(await server.until('back')).toBe('back')
})

test('PROXY where no server listens the client is reset', async () => {
  const listener = createServer().listen(0, '127.0.0.1')
  await once(listener, 'listening')
  const { port } = listener.address() as AddressInfo
  listener.close()
  await once(listener, 'close')
  await using proxy = await startProxy({ port })
  expect(await endOf(new RawTcp(dial(proxy.port, '127.0.0.1')))).toBe('ECONNRESET')
})
