import { expect, it } from 'vitest'
import { restart } from './restart.ts'

it('R3 a hundred sessions go on from their cursors after the server was killed, and none begins anew', async () => {
  const report = await restart(100)
  expect(report).toMatchObject({ sessions: 100, resumed: 100, reloaded: 0, problems: [] })
}, 120_000)
