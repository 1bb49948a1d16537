/** Random scenarios, as many as are asked for, of which each must hold. `model.test.ts` plays a few, `scripts/model-test.ts` any number. */
import fc from 'fast-check'
import { play } from './play.ts'
import type { StartServers } from './servers.ts'
import { anyStep, type Settings, type Step, settings } from './steps.ts'

const longest = 120

interface Scenario {
  readonly settings: Settings
  readonly steps: readonly Step[]
}

/** What is to be played. The same seed plays the same; with the path of a failure besides, that failure first, as it was made smaller. */
export interface Wanted {
  readonly runs: number
  readonly seed: number
  readonly path: string
  /** How long a failure is made smaller, and how long there is to find one, in milliseconds. */
  readonly limitMs: number
  /** Where the servers of each come from; one that is alone unless given. */
  readonly start?: StartServers
  /** Called after each scenario that held. */
  readonly onHeld?: () => unknown
}

/** Rejects with the smallest scenario that it has found not to hold: its steps, what went wrong, what led to it, its seed and path. */
export async function playScenarios({ runs, seed, path, limitMs, start, onHeld = () => {} }: Wanted): Promise<void> {
  const scenario: fc.Arbitrary<Scenario> = fc.record({
    settings,
    steps: fc.array(anyStep, { maxLength: longest, size: 'max' }),
  })
  const property = fc.asyncProperty(scenario, async ({ settings, steps }) => {
    await play(settings, steps, start)
    onHeld()
  })
  const details = await fc.check(property, {
    numRuns: runs,
    seed,
    path,
    endOnFailure: path !== '',
    interruptAfterTimeLimit: limitMs,
    // All steps are small already; favouring small scenarios first would make most of them too short to break anything.
    unbiased: true,
  })
  if (details.failed) throw new Error(failureText(details), { cause: details.errorInstance })
}

function failureText(details: fc.RunDetails<[Scenario]>): string {
  const { counterexample, seed, counterexamplePath, numShrinks, numRuns } = details
  const smallest = counterexample?.[0]
  return [
    `scenario ${numRuns} did not hold; made smaller ${numShrinks} times it is`,
    smallest ? `play(${JSON.stringify(smallest.settings)}, [` : 'nothing: none was played in time',
    ...(smallest?.steps.map((step) => `  ${JSON.stringify(step)},`) ?? []),
    '])',
    `to have it again: FANFARE_SEED=${seed} FANFARE_PATH=${counterexamplePath}`,
    String(details.errorInstance),
  ].join('\n')
}
