/** The thread that owns the database: what becomes of the process without it, and how long answers share the way with others'. */
import { describe, expect, it } from 'vitest'
import { alice, bob } from '../../src/testing/storage-contract/stage.ts'
import { linesOf } from '../cli/command.ts'
import { startServerProcess } from '../hostile/server-process.ts'
import { SqliteFolder } from './sqlite-folder.ts'

/** Has the storage thread do this when it is asked for something that has `last words` in it. */
function atLastWords(act: string): Record<string, string> {
  const script = `import { isMainThread, parentPort } from 'node:worker_threads'
    if (!isMainThread) parentPort.on('message', (asked) => { if (JSON.stringify(asked).includes('last words')) ${act} })`
  return { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(script)}` }
}

describe('SQLite: a storage thread that ends by itself', () => {
  it.each([
    ['fails', `throw new Error('no more memory')`, 'no more memory'],
    ['exits', 'process.exit(7)', 'with 7'],
  ])(
    'STORAGE where it %s the process ends with 1 and says why in the log, to be started anew',
    async (_how, act, why) => {
      await using server = await startServerProcess([], atLastWords(act))
      const say = (title: string) =>
        server.call('create_conversation', { participants: [], title }, { 'fanfare-as': alice })
      expect((await say('first words')).status).toBe(200)
      // It may be answered before.
      await say('last words').catch(() => {})
      const { code, stdout, stderr } = await server.ended
      expect(code).toBe(1)
      expect(linesOf(stdout).log.at(-1)).toMatchObject({
        level: 'fatal',
        event: 'crashed',
        error: expect.stringContaining(why),
      })
      expect(stderr).toContain('the storage thread has ended by itself')
    },
  )
})

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
