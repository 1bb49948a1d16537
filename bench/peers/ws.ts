/** `ws` alone, as most would use it: what comes from /pub is sent to each of /sub by `send`. */
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

const server = new WebSocketServer({ host: '127.0.0.1', port: 0, backlog: 4096, perMessageDeflate: false })
server.on('listening', () => console.log(`listening on ${(server.address() as AddressInfo).port}`))
let publisher: unknown = null

server.on('connection', (socket, request) => {
  socket.on('error', () => {})
  if (request.url !== '/pub') return
  publisher = socket
  socket.on('message', (data) => {
    for (const client of server.clients) if (client !== publisher) client.send(data, { binary: false })
  })
})
