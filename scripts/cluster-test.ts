/**
 * Kills, stops and parts nodes, PostgreSQL and NATS over and over while real clients write and read on all nodes, and says whether anything was
 * lost, doubled or out of order.
 *
 *     npm run cluster-test -- --faults 50 --freeze 20 --seed 7
 */
import { parseArgs } from 'node:util'
import { Random } from '../src/testing/random.ts'
import { startCluster } from '../tests/guarantees/cluster/cluster.ts'
import { faults } from '../tests/guarantees/cluster/faults.ts'
import { underLoad } from '../tests/guarantees/cluster/load.ts'
import { openHearing } from '../tests/guarantees/cluster/room.ts'

const { values } = parseArgs({
  options: {
    faults: { type: 'string', default: '50' },
    /** How long a node stands still, in seconds. */
    freeze: { type: 'string', default: '20' },
    seed: { type: 'string' },
  },
})
const count = Number(values.faults)
const freezeMs = Number(values.freeze) * 1_000
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
if (!(count >= 0) || !(freezeMs >= 0) || !Number.isInteger(seed)) {
  throw new Error('--faults, --freeze and --seed are whole numbers')
}

console.log(`${count} faults with seed ${seed}`)
const random = new Random(seed)
let bad = 0
await using cluster = await startCluster(3)
for (let number = 1; number <= count; number++) {
  const { what, complaints, happen } = random.pick(faults)
  await using hearing = await openHearing(cluster.nodes)
  const fault = () => happen(cluster, random, freezeMs)
  const { problems, messages, secondsToWhole } = await underLoad(
    cluster.nodes,
    seed + 1_000 * number,
    fault,
    complaints,
  )
  console.log(`${number}: ${what}; ${messages} messages, whole after ${secondsToWhole.toFixed(1)} s`)
  const found = [...problems, ...(await hearing.unheard(10_000))]
  for (const problem of found) console.error(problem)
  bad += found.length
}
console.log(bad === 0 ? 'Nothing was lost, doubled or out of order' : `${bad} problems`)
process.exitCode = bad === 0 ? 0 : 1
