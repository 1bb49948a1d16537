import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * A port that is free, and below those that the system gives to whoever connects: a client that connects again and again to a port on which
 * nothing listens may else be given that very port, and meet itself.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 20_000 + Math.floor(Math.random() * 12_000)
    const listener = createServer().listen(port, '127.0.0.1')
    const isFree = await once(listener, 'listening').then(
      () => true,
      () => false,
    )
    listener.close()
    if (isFree) return port
  }
}
