/** WebSocket's own bytes, right and wrong (RFC 6455, 5.2), on a connection that has shaken hands. */
import { type RawTcp, sendBytes } from '../server/raw-tcp.ts'

export interface RawFrame {
  readonly fin?: boolean
  /** The three reserved bits, as a number from 0 to 7. */
  readonly reserved?: number
  /** 0 goes on, 1 is text, 2 binary, 8 close, 9 ping, 10 pong. */
  readonly opcode: number
  readonly masked?: boolean
  readonly payload?: string | Uint8Array
  /** What the frame says of its length, where that is a lie. */
  readonly length?: bigint
}

/** The bytes of one frame, as a client sends it unless something else is said. */
export function frameBytes({
  fin = true,
  reserved = 0,
  opcode,
  masked = true,
  payload = '',
  length,
}: RawFrame): Uint8Array {
  const body = Buffer.from(payload)
  const said = length ?? BigInt(body.length)
  const first = (fin ? 0x80 : 0) | (reserved << 4) | opcode
  const bit = masked ? 0x80 : 0
  const head =
    said < 126n
      ? Buffer.from([first, bit | Number(said)])
      : said < 65_536n && length === undefined
        ? Buffer.from([first, bit | 126, Number(said) >> 8, Number(said) & 255])
        : Buffer.concat([Buffer.from([first, bit | 127]), bigEndian(said)])
  if (!masked) return Buffer.concat([head, body])
  const mask = Buffer.from([1, 2, 3, 4])
  return Buffer.concat([head, mask, body.map((byte, index) => byte ^ mask[index % 4]!)])
}

function bigEndian(value: bigint): Buffer {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(value)
  return bytes
}

const handshake = [
  'GET /v2/socket HTTP/1.1',
  'Host: a',
  'Upgrade: websocket',
  'Connection: Upgrade',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==',
]

/** A connection that has become a WebSocket, whose every byte the test sends itself. */
export async function shakeHands(server: { readonly url: string }): Promise<RawTcp> {
  const tcp = await sendBytes(server, `${handshake.join('\r\n')}\r\n\r\n`)
  await tcp.until('\r\n\r\n')
  return tcp
}

/** The same where the session has connected, too. */
export async function shakeHandsAs(
  server: {
    readonly url: string
    token(user: string): Promise<string>
  },
  user: string,
): Promise<RawTcp> {
  const tcp = await shakeHands(server)
  const args = { token: await server.token(user) }
  tcp.socket.write(frameBytes({ opcode: 1, payload: JSON.stringify({ id: 0, command: 'connect', args }) }))
  await tcp.until('"session":')
  return tcp
}

/** The code of the close that the server sent, once the connection has ended; null where it sent none. */
export async function closeCode(tcp: RawTcp): Promise<number | null> {
  await tcp.closed
  const at = tcp.text.lastIndexOf(String.fromCharCode(0x88))
  return at < 0 ? null : (tcp.text.charCodeAt(at + 2) << 8) | tcp.text.charCodeAt(at + 3)
}
