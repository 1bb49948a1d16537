import { DatabaseSync } from 'node:sqlite'
import { describe, expect, it } from 'vitest'
import { Database } from '../../src/storage/sqlite/database.ts'
import { alice, bob } from '../../src/testing/storage-contract/stage.ts'
import { startNode } from '../cli/command.ts'
import { noLimits, SqliteFolder } from './sqlite-folder.ts'

/** Until none of the texts stands in any file, which is soon; the test's own time limit is the only one. */
async function gone(folder: SqliteFolder, ...texts: string[]): Promise<void> {
  await expect.poll(() => folder.holding(...texts), { timeout: 15_000, interval: 20 }).toEqual([])
}

const everywhere = (text: string) => ({ body: text, metadata: { a: [text] }, attachment: { url: text } })

describe('SQLite: deleted content', () => {
  it('E4 is gone from the bytes of all files soon after the deletion, with what was edited away before', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    const { id } = await stage.message(alice, room, '', everywhere('secret 1'))
    await stage.edit(alice, id, everywhere('secret 2'))
    await stage.message(bob, room, 'kept')
    await stage.edit(alice, id, everywhere('secret 3'))
    for (const secret of ['secret 1', 'secret 2', 'secret 3']) expect(folder.holding(secret)).not.toEqual([])
    await stage.delete(alice, id)
    await gone(folder, 'secret')
    expect(folder.holding('kept')).not.toEqual([])
  })

  it('E4 is gone when the database is closed at once', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    const { id } = await stage.message(alice, room, '', everywhere('secret'))
    await stage.edit(alice, id, { body: 'secret' })
    await stage.delete(alice, id)
    await folder.close()
    expect(folder.holding('secret')).toEqual([])
  })

  it('E4 is gone also where it was long', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    const long = (text: string) => everywhere(`${text} `.repeat(10_000))
    const { id } = await stage.message(alice, room, '', long('secret 1'))
    await stage.edit(alice, id, long('secret 2'))
    expect(folder.holding('secret 1')).not.toEqual([])
    await stage.delete(alice, id)
    await gone(folder, 'secret')
  })

  it('E4 of a deleted conversation is gone, messages, title and all', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = (await stage.create(alice, [bob], { title: 'secret 1', metadata: { a: 'secret 2' } })).result
    await stage.update(alice, room.conversation.id, 'secret 3')
    const { id } = await stage.message(bob, room.conversation.id, 'secret 4')
    await stage.edit(bob, id, { body: 'secret 5' })
    await stage.end(alice, room.conversation.id)
    await gone(folder, 'secret')
  })

  it('E4 is gone after a restart when the server crashed right after the deletion', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    const { id } = await stage.message(alice, room, 'secret 1')
    await folder.close()
    const module = new URL('../../src/storage/sqlite.ts', import.meta.url).href
    const act = { actor: alice, at: stage.now, known: 0 }
    const edit = { body: 'secret 2', clientId: null }
    await using server = startNode([
      '--eval',
      `const { openSqlite } = await import(${JSON.stringify(module)})
       const { messages } = await openSqlite(${JSON.stringify(folder.file)}, ${JSON.stringify(noLimits)}, { committed() {}, failed: console.error })
       await messages.edit(${JSON.stringify(act)}, '${id}', ${JSON.stringify(edit)})
       await messages.delete(${JSON.stringify(act)}, '${id}')
       process.kill(process.pid, 'SIGKILL')`,
    ])
    expect(await server.ended).toMatchObject({ code: null, stderr: '' })
    const restarted = await folder.stage()
    expect(await restarted.messages(bob, room)).toMatchObject([{ deleted: true, body: '' }])
    await gone(folder, 'secret')
  })

  it('E4 goes as soon as a reader lets it, and meanwhile nothing waits for the reader', async () => {
    await using folder = new SqliteFolder()
    await folder.open()
    await folder.close()
    const database = new Database(folder.file, noLimits)
    using reader = new DatabaseSync(folder.file, { readOnly: true })
    try {
      database.run(`INSERT INTO epoch (name, from_position) VALUES ('secret', 0)`)
      reader.exec('BEGIN; SELECT * FROM epoch')
      database.run(`DELETE FROM epoch WHERE name = 'secret'`)
      // It would wait for 5 s if it waited at all, and no operation could run then.
      expect(database.checkpoint()).toBe(false)
      expect(folder.holding('secret')).not.toEqual([])
      reader.exec('COMMIT')
      expect(database.checkpoint()).toBe(true)
      expect(folder.holding('secret')).toEqual([])
    } finally {
      database.close()
    }
  })

  it('E4 goes by itself when the reader that was in the way has ended', async () => {
    await using folder = new SqliteFolder()
    const stage = await folder.stage()
    const room = await stage.conversation(alice, [bob])
    const { id } = await stage.message(alice, room, 'secret')
    using reader = new DatabaseSync(folder.file, { readOnly: true })
    reader.exec('BEGIN; SELECT * FROM message')
    await stage.delete(alice, id)
    await stage.message(bob, room, 'goes on')
    reader.exec('COMMIT')
    await gone(folder, 'secret')
  })
})
