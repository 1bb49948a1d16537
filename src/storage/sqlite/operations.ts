/** The seam's operations as they run inside the worker: each done at once, step by step. */
import { FanfareError } from '../../protocol/codes.ts'
import { operations as inSteps, type Nouns } from '../sql/operations.ts'
import { isSeveral, type Steps } from '../sql/steps.ts'
import type { Database } from './database.ts'

type Sync<Group> = {
  [Name in keyof Group]: Group[Name] extends (...args: infer A) => Promise<infer R> ? (...args: A) => R : never
}

export type Operations = { [Noun in keyof Nouns]: Sync<Nouns[Noun]> }

export function operations(db: Database): Operations {
  const nouns = Object.entries(inSteps(db.limits)).map(([noun, verbs]) => [
    noun,
    Object.fromEntries(
      Object.entries<(...args: never) => Steps<unknown>>(verbs).map(([verb, steps]) => [
        verb,
        (...args: never) => done(db, steps(...args)),
      ]),
    ),
  ])
  return Object.fromEntries(nouns) as Operations
}

function done<R>(db: Database, steps: Steps<R>): R {
  let step = steps.next()
  while (!step.done) {
    const asked = step.value
    step = steps.next(isSeveral(asked) ? asked.map((query) => db.answer(query)) : db.answer(asked))
  }
  return step.value
}

/** What an operation failed with, as it goes to the other thread. A fault that is no `FanfareError` keeps only its text. */
export type Failure = { readonly code: 'fault'; readonly message: string } | ReturnType<FanfareError['toJSON']>

export function failure(error: unknown): Failure {
  if (error instanceof FanfareError) return error.toJSON()
  return { code: 'fault', message: error instanceof Error ? (error.stack ?? error.message) : String(error) }
}
