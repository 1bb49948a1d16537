/** What looking for profiles costs the one thread that all wait for. */
import { DatabaseSync } from 'node:sqlite'
import { expect, it } from 'vitest'
import type { UserId } from '../../src/protocol/ids.ts'
import type { Query } from '../../src/storage/sql/steps.ts'
import { isSeveral } from '../../src/storage/sql/steps.ts'
import { users } from '../../src/storage/sql/users.ts'
import { Database } from '../../src/storage/sqlite/database.ts'
import { alice, bob, carol } from '../../src/testing/storage-contract/stage.ts'
import { noLimits, SqliteFolder } from './sqlite-folder.ts'

/** All that is asked of the database to find these profiles. */
function asked(db: Database, viewer: UserId, ids: readonly UserId[]): Query[] {
  const steps = users.get(viewer, ids)
  const all: Query[] = []
  for (let step = steps.next(); !step.done; ) {
    const queries = isSeveral(step.value) ? step.value : [step.value]
    all.push(...queries)
    const answers = queries.map((query) => db.answer(query))
    step = steps.next(isSeveral(step.value) ? answers : answers[0])
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
    asked(db, viewer, ids).filter(({ text }) => text.includes('membership two'))
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
