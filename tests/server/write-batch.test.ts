/** Writes in one system call, to real sockets: each gets its bytes, and whatever was not taken is given back. */
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, type TestContext, vi } from 'vitest'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { descriptorOf, noDescriptor } from '../../src/transport/descriptor.ts'
import { WriteBatch } from '../../src/transport/write-batch.ts'

/** Where there can be a batch: CI has all that it needs. */
function openBatch(skip: TestContext['skip']): WriteBatch {
  const batch = WriteBatch.open()
  if (!batch && process.env.CI) throw new Error('writes in one system call were not tried')
  return batch ?? skip('SKIPPED: this system or this Node has no writes in one system call')
}

interface Ends extends AsyncDisposable {
  readonly server: Socket
  readonly descriptor: number
  readonly peer: Socket
  /** All that the peer got, once it is `length` bytes. */
  got(length: number): Promise<Buffer>
}

async function openEnds(): Promise<Ends> {
  const listening = createServer().listen(0, '127.0.0.1')
  await once(listening, 'listening')
  const accepted = once(listening, 'connection')
  const peer = connect((listening.address() as AddressInfo).port, '127.0.0.1')
  const [server] = (await accepted) as [Socket]
  const chunks: Buffer[] = []
  peer.on('data', (chunk) => chunks.push(Buffer.from(chunk)))
  for (const end of [server, peer]) end.on('error', () => {})
  return {
    server,
    descriptor: descriptorOf(server),
    peer,
    async got(length) {
      await vi.waitFor(() => expect(Buffer.concat(chunks).length).toBeGreaterThanOrEqual(length), { timeout: 10_000 })
      return Buffer.concat(chunks)
    },
    async [Symbol.asyncDispose]() {
      for (const end of [server, peer]) end.destroy()
      await new Promise((resolve) => listening.close(resolve))
    },
  }
}

