/** The thread that owns the database: how long answers share the way with others'. */
import { describe, expect, it } from 'vitest'
import { alice, bob } from '../../src/testing/storage-contract/stage.ts'
import { SqliteFolder } from './sqlite-folder.ts'

describe('SQLite: long pages', () => {
  it('S6 between their answers others have their turn, however fast they are asked for', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    for (let count = 0; count < 5; count++) await stage.message(alice, room, 'x'.repeat(2 ** 18))
    let turns = 0
    let goesOn = true
    const turn = () => {
      turns++
      if (goesOn) setImmediate(turn)
    }
    turn()
    const turnOf: number[] = []
    const read = async (left: number): Promise<void> => {
      await stage.storage.messages.list(bob, room, 5, {})
      turnOf.push(turns)
      // As long as it takes to make a frame of it, the next answer may come.
      for (const end = performance.now() + 20; performance.now() < end; );
      if (left > 0) await read(left - 1)
    }
    await Promise.all([read(5), read(5)])
    goesOn = false
    expect(turnOf).toHaveLength(12)
    expect(new Set(turnOf).size).toBe(12)
  })
})
