import { expect, test } from 'vitest'
import { type Outcome, root, run } from './run.ts'

const title = 'PAGE what is written as HTML is shown as text and does nothing'

/** Runs one of the browser tests where no program is found. */
function runWithoutPrograms(env: NodeJS.ProcessEnv): Promise<Outcome> {
  const args = ['node_modules/vitest/vitest.mjs', 'run', 'tests/browser/demo.test.ts', '-t', title]
  return run(process.execPath, args, { cwd: root, env: { PATH: '', ...env } })
}

test('HOUSE without Chromium the browser tests are skipped, and standard error says which and what to install', async () => {
  const { exitCode, errors } = await runWithoutPrograms({})
  expect(errors).toContain('NO CHROMIUM')
  expect(errors).toContain('apt-get install chromium')
  expect(errors).toContain(`SKIPPED ${title}`)
  expect(exitCode).toBe(0)
})

test('HOUSE without Chromium the browser tests fail where CI is set', async () => {
  const { exitCode, errors } = await runWithoutPrograms({ CI: 'true' })
  expect(errors).toContain('there is no chromium in PATH')
  expect(errors).not.toContain('SKIPPED')
  expect(exitCode).toBe(1)
})
