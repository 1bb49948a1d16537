import { expect } from 'vitest'
import { natsTest, startNats } from '../../src/testing/nats.ts'
import { runCommand } from './command.ts'

/** The line of the broker's, of a doctor that is asked for servers on a database that is not there. */
async function told(brokerUrl: string): Promise<string> {
  const { stdout } = await runCommand(['doctor', '--port=0', '--database-url=postgres://127.0.0.1:1/x'], {
    env: { FANFARE_BROKER_URL: brokerUrl },
  })
  return stdout.split('\n').find((line) => line.includes('broker:')) ?? stdout
}

natsTest('CLI doctor says whether the broker answers, and never its URL', async () => {
  await using nats = await startNats()
  expect(await told(nats.url)).toMatch(/^ok +broker: answers/)
  await nats.stop()
  const line = await told(nats.url.replace('//', '//fanfare:hush@'))
  expect(line).toMatch(/^warn +broker: .*can't be reached/)
  expect(line).not.toContain('hush')
})
