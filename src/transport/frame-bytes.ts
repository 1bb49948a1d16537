/** WebSocket's own bytes around a frame (RFC 6455, 5.2), made once for all who get it. */
import type { Frame } from '../protocol/frames.ts'

const finalText = 0x81

/** The whole text frame, unmasked as a server sends it. Made at the first call and kept in the frame. */
export function frameBytes(frame: Frame): Uint8Array {
  frame.encoded ??= encode(frame.text)
  return frame.encoded
}

function encode(text: string): Buffer {
  const length = Buffer.byteLength(text)
  const head = length < 126 ? 2 : length < 65_536 ? 4 : 10
  const bytes = Buffer.allocUnsafe(head + length)
  bytes[0] = finalText
  if (head === 2) {
    bytes[1] = length
  } else if (head === 4) {
    bytes[1] = 126
    bytes.writeUInt16BE(length, 2)
  } else {
    bytes[1] = 127
    bytes.writeBigUInt64BE(BigInt(length), 2)
  }
  bytes.write(text, head)
  return bytes
}
