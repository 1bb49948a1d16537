/**
 * Plays the random scenarios of tests/guarantees/model.test.ts, as many as are wanted, and says what did not hold. With
 * several nodes each scenario is played on that many, which share a PostgreSQL and a NATS of their own.
 *
 *     npm run model-test -- [--runs N] [--nodes N] [--seed S [--path P]] [--limit-seconds T]
 */
import { parseArgs } from 'node:util'
import { Ground } from '../tests/guarantees/model/nodes.ts'
import { playScenarios } from '../tests/guarantees/model/scenarios.ts'
import { oneServer } from '../tests/guarantees/model/servers.ts'

const { values } = parseArgs({
  options: {
    nodes: { type: 'string', default: '1' },
    runs: { type: 'string', default: '2000' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    path: { type: 'string', default: '' },
    'limit-seconds': { type: 'string', default: '86400' },
  },
})
const begun = performance.now()
let held = 0

function report(): void {
  const seconds = Math.round((performance.now() - begun) / 1000)
  console.log(`${held} scenarios held in ${seconds} s, seed ${values.seed}`)
}

const nodes = Number(values.nodes)
await using ground = nodes > 1 ? await Ground.start() : null

try {
  await playScenarios({
    runs: Number(values.runs),
    seed: Number(values.seed),
    path: values.path,
    limitMs: Number(values['limit-seconds']) * 1000,
    start: ground?.nodes(nodes) ?? oneServer,
    onHeld: () => ++held % 100 === 0 && report(),
  })
  report()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
