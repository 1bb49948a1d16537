/**
 * The scenarios of `model.test.ts` on three nodes, which share a real PostgreSQL and a real NATS: sessions come to any of them, one is
 * started again or crashes, and what they tell each other is late or lost. `npm run model-test -- --nodes 3 --runs 1000` plays more of them.
 */
import { afterAll, beforeAll, describe, expect } from 'vitest'
import { natsTest } from '../../src/testing/nats.ts'
import { seedOfTest } from '../../src/testing/random.ts'
import { withoutPostgres } from '../storage/postgres-database.ts'
import { Ground } from './model/nodes.ts'
import { play } from './model/play.ts'
import { playScenarios } from './model/scenarios.ts'
import type { StartServers } from './model/servers.ts'
import { roomy } from './model/steps.ts'

const runs = 120
/** Only who is about to fail, or a machine that stands still, comes near to it. */
const limitMs = 300_000

describe.skipIf(withoutPostgres)('three nodes', () => {
  let ground: Ground
  let three: StartServers
  beforeAll(async () => {
    ground = await Ground.start()
    three = ground.nodes(3)
  }, 120_000)
  afterAll(async () => {
    await ground?.[Symbol.asyncDispose]()
  })

  natsTest(
    'E2, E3, E4, E5, E6, M1, M2, M3, M4, M5, M6, M7, R1, R2, R3, R5, T2, T3, T4, U2, U3, U6, U7 whatever happens on three nodes, all that is promised holds',
    async () => {
      let held = 0
      await playScenarios({
        runs,
        seed: seedOfTest(),
        path: process.env.FANFARE_PATH ?? '',
        limitMs,
        start: three,
        onHeld: () => held++,
      })
      expect(held).toBeGreaterThan(0)
    },
    600_000,
  )

  // Scenarios that did not hold once, as small as they were made.

  natsTest(
    'E5 that he has read on is not told who was told to be out, though it comes from another node later',
    async () => {
      await play(
        roomy,
        [
          { step: 'leave', by: 5, reach: 'said', place: 0 },
          { step: 'send', by: 0, reach: 'read', place: 10, clientId: 0 },
          { step: 'mark', by: 1, reach: 'said', place: 0, message: 0 },
        ],
        three,
      )
    },
  )

  natsTest('U6 who comes by a new name to a node that has not heard of the rotation is not told of it', async () => {
    await play(
      roomy,
      [
        { step: 'rotate', by: 1, reach: 'read', revoke: false },
        { step: 'listen', by: 1, on: 0, cursor: 'last', pick: 0, old: false, reach: 'read' },
      ],
      three,
    )
  })
})
