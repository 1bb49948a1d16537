/** Socket.IO as its own documentation has it: what a client sends is emitted to all, its author too. WebSocket only, no compression. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** As much of Socket.IO as is used here: it may not be installed. */
interface SocketIo {
  readonly Server: new (
    http: ReturnType<typeof createServer>,
    options: object,
  ) => {
    on(event: 'connection', listener: (socket: Socket) => void): void
    emit(event: string, body: unknown): void
  }
}

interface Socket {
  on(event: string, listener: (body: unknown) => void): void
}

const name: string = 'socket.io'
const { Server } = (await import(name)) as SocketIo

const http = createServer()
const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false, serveClient: false })
io.on('connection', (socket) => {
  socket.on('message', (body) => io.emit('message', body))
})
http.listen(0, '127.0.0.1', 4096, () => console.log(`listening on ${(http.address() as AddressInfo).port}`))
