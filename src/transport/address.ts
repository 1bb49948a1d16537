/** Where a connection comes from: its peer's address, or what a proxy says that is trusted. */
import type { IncomingMessage } from 'node:http'
import { BlockList, isIP, isIPv4 } from 'node:net'

/** Proxies, as addresses and networks (`10.0.0.0/8`): what they say in X-Forwarded-For is believed, and nobody else's word for it. */
export class TrustedProxies {
  readonly #proxies = new BlockList()

  /** Each is one that `isAddressOrNetwork` takes. */
  constructor(proxies: readonly string[]) {
    for (const proxy of proxies) {
      const [address = '', prefix] = proxy.split('/')
      const family = isIPv4(address) ? 'ipv4' : 'ipv6'
      if (prefix === undefined) this.#proxies.addAddress(address, family)
      else this.#proxies.addSubnet(address, Number(prefix), family)
    }
  }

  /**
   * The address that the request comes from. Each proxy adds, at the right, whom it was asked by: so the first from the right that is no
   * proxy of ours is the client, and what stands left of it is only what the client says.
   */
  clientOf({ socket, headers }: IncomingMessage): string {
    let client = plain(socket.remoteAddress ?? '')
    const said = headers['x-forwarded-for']
    if (said === undefined) return client
    const hops = String(said).split(',')
    while (hops.length > 0 && this.#trusts(client)) {
      const hop = plain(withoutPort(hops.pop()!.trim()))
      if (isIP(hop) === 0) break
      client = hop
    }
    return client
  }

  #trusts(address: string): boolean {
    return isIP(address) !== 0 && this.#proxies.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
  }
}

/** Whether it is an IP address, or a network that is less than all of them. */
export function isAddressOrNetwork(text: string): boolean {
  const [address = '', prefix, ...more] = text.split('/')
  const bits = isIP(address) === 4 ? 32 : isIP(address) === 6 ? 128 : 0
  if (bits === 0 || address.includes('%') || more.length > 0) return false
  return prefix === undefined || (/^[1-9]\d{0,2}$/.test(prefix) && Number(prefix) <= bits)
}

/** An IPv4 address as it is where a socket for both kinds has it as IPv6: the same peer must not be two. */
function plain(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  return mapped ?? address
}

/** Some proxies tell the port as well: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function withoutPort(hop: string): string {
  return /^\[([^\]]*)\](?::\d+)?$/.exec(hop)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(hop)?.[1] ?? hop
}
