/** What clients have of the network: connections that are cut, and the news that it is back. */
import type { Random } from '../../../src/testing/random.ts'
import type { TcpProxy } from '../../../src/testing/tcp-proxy.ts'

/** Stands in for a browser's page, which tells of the network: then the SDK need not wait out its delay (C7). */
export class Page implements Disposable {
  readonly #events = new EventTarget()
  readonly #global = globalThis as { addEventListener?: unknown; removeEventListener?: unknown }

  constructor() {
    this.#global.addEventListener = this.#events.addEventListener.bind(this.#events)
    this.#global.removeEventListener = this.#events.removeEventListener.bind(this.#events)
  }

  /** The network is back. */
  online(): void {
    this.#events.dispatchEvent(new Event('online'))
  }

  [Symbol.dispose](): void {
    delete this.#global.addEventListener
    delete this.#global.removeEventListener
  }
}

/** Cuts connections now and then, each time otherwise. */
export class Weather implements Disposable {
  cuts = 0
  readonly #proxy: TcpProxy
  readonly #random: Random
  #timer: NodeJS.Timeout

  constructor(proxy: TcpProxy, random: Random) {
    this.#proxy = proxy
    this.#random = random
    this.#timer = setTimeout(() => this.#strike(), 500)
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#timer)
    this.#proxy.set('both', { cutAfterBytes: Number.POSITIVE_INFINITY })
  }

  #strike(): void {
    const connections = [...this.#proxy.connections]
    if (connections.length > 0) {
      const connection = this.#random.pick(connections)
      const cutAfterBytes = this.#random.below(3_000)
      this.#random.pick([
        () => connection.cut(),
        () => connection.reset(),
        () => connection.set('toClient', { cutAfterBytes }),
        () => connection.set('toServer', { cutAfterBytes }),
        () => this.#proxy.reset(),
      ])()
      this.cuts++
    }
    this.#timer = setTimeout(() => this.#strike(), 200 + this.#random.below(1_500))
  }
}
