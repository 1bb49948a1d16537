/** Bytes over TCP, for requests that no HTTP client would send, and peers that do less than they should. */
import { connect as dial, type Socket } from 'node:net'

export class RawTcp implements AsyncDisposable {
  readonly socket: Socket
  /** Resolves when the connection has ended, be it by an error. */
  readonly closed: Promise<void>
  #received = Buffer.alloc(0)

  constructor(socket: Socket) {
    this.socket = socket
    this.closed = new Promise((resolve) => {
      socket.once('close', () => resolve())
    })
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      this.#received = Buffer.concat([this.#received, bytes])
    })
  }

  /** What came so far; one character for each byte. */
  get text(): string {
    return this.#received.toString('latin1')
  }

  /** Everything that came, once `text` has `part` in it or the connection has ended. */
  async until(part: string): Promise<string> {
    while (!this.text.includes(part) && !this.socket.closed) {
      await new Promise<void>((resolve) => {
        const wake = () => {
          this.socket.off('data', wake).off('close', wake)
          resolve()
        }
        this.socket.on('data', wake).on('close', wake)
      })
    }
    return this.text
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await this.closed
  }
}

/** A connection to the server that has sent `bytes`; strings are taken as one byte for each character. */
export async function sendBytes(server: { readonly url: string }, bytes: string | Uint8Array): Promise<RawTcp> {
  const { hostname, port } = new URL(server.url)
  const socket = dial(Number(port), hostname)
  const tcp = new RawTcp(socket)
  await new Promise((resolve) => socket.once('connect', resolve))
  socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  return tcp
}

/** The status line, the head and the body of the answer to one request, after which the server closes. */
export async function exchange(
  server: { readonly url: string },
  head: readonly string[],
  body = '',
): Promise<{ status: number; head: string; body: string }> {
  await using tcp = await sendBytes(server, `${[...head, 'Connection: close'].join('\r\n')}\r\n\r\n${body}`)
  await tcp.closed
  const end = tcp.text.indexOf('\r\n\r\n')
  return {
    status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(tcp.text)?.[1] ?? 0),
    head: tcp.text.slice(0, end),
    body: tcp.text.slice(end + 4),
  }
}
