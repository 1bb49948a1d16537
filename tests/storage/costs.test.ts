/** What single operations cost the database, and whoever waits for it. */
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import type { UserId } from '../../src/protocol/ids.ts'
import { conversations, placesAtOnce } from '../../src/storage/sql/conversations.ts'
import { isSeveral, type Query, type Steps } from '../../src/storage/sql/steps.ts'
import { users } from '../../src/storage/sql/users.ts'
import { Database } from '../../src/storage/sqlite/database.ts'
import { alice, bob, carol } from '../../src/testing/storage-contract/stage.ts'
import { noLimits, SqliteFolder } from './sqlite-folder.ts'

interface Asked extends Query {
  readonly answer: unknown
}

/** Does the operation; all that it asked of the database, and was answered. */
function asked(db: Database, steps: Steps<unknown>): Asked[] {
  const all: Asked[] = []
  for (let step = steps.next(); !step.done; ) {
    const several = isSeveral(step.value) ? step.value : [step.value]
    const now = several.map((query) => ({ ...query, answer: db.answer(query) }))
    all.push(...now)
    step = steps.next(isSeveral(step.value) ? now.map(({ answer }) => answer) : now[0]?.answer)
  }
  return all
}

it('M7 a profile is looked for once, through the conversations of whoever is in fewer', async () => {
  await using folder = new SqliteFolder()
  const stage = await folder.stage()
  for (let count = 0; count < 3; count++) await stage.conversation(alice, [])
  await stage.conversation(alice, [bob])
  await folder.close()
  const db = new Database(folder.file, noLimits)
  const joins = (viewer: UserId, ids: readonly UserId[]) =>
    asked(db, users.get(viewer, ids)).filter(({ text }) => text.includes('membership two'))
  expect(joins(alice, [bob, carol, bob]).map(({ values }) => values)).toEqual([
    [bob, alice],
    [carol, alice],
  ])
  const [join] = joins(bob, [alice])
  expect(join?.values).toEqual([bob, alice])
  db.close()

  using plain = new DatabaseSync(folder.file)
  const plan = plain.prepare(`EXPLAIN QUERY PLAN ${join?.text.replaceAll('$', '?')}`).all()
  expect(plan.map(({ detail }) => detail)).toEqual([
    expect.stringMatching(/^SEARCH one USING COVERING INDEX membership_of_user /),
    expect.stringContaining('CORRELATED SCALAR SUBQUERY'),
    expect.stringMatching(/^SEARCH two USING COVERING INDEX membership_of_user .* AND conversation=\?\)$/),
  ])
})

it('M1, R1 a long conversation ends by many statements, and takes its place in the log behind all of them', async () => {
  await using folder = new SqliteFolder()
  const stage = await folder.stage()
  const room = await stage.conversation(alice, [bob])
  await stage.message(alice, room, 'the first of many')
  await folder.close()
  const db = new Database(folder.file, noLimits)
  const said = placesAtOnce * 2 + 10
  const numbers = `WITH RECURSIVE n(i) AS (SELECT 3 UNION ALL SELECT i + 1 FROM n WHERE i < ${said + 1})`
  db.run(`${numbers} INSERT INTO message SELECT conversation, i, id || i, created_by, created_at, updated_at, body, metadata,
    attachment, revision, edited_at, edited_by, deleted, client_id FROM message, n`)
  db.run(`${numbers} INSERT INTO event (at, event_type, record_type, conversation, seq, message_seq)
    SELECT at, event_type, record_type, conversation, i, i FROM event, n WHERE event.seq = 2`)
  db.run('UPDATE conversation SET last_seq = ?', said + 1)

  const all = asked(db, conversations(noLimits).delete(stage.act(alice), room))
  const changes = all.filter(({ wanted }) => wanted === 'changes').map(({ answer }) => Number(answer))
  expect(Math.max(...changes)).toBe(placesAtOnce)
  expect(all.at(-1)?.wanted).toBe('position')
  expect(db.get('SELECT count(*) AS left FROM message')).toEqual({ left: 0 })
  expect(db.get('SELECT min(seq) AS first, count(*) AS left FROM event')).toEqual({ first: said + 2, left: 1 })
  db.close()
})