describe('a batch of writes', () => {
  it('SOCKET each socket gets its own bytes, and what several share', async ({ skip }) => {
    const batch = openBatch(skip)
    await using one = await openEnds()
    await using two = await openEnds()
    const own = Buffer.from('own')
    const shared = Buffer.from('shared')
    for (const round of ['first', 'second']) {
      expect(batch.add(one.descriptor, shared), round).toBe(true)
      expect(batch.add(two.descriptor, shared), round).toBe(true)
      expect(batch.add(one.descriptor, own), round).toBe(true)
      expect(batch.add(two.descriptor, shared), round).toBe(true)
      expect(batch.submit(), round).toEqual([])
    }
    expect((await one.got(18)).toString()).toBe('sharedownsharedown')
    expect((await two.got(24)).toString()).toBe('sharedsharedsharedshared')
  })

  it('SOCKET bytes that changed between two batches go as they are now', async ({ skip }) => {
    const batch = openBatch(skip)
    await using ends = await openEnds()
    const bytes = Buffer.from('before')
    batch.add(ends.descriptor, bytes)
    batch.submit()
    bytes.write('behind')
    batch.add(ends.descriptor, bytes)
    batch.submit()
    expect((await ends.got(12)).toString()).toBe('beforebehind')
  })

  it('SOCKET a batch is full after 1,024, writes nothing before it is submitted, and then takes as many again', async ({
    skip,
  }) => {
    const batch = openBatch(skip)
    await using ends = await openEnds()
    const sent: Uint8Array[] = []
    for (let round = 0; round < 2; round++) {
      for (let count = 0; count < 1_024; count++) {
        expect(batch.full).toBe(false)
        const bytes = Buffer.from(`${round}.${count};`)
        expect(batch.add(ends.descriptor, bytes)).toBe(true)
        sent.push(bytes)
      }
      expect(batch.full).toBe(true)
      expect(batch.add(ends.descriptor, Buffer.from('one more'))).toBe(false)
      await new Promise((resolve) => ends.server.write('mark', resolve))
      sent.splice(-1_024, 0, Buffer.from('mark'))
      expect(batch.submit()).toEqual([])
      expect(batch.full).toBe(false)
    }
    const all = Buffer.concat(sent)
    expect((await ends.got(all.length)).equals(all)).toBe(true)
  })

  it('SOCKET what finds no room is not added, and a batch with no room for 64 KiB more is full', async ({ skip }) => {
    const batch = openBatch(skip)
    await using ends = await openEnds()
    expect(batch.add(ends.descriptor, Buffer.alloc(1_048_577))).toBe(false)
    expect(batch.submit()).toEqual([])
    const most = Buffer.alloc(1_048_576 - 65_536, 'm')
    expect(batch.add(ends.descriptor, most)).toBe(true)
    expect(batch.full).toBe(false)
    expect(batch.add(ends.descriptor, Buffer.alloc(65_537))).toBe(false)
    expect(batch.add(ends.descriptor, Buffer.from('e'))).toBe(true)
    expect(batch.full).toBe(true)
    const untaken = batch.submit().reduce((bytes, { rest }) => bytes + rest.length, 0)
    const got = await ends.got(most.length + 1 - untaken)
    expect(got.subarray(0, 1_000).toString()).toBe('m'.repeat(1_000))
    expect(batch.add(ends.descriptor, most)).toBe(true)
    batch.submit()
  })

  it('SOCKET of a peer that takes nothing the rest is given back, to the byte, and others get theirs', async ({
    skip,
  }) => {
    const batch = openBatch(skip)
    const random = new Random(seedOfTest())
    await using slow = await openEnds()
    await using other = await openEnds()
    slow.peer.pause()
    const expected: Buffer[] = []
    let unwritten: readonly { place: number; rest: Uint8Array }[] = []
    let rounds = 0
    for (; unwritten.length === 0; rounds++) {
      const bytes = Buffer.from(Array.from({ length: 60_000 + random.below(1_000) }, () => random.below(256)))
      batch.add(other.descriptor, Buffer.from('other'))
      batch.add(slow.descriptor, bytes)
      batch.add(other.descriptor, Buffer.from('again'))
      unwritten = batch.submit()
      expected.push(bytes)
    }
    expect(unwritten).toHaveLength(1)
    expect(unwritten[0]).toMatchObject({ place: 1 })
    // The batch's room is used again, which must not change it.
    batch.add(other.descriptor, Buffer.alloc(100_000, '!'))
    expect(batch.submit()).toEqual([])
    slow.server.write(unwritten[0]!.rest)
    slow.peer.resume()
    const all = Buffer.concat(expected)
    expect((await slow.got(all.length)).equals(all)).toBe(true)
    expect((await other.got(rounds * 10 + 100_000)).toString()).toBe('otheragain'.repeat(rounds) + '!'.repeat(100_000))

    slow.peer.pause()
    const filling = Buffer.alloc(1_000_000)
    do batch.add(slow.descriptor, filling)
    while (batch.submit()[0]?.rest.length !== filling.length)
  })

  it('SOCKET what is no open descriptor, or that was ended, is given back whole, wherever it stands among the others', async ({
    skip,
  }) => {
    const batch = openBatch(skip)
    await using one = await openEnds()
    await using two = await openEnds()
    await using ending = await openEnds()
    ending.server.end()
    await once(ending.peer, 'end')
    const bytes = Buffer.from('some')
    const closed = closedDescriptor()
    const descriptors = [
      closed,
      noDescriptor,
      one.descriptor,
      closed,
      closed,
      ending.descriptor,
      two.descriptor,
      closed,
    ]
    for (const descriptor of descriptors) batch.add(descriptor, bytes)
    const unwritten = [...batch.submit()].sort((a, b) => a.place - b.place)
    expect(unwritten.map(({ place }) => place)).toEqual([0, 1, 3, 4, 5, 7])
    for (const { rest } of unwritten) expect(Buffer.from(rest).toString()).toBe('some')
    for (const ends of [one, two]) expect((await ends.got(4)).toString()).toBe('some')
  })

  it('SOCKET several batches are apart, and one outlives the collection of garbage', async ({ skip }) => {
    const batches = [openBatch(skip), openBatch(skip), openBatch(skip)]
    await using ends = await openEnds()
    for (const [index, batch] of batches.entries()) batch.add(ends.descriptor, Buffer.from(`${index}`))
    for (let round = 0; round < 50; round++) Array.from({ length: 10_000 }, () => new Uint8Array(100))
    for (const batch of batches.reverse()) expect(batch.submit()).toEqual([])
    expect((await ends.got(3)).toString()).toBe('210')
  })
})

