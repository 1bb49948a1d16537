/** The broker of a single node: what is published here is delivered here, in the same turn. */
import type { Broker, Publication } from './broker.ts'

export class LocalBroker implements Broker {
  #deliver: ((publication: Publication) => void) | null = null

  async start(deliver: (publication: Publication) => void): Promise<void> {
    this.#deliver = deliver
  }

  // Every session is on this node, so whom it serves makes no difference.
  subscribe(): void {}
  unsubscribe(): void {}

  publish(publication: Publication): void {
    this.#deliver?.(publication)
  }

  async close(): Promise<void> {
    this.#deliver = null
  }
}
