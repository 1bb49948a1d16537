/**
 * The yardstick: what comes from /pub goes to all of /sub, by one write of one prepared frame to each socket, and nothing else is done. It
 * speaks as much of WebSocket as the load generators here need.
 */
import { type AddressInfo, createServer, type Socket } from 'node:net'

const subscribers = new Set<Socket>()
const upgraded =
  'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
  'Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n'

const server = createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => {})
  socket.once('data', (request) => {
    socket.write(upgraded)
    if (request.toString('latin1').startsWith('GET /pub')) {
      forward(socket)
    } else {
      subscribers.add(socket)
      socket.on('close', () => subscribers.delete(socket))
      socket.resume()
    }
  })
})

/** Reads frames of up to 64 KiB with a mask of zeros, and sends them on without it. */
function forward(publisher: Socket): void {
  let rest: Buffer = Buffer.alloc(0)
  publisher.on('data', (chunk: Buffer) => {
    let bytes = Buffer.concat([rest, chunk])
    while (bytes.length >= 8) {
      const head = (bytes[1]! & 127) === 126 ? 4 : 2
      const length = head === 4 ? bytes.readUInt16BE(2) : bytes[1]! & 127
      const end = head + 4 + length
      if (bytes.length < end) break
      const frame = Buffer.concat([bytes.subarray(0, head), bytes.subarray(head + 4, end)])
      frame[1]! &= 127
      for (const subscriber of subscribers) subscriber.write(frame)
      bytes = bytes.subarray(end)
    }
    rest = bytes
  })
}

server.listen(0, '127.0.0.1', 4096, () => console.log(`listening on ${(server.address() as AddressInfo).port}`))
