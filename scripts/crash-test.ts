/**
 * Kills the server over and over while real clients write and read, and says whether anything was lost, doubled or out of order.
 *
 *     npm run crash-test -- --kills 500 --seed 7
 */
import { parseArgs } from 'node:util'
import { crash } from '../tests/guarantees/crash/crash.ts'

const { values } = parseArgs({
  options: { kills: { type: 'string', default: '500' }, seed: { type: 'string' } },
})
const kills = Number(values.kills)
const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
if (!(kills >= 0) || !Number.isInteger(seed)) throw new Error('--kills and --seed are whole numbers')

console.log(`${kills} kills with seed ${seed}`)
const onKill = (count: number) => {
  if (count % 50 === 0) console.log(`${count} kills`)
}
const { problems, ...counts } = await crash({ kills, seed, onKill })
console.log(counts)
for (const problem of problems) console.error(problem)
console.log(problems.length === 0 ? 'Nothing was lost, doubled or out of order' : `${problems.length} problems`)
process.exitCode = problems.length === 0 ? 0 : 1
