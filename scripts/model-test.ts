/**
 * Plays the random scenarios of tests/guarantees/model.test.ts, as many as are wanted, and says what did not hold.
 *
 *     npm run model-test -- [--runs N] [--seed S [--path P]] [--limit-seconds T]
 */
import { parseArgs } from 'node:util'
import { playScenarios } from '../tests/guarantees/model/scenarios.ts'

const { values } = parseArgs({
  options: {
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

try {
  await playScenarios({
    runs: Number(values.runs),
    seed: Number(values.seed),
    path: values.path,
    limitMs: Number(values['limit-seconds']) * 1000,
    onHeld: () => ++held % 100 === 0 && report(),
  })
  report()
} catch (error) {
  console.error(error instanceof Error ? error.message : error)
  process.exitCode = 1
}
