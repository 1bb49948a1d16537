import { relative } from 'node:path'
import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** What takes longest goes first, in this order: else the last of these runs while the other worker has nothing left to do. */
const longest = [
  'tests/guarantees/model-nodes.test.ts',
  'tests/guarantees/crash.test.ts',
  'tests/guarantees/cluster.test.ts',
  'tests/storage/disk-faults.test.ts',
  'tests/browser/demo.test.ts',
  'tests/bench/smoke.test.ts',
  'tests/storage/postgres.test.ts',
  'tests/storage/sqlite.test.ts',
  'tests/cli/serve.test.ts',
]

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const known = longest.indexOf(relative(import.meta.dirname, moduleId))
      return known < 0 ? longest.length : known
    }
    return (await super.sort(files)).sort((a, b) => place(a) - place(b))
  }
}

export default defineConfig({
  test: {
    include: ['tests/**/*.test.ts'],
    // Ends a test that hangs, and times none: on a machine that others use the longest take several times as long.
    testTimeout: 60_000,
    hookTimeout: 60_000,
    // Two cores: more workers than that only make real databases and browsers wait for each other.
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
  },
})