describe('where there can be no batch', () => {
  it('SOCKET there is none on another system, on another processor, or with a Node that has no foreign functions', () => {
    expect(having('platform', 'darwin', () => WriteBatch.open())).toBe(null)
    expect(having('platform', 'win32', () => WriteBatch.open())).toBe(null)
    expect(having('arch', 'riscv64', () => WriteBatch.open())).toBe(null)
    expect(
      having(
        'getBuiltinModule',
        () => undefined,
        () => WriteBatch.open(),
      ),
    ).toBe(null)
    const refuse = () => {
      throw new Error('ERR_ACCESS_DENIED')
    }
    expect(having('getBuiltinModule', refuse, () => WriteBatch.open())).toBe(null)
    expect(
      having(
        'getBuiltinModule',
        () => ({ dlopen: refuse }),
        () => WriteBatch.open(),
      ),
    ).toBe(null)
  })

  it('SOCKET there is none where the system refuses one of the calls, or does them for no socket, and no descriptor is left open', ({
    skip,
  }) => {
    openBatch(skip)
    const ffi = process.getBuiltinModule('node:ffi')
    const descriptors = () => readdirSync('/proc/self/fd').length
    /** A batch that is opened where `answer` may give something else than the system does, and how many calls that took. */
    const open = (answer: (call: number, ask: () => bigint) => bigint) => {
      let calls = 0
      const dlopen = (...args: Parameters<typeof ffi.dlopen>) => {
        const { syscall } = ffi.dlopen(...args).functions
        return { functions: { syscall: (...given: unknown[]) => answer(++calls, () => syscall!(...given)) } }
      }
      const before = descriptors()
      const batch = having(
        'getBuiltinModule',
        () => ({ ...ffi, dlopen }),
        () => WriteBatch.open(),
      )
      expect(descriptors()).toBe(before)
      return { batch, calls }
    }
    expect(open((_, ask) => ask())).toMatchObject({ batch: expect.any(WriteBatch), calls: 7 })
    // What was made is given back.
    for (const refused of [1, 2, 3]) {
      expect(open((call, ask) => (call === refused ? -1n : ask()))).toEqual({
        batch: null,
        calls: refused === 1 ? 1 : refused + 1,
      })
    }
    // It is not submitted, so nothing is asked about it.
    expect(open((call, ask) => (call === 4 ? -1n : ask()))).toEqual({ batch: null, calls: 7 })
    // A signal comes while it waits.
    expect(open((call, ask) => (call === 5 ? -4n : ask()))).toMatchObject({ batch: expect.any(WriteBatch), calls: 8 })
  })

  it('SOCKET Node’s warning of what may change is not shown, and others still are', () => {
    const { emitWarning } = process
    const warn = vi.fn()
    process.emitWarning = warn
    try {
      WriteBatch.open()
      expect(warn).not.toHaveBeenCalled()
      expect(process.emitWarning).toBe(warn)
    } finally {
      process.emitWarning = emitWarning
    }
  })
})

/** A number that is no open file's. */
function closedDescriptor(): number {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-'))
  const descriptors = Array.from({ length: 20 }, (_, index) => openSync(join(folder, `${index}`), 'w'))
  for (const one of descriptors) closeSync(one)
  rmSync(folder, { recursive: true })
  return descriptors.at(-1)!
}

/** What `run` gives while `process[name]` is `value`. */
function having<T>(name: string, value: unknown, run: () => T): T {
  const before = Object.getOwnPropertyDescriptor(process, name)!
  Object.defineProperty(process, name, { ...before, value })
  try {
    return run()
  } finally {
    Object.defineProperty(process, name, before)
  }
}
