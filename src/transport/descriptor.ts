/**
 * Writing to a connection's file descriptor, past Node's streams. A stream takes each write through half a dozen objects of the socket's own,
 * and among a thousand sockets none of them is in the processor's caches (docs/adr/0011).
 */
import { writeSync } from 'node:fs'
import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'

export const noDescriptor = -1

/**
 * Where bytes written to the socket go just as they are; `noDescriptor` where there is no such place: with TLS, and on Windows. It is the
 * socket's until `beforeRelease` says that it isn't: then the system gives the number to another connection.
 */
export function descriptorOf(tcp: Socket): number {
  if (tcp instanceof TLSSocket) return noDescriptor
  // Node has no other name for it.
  const { _handle } = tcp as Socket & { readonly _handle?: { readonly fd?: number } | null }
  return _handle?.fd ?? noDescriptor
}

/** Tells when the socket is about to give up its descriptor. The event `close` comes in a later turn, when another may have the number. */
export function beforeRelease(tcp: Socket, holder: { released(): void }): void {
  // What `destroy` calls, however it came to that; Node's streams leave it to who makes one.
  const { _destroy } = tcp
  tcp._destroy = (error, callback) => {
    holder.released()
    _destroy.call(tcp, error, callback)
  }
}

/**
 * Writes without waiting, and gives how many of the bytes were taken. What was not taken is the stream's to write: it waits where the peer is
 * slow, and tells what is wrong where something is.
 */
export function writeNow(descriptor: number, bytes: Uint8Array): number {
  if (descriptor < 0) return 0
  try {
    return writeSync(descriptor, bytes)
  } catch {
    return 0
  }
}
