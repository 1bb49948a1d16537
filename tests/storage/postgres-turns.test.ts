/** In which order operations on PostgreSQL are answered, without one. */
import { expect, it } from 'vitest'
import { AnswersInOrder, type Ticket } from '../../src/storage/postgres/turns.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'

/** An operation: asked for, given a position by the database, told of it, and in the end committed or failed. */
interface Operation {
  readonly ticket: Ticket
  position: number | null
  isPlaced: boolean
}

it('E3 whatever order operations are placed, committed and fail in, each is answered when none may stand before it, and all in the end', async () => {
  const random = new Random(seedOfTest())
  for (let round = 0; round < 200; round++) {
    const answers = new AnswersInOrder()
    const open = new Set<Operation>()
    const committed: Operation[] = []
    const answered: number[] = []
    let last = 0
    const step = (operation: Operation) => {
      if (random.below(12) === 0) {
        open.delete(operation)
        answers.leave(operation.ticket)
      } else if (operation.position === null) {
        operation.position = ++last
      } else if (!operation.isPlaced) {
        operation.isPlaced = true
        answers.place(operation.ticket, operation.position)
      } else if (!committed.includes(operation)) {
        committed.push(operation)
        void answers.committed(operation.ticket, () => {
          const position = operation.position as number
          open.delete(operation)
          answered.push(position)
          const before = [...open].filter((other) => other.position !== null && other.position < position)
          expect(before, 'one that stands before it is not answered yet').toEqual([])
        })
      }
    }
    for (let asked = 0; asked < 40; ) {
      if (random.below(4) === 0) {
        open.add({ ticket: answers.enter(), position: null, isPlaced: false })
        asked++
      }
      const waiting = [...open].filter((operation) => !committed.includes(operation))
      if (waiting.length > 0) step(random.pick(waiting))
    }
    for (const operation of open) while (open.has(operation) && !committed.includes(operation)) step(operation)
    expect([...open]).toEqual([])
    expect(answered).toEqual(committed.map(({ position }) => position).sort((one, other) => one! - other!))
  }
})

it('STORAGE how many wait for a slow one costs no more than their number', () => {
  const answers = new AnswersInOrder()
  const slow = answers.enter()
  answers.place(slow, 1)
  const answered: number[] = []
  for (let position = 2; position < 5_000; position++) {
    const ticket = answers.enter()
    answers.place(ticket, position)
    void answers.committed(ticket, () => answered.push(position))
  }
  expect(answered).toEqual([])
  answers.leave(slow)
  expect(answered).toEqual(Array.from({ length: 4_998 }, (_, index) => index + 2))
})
