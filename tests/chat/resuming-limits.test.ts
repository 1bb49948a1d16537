/** How much a resume tells, and how long one may come back (R3–R5, W6). */
import { expect, it, vi } from 'vitest'
import type { GapFrame } from '../../src/protocol/frames.ts'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { caughtUp, isGap, missedSince, resume, said } from './resume.ts'
import { alice, bob, isEvent, openRoom, type Session, say } from './stage.ts'

/** Many messages, a few turns' worth at a time; the bodies are numbers. */
async function sayMany(session: Session, conversation: ConversationId, from: number, to: number) {
  for (let first = from; first <= to; first += 100) {
    const count = Math.min(100, to - first + 1)
    await Promise.all(Array.from({ length: count }, (_, at) => say(session, conversation, `${first + at}`)))
  }
}

it('R4, W6 of a conversation with more than 500 missed events come a gap and the latest 500; get_events has the rest', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { cursor } = await room.bob.command('ping')
  await sayMany(room.alice, conversation, 1, 612)
  await using back = await resume(room.stage, bob, cursor)
  await caughtUp(back, room.alice)
  expect(back.pushes[0]).toEqual({ gap: { conversation, after_seq: 1, before_seq: 114 } })
  expect(back.pushes).toHaveLength(501)
  expect(back.events.map(({ seq }) => seq)).toEqual(Array.from({ length: 500 }, (_, index) => 114 + index))
  const { events } = await back.command('get_events', { conversation, after_seq: 1, limit: 112 })
  expect([...events, ...back.events].map(said)).toEqual(Array.from({ length: 612 }, (_, index) => `${index + 1}`))
})

it('R4, R1 behind 10,000 events come gaps alone; and whoever breaks off anywhere on the way is told of every seq', async () => {
  await using room = await openRoom()
  const { cursor: start } = await room.bob.command('ping')
  const rooms: ConversationId[] = []
  for (let count = 0; count < 21; count++) {
    const { conversation } = await room.alice.command('create_conversation', { participants: [bob] })
    await sayMany(room.alice, conversation.id, 1, 499)
    rooms.push(conversation.id)
  }
  // Behind what is left out comes something that is bob's own, with a cursor of its own.
  await room.stage.server.call('update_user', { name: 'Bob' }, bob)

  const all = await missedSince(room.stage, bob, start, room.alice)
  expect(all.filter(isEvent)).toHaveLength(10_001)
  expect(all.filter(isGap)).toEqual([{ gap: { conversation: rooms[20], after_seq: 0, before_seq: 501 } }])
  expect(all.findIndex(isGap)).toBeGreaterThan(9_999)

  // Breaks off at some cursor on the way, and goes on from there: of each conversation every seq was told, be it by a gap.
  for (const at of [0, 1, 7_000, 9_999, 10_000]) {
    const before = all.slice(0, all.filter(isEvent)[at] ? all.indexOf(all.filter(isEvent)[at]!) + 1 : 0)
    const { cursor } = before.filter(isEvent).at(-1)!
    const rest = await missedSince(room.stage, bob, cursor, room.alice)
    const told = new Set<string>()
    for (const push of [...before, ...rest]) {
      if (isGap(push)) for (const seq of seqsOf(push)) told.add(`${push.gap.conversation} ${seq}`)
      else if (isEvent(push) && push.seq) told.add(`${push.conversation} ${push.seq}`)
    }
    for (const id of rooms) {
      for (let seq = 1; seq <= 500; seq++) expect(told.has(`${id} ${seq}`), `${at}: ${id} ${seq}`).toBe(true)
    }
  }
}, 60_000)

function seqsOf({ gap: { after_seq, before_seq } }: GapFrame): number[] {
  return Array.from({ length: before_seq - after_seq - 1 }, (_, index) => after_seq + 1 + index)
}

it('R5, M5 past retention a cursor is not gone on from, and get_events is conflict; what is kept holds', async () => {
  const day = 86_400_000
  await using room = await openRoom({ retentionMs: 30 * day })
  const { conversation, clock, stage } = room
  const { cursor: old } = await room.bob.command('ping')
  await say(room.alice, conversation, 'old')
  const { cursor: kept } = await room.alice.command('ping')
  clock.advance(31 * day)
  await Promise.all([room.alice.closed, room.bob.closed])
  const answer = await stage.server.call('create_message', { conversation, body: 'new' }, alice)
  expect(answer.status).toBe(200)
  // The log is looked at every ten minutes.
  await vi.waitFor(
    async () => {
      clock.advance(600_000)
      const events = await stage.server.call('get_events', { conversation, after_seq: 1 }, alice)
      expect([events.status, events.error?.code]).toEqual([409, 'conflict'])
    },
    { timeout: 10_000 },
  )
  await using late = await resume(stage, bob, old)
  expect(late.greeting.resumed).toBe(false)
  expect(await late.rest()).toEqual([])
  expect((await missedSince(stage, bob, kept, late)).filter(isEvent).map(said)).toEqual(['new'])
  await using fresh = await resume(stage, bob, late.greeting.cursor)
  expect(fresh.greeting.resumed).toBe(true)
  expect((await fresh.command('get_events', { conversation, after_seq: 2 })).events.map(said)).toEqual(['new'])
  // The messages themselves are no part of the log.
  const { messages } = await fresh.command('get_messages', { conversation })
  expect(messages.map(({ body }) => body)).toEqual(['new', 'old'])
})

it('R3 within retention a cursor holds to its last day', async () => {
  const day = 86_400_000
  await using room = await openRoom({ retentionMs: 30 * day })
  const { cursor } = await room.bob.command('ping')
  await say(room.alice, room.conversation, 'weeks ago')
  room.clock.advance(29 * day)
  await Promise.all([room.alice.closed, room.bob.closed])
  for (let look = 0; look < 5; look++) {
    room.clock.advance(600_000)
    // What is answered now was asked for after the look.
    expect((await room.stage.server.call('get_unread_count', {}, bob)).result.message).toBe(1)
  }
  const host = await room.stage.connect(alice)
  expect((await missedSince(room.stage, bob, cursor, host)).filter(isEvent).map(said)).toEqual(['weeks ago'])
})
