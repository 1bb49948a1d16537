/** Bytes that break WebSocket: each costs its own session alone, and none of them much memory (W1, L1). */
import { describe, expect, it } from 'vitest'
import { connect } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { say } from '../chat/stage.ts'
import { closeCode, frameBytes, type RawFrame, shakeHands, shakeHandsAs } from './raw-frames.ts'
import { startServerProcess } from './server-process.ts'

const ping = '{"id":1,"command":"ping"}'
const mebibyte = 1_048_576

/** What a session is closed with for each, by WebSocket's own codes. */
const broken: readonly [what: string, frames: readonly RawFrame[], code: number][] = [
  ['a frame without a mask', [{ opcode: 1, payload: ping, masked: false }], 1002],
  ['an empty frame without a mask', [{ opcode: 1, masked: false }], 1002],
  ['a ping without a mask', [{ opcode: 9, masked: false }], 1002],
  ['the first reserved bit, which would be compression', [{ opcode: 1, payload: ping, reserved: 4 }], 1002],
  ['the second reserved bit', [{ opcode: 1, payload: ping, reserved: 2 }], 1002],
  ['the third reserved bit', [{ opcode: 1, payload: ping, reserved: 1 }], 1002],
  ['a reserved bit of a ping', [{ opcode: 9, reserved: 4 }], 1002],
  ['a kind that there is not', [{ opcode: 3, payload: ping }], 1002],
  ['a control frame that there is not', [{ opcode: 11 }], 1002],
  ['a ping in pieces', [{ opcode: 9, fin: false }], 1002],
  ['a ping that is too long', [{ opcode: 9, payload: 'x'.repeat(126) }], 1002],
  ['a piece of nothing', [{ opcode: 0, payload: ping }], 1002],
  [
    'a new frame among the pieces of another',
    [
      { opcode: 1, payload: '{', fin: false },
      { opcode: 1, payload: ping },
    ],
    1002,
  ],
  ['a close of one byte', [{ opcode: 8, payload: 'x' }], 1002],
  ['a close with a code of nobody', [{ opcode: 8, payload: Uint8Array.of(3, 0xec) }], 1002],
  ['a close with a reason that is no UTF-8', [{ opcode: 8, payload: Uint8Array.of(3, 0xe8, 0xff) }], 1007],
  ['text that is no UTF-8', [{ opcode: 1, payload: Uint8Array.of(0x22, 0xc3, 0x28, 0x22) }], 1007],
  [
    'text whose pieces are no UTF-8 together',
    [
      { opcode: 1, payload: Uint8Array.of(0xe2, 0x82), fin: false },
      { opcode: 0, payload: 'x' },
    ],
    1007,
  ],
  ['a frame one byte too long', [{ opcode: 1, payload: 'x'.repeat(65_537) }], 1009],
  ['a frame that says it has 65,537 bytes', [{ opcode: 1, length: 65_537n }], 1009],
  ['one that says it has 2 GiB', [{ opcode: 1, length: 2n ** 31n }], 1009],
  ['one that says it has 2^53', [{ opcode: 1, length: 2n ** 53n }], 1009],
  ['one that says it has 2^63', [{ opcode: 1, length: 2n ** 63n }], 1009],
  ['one that says it has 2^64 - 1', [{ opcode: 2, length: 2n ** 64n - 1n }], 1009],
  [
    'pieces that are too long together',
    [
      { opcode: 1, payload: 'x'.repeat(40_000), fin: false },
      { opcode: 0, payload: 'x'.repeat(40_000) },
    ],
    1009,
  ],
  [
    'a piece that says it has 2^63',
    [
      { opcode: 1, payload: 'x', fin: false },
      { opcode: 0, length: 2n ** 63n },
    ],
    1009,
  ],
]

describe('what breaks WebSocket', () => {
  it('W1, L1 ends its own session with WebSocket’s own code, connected or not, and nobody else’s', async () => {
    await using server = await startServer({ limits: { sessionsPerUser: 0 } })
    await using bob = await connect(server, 'user/bob')
    for (const [what, frames, code] of broken) {
      await using early = await shakeHands(server)
      await using late = await shakeHandsAs(server, 'alice')
      for (const tcp of [early, late]) {
        for (const frame of frames) tcp.socket.write(frameBytes(frame))
        // Whatever stands behind it is not read any more.
        tcp.socket.write(frameBytes({ opcode: 1, payload: '{"id":99,"command":"get_user_channel"}' }))
        expect([what, await closeCode(tcp)]).toEqual([what, code])
        expect(tcp.text).not.toContain('"id":99')
      }
    }
    expect(await bob.rest()).toEqual([])
    expect(server.logged.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([])
  })

  it('W1, L1 pieces of 0 bytes and of 1 byte are at most 64, and more close with 1008', async () => {
    await using server = await startServer()
    for (const payload of ['', ' ']) {
      await using tcp = await shakeHandsAs(server, 'alice')
      const piece = frameBytes({ opcode: 0, payload, fin: false })
      tcp.socket.write(Buffer.concat([frameBytes({ opcode: 1, fin: false }), ...Array(200).fill(piece)]))
      expect([payload, await closeCode(tcp)]).toEqual([payload, 1008])
    }
  })
})

describe('what wants to fill the memory', () => {
  it('W1, L1 floods of fragments, of long frames and of pings that nobody reads the answers to cost no memory, and nobody his chat', async () => {
    await using server = await startServerProcess(['--max-unauthenticated-per-address=0'])
    await using alice = await connect(server, 'user/alice')
    await using bob = await connect(server, 'user/bob')
    const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
    const chat = async (rounds: number) => {
      for (let round = 0; round < rounds; round++) {
        const { id } = await say(alice, conversation.id, `${round}`)
        await bob.next(({ data }) => data.record_type === 'message' && data.record.id === id)
      }
    }
    await chat(10)

    const pieces = (payload: string) =>
      Buffer.concat(Array(20_000).fill(frameBytes({ opcode: 0, payload, fin: false })))
    const floods: { [what: string]: Uint8Array[] } = {
      'pieces of 0 bytes': [frameBytes({ opcode: 1, fin: false }), pieces('')],
      'pieces of 1 byte': [frameBytes({ opcode: 1, fin: false }), pieces('x')],
      'a long piece that is never whole': [frameBytes({ opcode: 1, fin: false, payload: 'x'.repeat(65_000) })],
      'a length that never comes': [Buffer.from([0x81, 0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 1, 2, 3, 4])],
      // Kept for who does not read them the answers would be 400 MB.
      pings: Array(16).fill(Buffer.concat(Array(4_000).fill(frameBytes({ opcode: 9, payload: 'x'.repeat(125) })))),
    }
    for (const [what, flood] of Object.entries(floods)) {
      const before = server.residentBytes()
      await using sockets = new AsyncDisposableStack()
      for (let count = 0; count < 50; count++) {
        const tcp = sockets.use(await shakeHands(server))
        tcp.socket.pause()
        for (const bytes of flood) tcp.socket.write(bytes)
      }
      await chat(10)
      // The server has read what it will: whoever is not closed has nothing left to send.
      const grown = (server.residentBytes() - before) / mebibyte
      expect([what, grown]).toEqual([what, expect.toSatisfy((mebibytes) => mebibytes < 64)])
    }
    const { stderr } = await server.stop()
    expect(stderr).toBe('')
  }, 60_000)
})
