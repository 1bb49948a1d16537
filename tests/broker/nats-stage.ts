/** Nodes on a NATS server, with what each told its operator. */
import { openNats } from '../../src/broker/nats.ts'
import { BrokerNode } from '../../src/testing/broker-contract.ts'

export const prefix = 'fanfare.test'

export class NatsNode extends BrokerNode {
  readonly troubles: readonly string[]

  constructor(url: string, ofPrefix = prefix) {
    const troubles: string[] = []
    super(openNats(url, ofPrefix, (trouble) => troubles.push(trouble)))
    this.troubles = troubles
  }
}

/** Starts a node that ends with its scope: `await using node = await startNode(nats.url)`. */
export async function startNode(url: string, ofPrefix = prefix): Promise<NatsNode> {
  const node = new NatsNode(url, ofPrefix)
  await node.start()
  return node
}
