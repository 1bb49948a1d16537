/** The broker of a single node: there is nobody else to tell. */
import type { Broker } from './broker.ts'

export class LocalBroker implements Broker {
  readonly alone = true
  readonly connected = true

  async start(): Promise<void> {}
  subscribe(): void {}
  unsubscribe(): void {}
  publish(): void {}
  async close(): Promise<void> {}
}
