/** Whether the server lives and whether it is ready. */
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test } from 'vitest'
import { Readiness } from '../../src/operator/readiness.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { connect } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'

async function ask(url: string): Promise<[status: number, body: unknown]> {
  const answer = await fetch(url)
  return [answer.status, await answer.json()]
}

const ready = [200, { ready: true, reasons: [] }]
const unready = (...reasons: string[]) => [503, { ready: false, reasons }]

test('OPERATOR a server that runs is alive and ready, and says so without a key', async () => {
  await using server = await startServer()
  expect(await ask(`${server.url}/livez`)).toEqual([200, { live: true }])
  expect(await ask(`${server.url}/readyz`)).toEqual(ready)
  expect((await fetch(`${server.url}/readyz`, { method: 'HEAD' })).status).toBe(200)
  expect((await fetch(`${server.url}/livez`, { method: 'POST' })).status).toBe(404)
})

// It takes the 5 s for which storage waits.
test('OPERATOR while nothing can be stored it is alive and not ready, and then ready again', {
  timeout: 60_000,
}, async () => {
  await using server = await startServer()
  using other = new DatabaseSync(`${server.folder}/fanfare.db`)
  other.exec('BEGIN IMMEDIATE')
  const asked = ask(`${server.url}/readyz`)
  expect(await ask(`${server.url}/livez`)).toEqual([200, { live: true }])
  expect(await asked).toEqual(unready('storage'))
  other.exec('ROLLBACK')
  // The answer holds for a second.
  await expect.poll(() => ask(`${server.url}/readyz`), { timeout: 30_000 }).toEqual(ready)
})

test('S7 a server that drains is alive and not ready', async () => {
  await using server = await startServer({ metrics: { host: '127.0.0.1', port: 0 } })
  await using alice = await connect(server, 'user/alice')
  // It does not read the goodbye, so the server waits for it.
  alice.webSocket.pause()
  const stopped = server.stop()
  for (const url of [server.url, server.metricsUrl]) {
    expect(await ask(`${url}/livez`)).toEqual([200, { live: true }])
    expect(await ask(`${url}/readyz`)).toEqual(unready('draining'))
  }
  alice.webSocket.terminate()
  await stopped
})

describe('readiness', () => {
  test('OPERATOR storage is asked once a second at most, however many ask', async () => {
    const clock = new FakeClock()
    let probes = 0
    const readiness = new Readiness(
      () => false,
      async () => void probes++,
      clock,
    )
    await Promise.all(Array.from({ length: 100 }, () => readiness.reasons()))
    expect(probes).toBe(1)
    clock.advance(999)
    await readiness.reasons()
    expect(probes).toBe(1)
    clock.advance(1)
    await readiness.reasons()
    expect([probes, clock.waiting]).toEqual([2, 0])
  })

  test('OPERATOR storage that does not answer within 5 s is not ready', async () => {
    const clock = new FakeClock()
    const readiness = new Readiness(
      () => false,
      () => new Promise(() => {}),
      clock,
    )
    const reasons = readiness.reasons()
    clock.advance(5_000)
    expect(await reasons).toEqual(['storage'])
  })

  test('OPERATOR a clock that was set back does not keep the last answer for ever', async () => {
    const clock = new FakeClock()
    let works = false
    const readiness = new Readiness(
      () => false,
      () => (works ? Promise.resolve() : Promise.reject(new Error())),
      clock,
    )
    expect(await readiness.reasons()).toEqual(['storage'])
    clock.advance(-3_600_000)
    works = true
    expect(await readiness.reasons()).toEqual([])
  })
})
