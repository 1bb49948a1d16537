/**
 * A WebSocket connection that costs the load generator as little as possible: it reads all connections into one buffer, looks at frames
 * where they lie in it, and makes no text and no object of any. One that breaks by itself ends the process, unless that is what it is asked to
 * wait for: whatever was measured after that would not be true.
 */
import { createConnection, type Socket } from 'node:net'

/** Looks at one text frame: its payload is `bytes` from `from` up to `to`, and only during the call. */
export type OnText = (bytes: Buffer, from: number, to: number) => void

const opText = 1
const opClose = 8
const opPing = 9

/** All reading is done from here, one connection at a time. */
const readBuffer = Buffer.allocUnsafe(1 << 18)
const nothing = Buffer.alloc(0)

/** Finds the frames in a stream of bytes as a server sends them, unmasked, wherever it is cut. */
export class FrameReader {
  readonly #onFrame: (op: number, bytes: Buffer, from: number, to: number) => void
  /** The beginning of a frame whose end has not come yet. */
  #rest = nothing

  constructor(onFrame: (op: number, bytes: Buffer, from: number, to: number) => void) {
    this.#onFrame = onFrame
  }

  /** Takes what came next. It keeps nothing of `chunk` itself. */
  take(chunk: Buffer): void {
    const bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= 2) {
      let length = bytes[at + 1]! & 127
      let head = 2
      if (length === 126) {
        head = 4
        if (bytes.length - at < head) break
        length = bytes.readUInt16BE(at + 2)
      } else if (length === 127) {
        head = 10
        if (bytes.length - at < head) break
        length = Number(bytes.readBigUInt64BE(at + 2))
      }
      const end = at + head + length
      if (end > bytes.length) break
      this.#onFrame(bytes[at]! & 15, bytes, at + head, end)
      at = end
    }
    this.#rest = at === bytes.length ? nothing : Buffer.from(bytes.subarray(at))
  }
}

export class Wire {
  /** Resolves when the server has accepted the upgrade. */
  readonly upgraded: Promise<void>
  readonly #socket: Socket
  readonly #onText: OnText
  readonly #reader: FrameReader
  #accept: (() => void) | null = null
  /** Told the code of the end where somebody waits for it. */
  #onEnd: ((code: number) => void) | null = null
  #ended = false

  /** Begins to connect. `onText` looks at the text frames. */
  constructor(port: number, path: string, onText: OnText) {
    this.#onText = onText
    this.upgraded = new Promise((resolve) => {
      this.#accept = resolve
    })
    this.#reader = new FrameReader((op, bytes, from, to) => this.#take(op, bytes, from, to))
    this.#socket = createConnection({
      host: '127.0.0.1',
      port,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#read(readBuffer.subarray(0, length))
          return true
        },
      },
    })
    this.#socket.on('error', (error) => this.#break(1006, error.message))
    this.#socket.on('close', () => this.#break(1006, 'it was closed'))
    this.#socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n',
    )
  }

  send(text: string): void {
    this.#socket.write(maskedFrame(opText, Buffer.from(text)))
  }

  /** Stops reading: what comes waits in the kernel, and behind that in the server. */
  pause(): void {
    this.#socket.pause()
  }

  /** Reads on, and expects the end; resolves with the code of the server's goodbye, 1006 where there is none. */
  readOn(): Promise<number> {
    const ended = new Promise<number>((resolve) => {
      this.#onEnd = resolve
    })
    this.#socket.resume()
    return ended
  }

  get bytesRead(): number {
    return this.#socket.bytesRead
  }

  /** Cuts the connection off, so that neither side keeps anything of it. */
  end(): void {
    this.#ended = true
    this.#socket.resetAndDestroy()
  }

  #read(chunk: Buffer): void {
    if (!this.#accept) {
      this.#reader.take(chunk)
      return
    }
    // The servers measured here answer an upgrade in one piece; what they push may come right behind it.
    const end = chunk.indexOf('\r\n\r\n')
    if (end < 0 || !chunk.subarray(0, accepted.length).equals(accepted)) {
      throw new Error(`an upgrade was refused: ${chunk}`)
    }
    this.#accept()
    this.#accept = null
    this.#reader.take(chunk.subarray(end + 4))
  }

  #take(op: number, bytes: Buffer, from: number, to: number): void {
    if (op === opText) this.#onText(bytes, from, to)
    else if (op === opPing) this.#socket.write(maskedFrame(opPing + 1, bytes.subarray(from, to)))
    else if (op === opClose) {
      const code = to > from ? bytes.readUInt16BE(from) : 1005
      this.#break(code, `the server said goodbye with ${code}`)
    }
  }

  #break(code: number, why: string): void {
    if (this.#onEnd) this.#onEnd(code)
    else if (!this.#ended) throw new Error(`a connection of the load broke: ${why}`)
  }
}

const accepted = Buffer.from('HTTP/1.1 101')

/** A frame as clients send it. Its mask is zero, which is a mask too, so the payload is as it was. */
function maskedFrame(op: number, payload: Buffer): Buffer {
  const { length } = payload
  const head = length < 126 ? 2 : 4
  const frame = Buffer.alloc(head + 4 + length)
  frame[0] = 0x80 | op
  if (head === 2) {
    frame[1] = 0x80 | length
  } else {
    frame[1] = 0x80 | 126
    frame.writeUInt16BE(length, 2)
  }
  payload.copy(frame, head + 4)
  return frame
}
