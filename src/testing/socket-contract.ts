/** What every adapter of the socket seam promises (`src/engine/socket.ts`), as tests. An adapter's test file calls `socketContract`. */
import { describe, expect, it, vi } from 'vitest'
import type { Session } from '../engine/session.ts'
import type { Socket } from '../engine/socket.ts'
import { Frame } from '../protocol/frames.ts'
import type { Ending } from './raw-session.ts'

/** A connection with a session that has not connected, and the peer at its other end. */
export interface SocketStage extends AsyncDisposable {
  readonly socket: Socket
  readonly session: Session
  /** The frames that the peer took, once there are at least `count`, or as soon as the connection has ended. */
  taken(count: number): Promise<readonly string[]>
  /** How the connection ended, as the peer saw it, once it has. */
  ended(): Promise<Ending>
  /** From now on the peer takes nothing, until `takeAgain`. */
  takeNothing(): void
  takeAgain(): void
  /** The peer vanishes without a goodbye; resolves when the session was told. */
  vanish(): Promise<void>
}

/** Frame texts on both sides of each length at which WebSocket's head changes, of one and of several bytes a character. */
const texts = [2, 100, 125, 126, 127, 65_535, 65_536, 65_537, 1_000_000].flatMap((length) => [
  JSON.stringify('x'.repeat(length - 2)),
  JSON.stringify(`${'é€😀'.repeat(Math.floor(length / 9))}`),
])

/** Registers the suite for the adapter `name`. `open` makes a connection of its own for each test. */
export function socketContract(name: string, open: () => Promise<SocketStage>): void {
  describe(`${name}: the socket contract`, () => suite(open))
}

function suite(open: () => Promise<SocketStage>): void {
  it('SOCKET frames arrive whole and in order, whatever their length', async () => {
    await using stage = await open()
    for (const text of texts) stage.socket.send(new Frame(text))
    expect(await stage.taken(texts.length)).toEqual(texts)
  })

  it('SOCKET frames of one turn and of several arrive in the same order', async () => {
    await using stage = await open()
    const sent = Array.from({ length: 300 }, (_, index) => `{"n":${index}}`)
    for (const [index, text] of sent.entries()) {
      stage.socket.send(new Frame(text))
      if (index % 7 === 0) await null
      if (index % 50 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await stage.taken(sent.length)).toEqual(sent)
  })

  it('SOCKET one frame may be sent again, and to others', async () => {
    await using one = await open()
    await using other = await open()
    const frame = new Frame('{"shared":"é"}')
    for (const { socket } of [one, other, one]) socket.send(frame)
    expect(await one.taken(2)).toEqual([frame.text, frame.text])
    expect(await other.taken(1)).toEqual([frame.text])
  })

  it('SOCKET close sends what is queued, then the code and the reason', async () => {
    await using stage = await open()
    for (const text of texts) stage.socket.send(new Frame(text))
    stage.socket.close(4403, 'session_revoked')
    expect(await stage.ended()).toEqual({ code: 4403, reason: 'session_revoked' })
    expect(await stage.taken(texts.length)).toEqual(texts)
  })

  it('SOCKET closing again changes nothing, and what is sent after it goes nowhere', async () => {
    await using stage = await open()
    stage.socket.send(new Frame('"before"'))
    stage.socket.close(4401, 'unauthorized')
    stage.socket.close(4403, 'session_revoked')
    stage.socket.send(new Frame('"after"'))
    expect(await stage.ended()).toEqual({ code: 4401, reason: 'unauthorized' })
    stage.socket.send(new Frame('"late"'))
    stage.socket.close(4400, 'bad_request')
    expect(await stage.taken(1)).toEqual(['"before"'])
  })

  it('SOCKET bufferedBytes counts what the peer has not taken, and falls to 0 when it has', async () => {
    await using stage = await open()
    expect(stage.socket.bufferedBytes).toBe(0)
    stage.takeNothing()
    const frame = new Frame(JSON.stringify('x'.repeat(100_000)))
    stage.socket.send(frame)
    expect(stage.socket.bufferedBytes).toBeGreaterThanOrEqual(100_000)
    // More than the two operating system buffers between the ends can hold.
    const count = 300
    for (let sent = 1; sent < count; sent++) stage.socket.send(frame)
    await new Promise((resolve) => setImmediate(resolve))
    expect(stage.socket.bufferedBytes).toBeGreaterThan(1_000_000)
    stage.takeAgain()
    expect(await stage.taken(count)).toHaveLength(count)
    await vi.waitFor(() => expect(stage.socket.bufferedBytes).toBe(0))
  })

  it('SOCKET whenDrained calls once, in a later turn, when the peer has taken what was sent before', async () => {
    await using stage = await open()
    const calls: string[] = []
    stage.socket.whenDrained(() => calls.push('nothing was sent'))
    expect(calls).toEqual([])
    await stage.taken(0)
    await vi.waitFor(() => expect(calls).toHaveLength(1))
    stage.takeNothing()
    const frame = new Frame(JSON.stringify('x'.repeat(100_000)))
    // More than the two operating system buffers between the ends can hold.
    const count = 300
    for (let sent = 0; sent < count; sent++) stage.socket.send(frame)
    stage.socket.whenDrained(() => calls.push('all was taken'))
    await new Promise((resolve) => setImmediate(resolve))
    await new Promise((resolve) => setImmediate(resolve))
    expect(calls).toHaveLength(1)
    stage.takeAgain()
    await stage.taken(count)
    await vi.waitFor(() => expect(calls).toEqual(['nothing was sent', 'all was taken']))
  })

  it('SOCKET whenDrained never calls after the end, be it given before or behind it', async () => {
    await using vanished = await open()
    await using closed = await open()
    const run = vi.fn()
    vanished.takeNothing()
    for (let sent = 0; sent < 300; sent++) vanished.socket.send(new Frame(JSON.stringify('x'.repeat(100_000))))
    vanished.socket.whenDrained(run)
    await new Promise((resolve) => setImmediate(resolve))
    await vanished.vanish()
    closed.socket.close(4403, 'session_revoked')
    for (const stage of [vanished, closed]) {
      await stage.ended()
      stage.socket.whenDrained(run)
      await stage.taken(300)
    }
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    expect(run).not.toHaveBeenCalled()
  })

  it('SOCKET when the peer vanishes the session ends, and sending or closing then does nothing', async () => {
    await using stage = await open()
    stage.socket.send(new Frame('"before"'))
    await stage.taken(1)
    await stage.vanish()
    expect(stage.session.closed).toBe(true)
    stage.socket.send(new Frame('"after"'))
    stage.socket.close(4403, 'session_revoked')
    expect(await stage.ended()).toEqual({ code: 1006, reason: '' })
    expect(await stage.taken(2)).toEqual(['"before"'])
  })

  it('SOCKET when the session closes the peer reads its code', async () => {
    await using stage = await open()
    stage.session.close(4408)
    expect(await stage.ended()).toEqual({ code: 4408, reason: 'ping_timeout' })
  })
}
