/** What may happen to the parts of a cluster, each from its beginning to its repair. */
import type { Random } from '../../../src/testing/random.ts'
import type { Cluster } from './cluster.ts'
import { type Complaint, pause } from './load.ts'

export interface Fault {
  readonly what: string
  readonly complaints: readonly Complaint[]
  happen(cluster: Cluster, random: Random, freezeMs: number): Promise<void>
}

/** Its line goes on with why. */
const storageFailed = /"level":"error".*"reason":"PostgreSQL: .*"event":"storage_failed"/

export const faults: readonly Fault[] = [
  {
    what: 'a node is killed and started again',
    complaints: [],
    async happen({ nodes }, random) {
      const node = random.pick(nodes)
      await node.kill()
      await pause(random.below(2_000))
      await node.start()
    },
  },
  {
    what: 'NATS is killed and started again',
    complaints: [],
    async happen({ nats }, random) {
      await nats.stop()
      await pause(random.below(2_000))
      await nats.start()
    },
  },
  {
    what: 'PostgreSQL is killed and started again',
    complaints: [{ says: storageFailed, because: 'the database is away, and each node says so' }],
    async happen({ postgres }, random) {
      await postgres.kill()
      await pause(random.below(1_000))
      await postgres.start()
    },
  },
  {
    what: 'a node stands still for some seconds',
    complaints: [
      {
        says: storageFailed,
        because: 'PostgreSQL ends a transaction that stands open so long, and what has waited for its locks',
      },
    ],
    async happen({ nodes }, random, freezeMs) {
      const { server } = random.pick(nodes)
      await server.freeze()
      await pause(freezeMs)
      server.thaw()
    },
  },
  {
    what: 'a node is cut off from NATS',
    complaints: [],
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
    complaints: [],
    async happen({ nodes }, random) {
      const { line } = random.pick(nodes)
      line.set('both', { silent: true })
      await pause(random.below(4_000))
      line.set('both', { silent: false })
    },
  },
]
