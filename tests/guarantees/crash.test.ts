import { expect, it } from 'vitest'
import { seedOfTest } from '../../src/testing/random.ts'
import { crash } from './crash/crash.ts'

it('C4, C6, M3, R2, R3 fifty crashes under load lose nothing, double nothing, and change no order, for anybody', async () => {
  const seed = seedOfTest()
  const { problems, kills, ...counts } = await crash({ kills: 50, seed, onKill() {} })
  console.log(`seed ${seed}:`, JSON.stringify(counts))
  expect(problems).toEqual([])
  expect(kills).toBe(50)
  expect(counts.messages).toBeGreaterThan(100)
  expect(counts.retries).toBeGreaterThan(0)
}, 600_000)
