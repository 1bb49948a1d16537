/** An engine with its WebSocket door alone, so that a test sees both ends: what its peers got, and what waits for them. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Config, Limits } from '../../src/engine/config.ts'
import type { Session } from '../../src/engine/session.ts'
import type { Socket } from '../../src/engine/socket.ts'
import type { ConnectResult } from '../../src/protocol/commands.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { RawSession } from '../../src/testing/raw-session.ts'
import { startEngine, type TestEngine } from '../../src/testing/start-engine.ts'
import { TrustedProxies } from '../../src/transport/address.ts'
import { WebSocketServer } from '../../src/transport/websocket-server.ts'

/** A connected peer, with the server's end of it. */
export interface Peer {
  readonly peer: RawSession
  readonly greeting: ConnectResult
  readonly session: Session
  /** What waits for the peer on the server is `socket.bufferedBytes`. */
  readonly socket: Socket
}

export interface Doors extends AsyncDisposable {
  readonly started: TestEngine
  readonly engine: TestEngine['engine']
  connect(user: UserId, cursor?: string): Promise<Peer>
}

export async function openDoors(
  options: Partial<Omit<Config, 'limits'>> & { limits?: Partial<Limits> } = {},
): Promise<Doors> {
  const started = await startEngine(options)
  const { engine } = started
  const sockets = new Map<string, { session: Session; socket: Socket }>()
  const open = engine.open.bind(engine)
  engine.open = (socket, address, origin) => {
    const session = open(socket, address, origin)
    sockets.set(session.id, { session, socket })
    return session
  }
  const transport = new WebSocketServer(engine, [], new TrustedProxies([]))
  const http = createServer().on('upgrade', (request, tcp, head) => transport.upgrade(request, tcp, head))
  await new Promise<void>((resolve) => http.listen(0, '127.0.0.1', resolve))
  const url = `ws://127.0.0.1:${(http.address() as AddressInfo).port}/v2/socket`
  const peers: RawSession[] = []
  return {
    started,
    engine,
    async connect(user, cursor) {
      const peer = new RawSession(url, { perMessageDeflate: false })
      peers.push(peer)
      await new Promise((resolve) => peer.webSocket.once('open', resolve))
      const token = await started.token(user)
      const greeting = await peer.command('connect', cursor === undefined ? { token } : { token, cursor })
      return { peer, greeting, ...(sockets.get(greeting.session) as { session: Session; socket: Socket }) }
    },
    async [Symbol.asyncDispose]() {
      for (const peer of peers) await peer[Symbol.asyncDispose]()
      await started[Symbol.asyncDispose]()
      await transport.ended()
      await new Promise((resolve) => http.close(resolve))
    },
  }
}
