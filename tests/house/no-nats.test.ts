import { expect, test } from 'vitest'
import { type Outcome, root, run } from './run.ts'

const title = 'BROKER no subject shows a name'

/** Runs one of the tests with NATS where its program is not found. */
function runWithoutNats(env: NodeJS.ProcessEnv): Promise<Outcome> {
  const args = ['node_modules/vitest/vitest.mjs', 'run', 'tests/broker/nats.test.ts', '-t', title]
  return run(process.execPath, args, { cwd: root, env: { FANFARE_NATS_BIN: '/nowhere/nats-server', ...env } })
}

test('HOUSE without a NATS server its tests are skipped, and standard error says which and what to install', async () => {
  const { exitCode, errors } = await runWithoutNats({})
  expect(errors).toContain('NO NATS SERVER')
  expect(errors).toContain('apt-get install nats-server')
  expect(errors).toContain(`SKIPPED ${title}`)
  expect(exitCode).toBe(0)
})

test('HOUSE without a NATS server its tests fail where CI is set', async () => {
  const { exitCode, errors } = await runWithoutNats({ CI: 'true' })
  expect(errors).toContain('there is no nats-server')
  expect(errors).not.toContain('SKIPPED')
  expect(exitCode).toBe(1)
})
