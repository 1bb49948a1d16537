/** What may happen to the parts of a cluster, each from its beginning to its repair. */
import type { Random } from '../../../src/testing/random.ts'
import type { Cluster } from './cluster.ts'
import { pause } from './load.ts'

export interface Fault {
  readonly what: string
  happen(cluster: Cluster, random: Random, freezeMs: number): Promise<void>
}

export const faults: readonly Fault[] = [
  {
    what: 'a node is killed and started again',
    async happen({ nodes }, random) {
      const node = random.pick(nodes)
      await node.kill()
      await pause(random.below(2_000))
      await node.start()
    },
  },
  {
    what: 'NATS is killed and started again',
    async happen({ nats }, random) {
      await nats.stop()
      await pause(random.below(2_000))
      await nats.start()
    },
  },
  {
    what: 'PostgreSQL is killed and started again',
    async happen({ postgres }, random) {
      await postgres.kill()
      await pause(random.below(1_000))
      await postgres.start()
    },
  },
  {
    what: 'a node stands still for some seconds',
    async happen({ nodes }, random, freezeMs) {
      const { server } = random.pick(nodes)
      await server.freeze()
      await pause(freezeMs)
      server.thaw()
    },
  },
  {
    what: 'a node is cut off from NATS',
    async happen({ nodes }, random) {
      const { line } = random.pick(nodes)
      line.refuse()
      line.cut()
      await pause(random.below(4_000))
      await line.accept()
    },
  },
  {
    what: 'nothing comes through between a node and NATS',
    async happen({ nodes }, random) {
      const { line } = random.pick(nodes)
      line.set('both', { silent: true })
      await pause(random.below(4_000))
      line.set('both', { silent: false })
    },
  },
]
