/** A short run of scripts/fuzz.ts, which throws a million things at the server when it is asked to. */
import { expect, it } from 'vitest'
import { fuzz } from '../../scripts/fuzz.ts'
import { seedOfTest } from '../../src/testing/random.ts'

it('W1, W3, W9 nothing that chance makes throws in the decoder, ends the process, or is left without an answer', async () => {
  const report = await fuzz(6_000, seedOfTest())
  expect(report.faults).toEqual([])
  // Chance was at work: there was something of everything.
  for (const outcome of ['result', 'invalid_argument', 'not_found', 'forbidden', '4400']) {
    expect([outcome, report.outcomes[outcome] ?? 0]).toEqual([outcome, expect.toSatisfy((count) => count > 0)])
  }
}, 120_000)
