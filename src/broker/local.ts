/** The broker of a node that has nobody to tell. */
import type { Broker } from './broker.ts'

export class LocalBroker implements Broker {
  readonly alone: boolean
  readonly connected = true

  /** One that is not alone, but has nothing to speak with, finds in storage what others write. */
  constructor(alone = true) {
    this.alone = alone
  }

  async start(): Promise<void> {}
  subscribe(): void {}
  unsubscribe(): void {}
  publish(): void {}
  async close(): Promise<void> {}
}
