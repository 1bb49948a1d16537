/** Reading back: messages by page, by seq and by time, and the events as they were pushed (M5). */
import { expect, test } from 'vitest'
import type { Args } from '../../src/protocol/commands.ts'
import type { EventFrame } from '../../src/protocol/frames.ts'
import { bob, carol, codeOf, isEvent, openRoom, refusal, type Session, say } from './stage.ts'

type Room = Awaited<ReturnType<typeof openRoom>>

/** The bodies of a page. */
async function bodies(session: Session, args: Args<'get_messages'>): Promise<string[]> {
  return (await session.command('get_messages', args)).messages.map(({ body }) => body)
}

/** Sends `count` messages named by number, from 1; the first gets seq 2. After each the clock goes on by `apartMs`. */
async function fill({ alice, conversation, clock }: Room, count: number, apartMs = 0): Promise<void> {
  for (let number = 1; number <= count; number++) {
    await say(alice, conversation, `${number}`)
    clock.advance(apartMs)
  }
}

/** The names of messages from `first` to `last`, be it down. */
function numbers(first: number, last: number): string[] {
  const step = first <= last ? 1 : -1
  return Array.from({ length: Math.abs(last - first) + 1 }, (_, index) => `${first + step * index}`)
}

test('M5 get_messages gives the newest first, 50 unless asked otherwise, and pages go on below a seq', async () => {
  await using room = await openRoom()
  const { conversation } = room
  await fill(room, 60, 10)
  expect(await bodies(room.bob, { conversation })).toEqual(numbers(60, 11))
  const first = await room.bob.command('get_messages', { conversation, limit: 25 })
  expect(first.messages.map(({ body }) => body)).toEqual(numbers(60, 36))
  const before_seq = first.messages.at(-1)?.seq as number
  expect(await bodies(room.bob, { conversation, limit: 25, before_seq })).toEqual(numbers(35, 11))
  expect(await bodies(room.bob, { conversation, limit: 25, before_seq: 12 })).toEqual(numbers(10, 1))
  expect(await bodies(room.bob, { conversation, before_seq: 2 })).toEqual([])
  expect(await bodies(room.bob, { conversation, before_seq: 0 })).toEqual([])
})

test('M5 with after_seq get_messages gives the oldest first, above it, and below before_seq too', async () => {
  await using room = await openRoom()
  const { conversation } = room
  await fill(room, 9)
  expect(await bodies(room.bob, { conversation, after_seq: 0, limit: 4 })).toEqual(numbers(1, 4))
  expect(await bodies(room.bob, { conversation, after_seq: 5, limit: 4 })).toEqual(numbers(5, 8))
  expect(await bodies(room.bob, { conversation, after_seq: 3, before_seq: 7 })).toEqual(numbers(3, 5))
  expect(await bodies(room.bob, { conversation, after_seq: 7, before_seq: 3 })).toEqual([])
  expect(await bodies(room.bob, { conversation, after_seq: 10 })).toEqual([])
})

test('M5 with before_time get_messages stays below that time, however it is written', async () => {
  await using room = await openRoom()
  const { conversation } = room
  await fill(room, 6, 1_000)
  const below = (before_time: string, more: object = {}) => bodies(room.bob, { conversation, before_time, ...more })
  expect(await below('2026-01-01T00:00:03.000Z')).toEqual(numbers(3, 1))
  expect(await below('2026-01-01T00:00:03.001Z')).toEqual(numbers(4, 1))
  expect(await below('2026-01-01T00:00:03Z')).toEqual(numbers(3, 1))
  expect(await below('2026-01-01T02:00:03+02:00')).toEqual(numbers(3, 1))
  expect(await below('2025-12-31T23:59:59Z')).toEqual([])
  expect(await below('9999-12-31T23:59:59.999Z')).toEqual(numbers(6, 1))
  expect(await below('2026-01-01T00:00:04Z', { limit: 2 })).toEqual(numbers(4, 3))
  expect(await below('2026-01-01T00:00:04Z', { before_seq: 4 })).toEqual(numbers(2, 1))
  expect(await below('2026-01-01T00:00:04Z', { after_seq: 3 })).toEqual(numbers(3, 4))
})

test('M5 tombstones are in get_messages, and what else happened is not', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { id } = await say(room.alice, conversation, 'one')
  await room.alice.command('update_conversation', { conversation, title: 'Us' })
  await say(room.bob, conversation, 'two')
  const { message: tombstone } = await room.alice.command('delete_message', { message: id })
  const { messages } = await room.bob.command('get_messages', { conversation })
  expect(messages.map(({ seq, body }) => [seq, body])).toEqual([
    [4, 'two'],
    [2, ''],
  ])
  expect(messages[1]).toEqual(tombstone)
})

test('M5 ranges that are none are invalid_argument', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const wrong: object[] = [
    { before_seq: -1 },
    { after_seq: 1.5 },
    { before_seq: '3' },
    { before_seq: null },
    { before_time: '2026-01-01' },
    { before_time: '2026-02-30T00:00:00Z' },
    { before_time: 1_767_225_600_000 },
    { before_time: '' },
    { limit: 0 },
    { limit: -1 },
    { limit: 2.5 },
  ]
  for (const range of wrong) {
    const asked = room.bob.commandOf({ command: 'get_messages', args: { conversation, ...range } })
    expect({ range, code: await codeOf(asked) }).toEqual({ range, code: 'invalid_argument' })
  }
  for (const args of [{}, { after_seq: -1 }, { after_seq: 0, limit: 0 }]) {
    const asked = room.bob.commandOf({ command: 'get_events', args: { conversation, ...args } })
    expect({ args, code: await codeOf(asked) }).toEqual({ args, code: 'invalid_argument' })
  }
})

test('M5, L2 a page has 200 at most: a longer one is invalid_argument in every list', async () => {
  await using room = await openRoom()
  const { conversation } = room
  await Promise.all(numbers(1, 205).map((body) => say(room.alice, conversation, body)))
  const page = await room.bob.command('get_messages', { conversation, limit: 200 })
  expect(page.messages.length).toBe(200)
  const { events } = await room.bob.command('get_events', { conversation, after_seq: 0, limit: 200 })
  expect(events.map(({ seq }) => seq)).toEqual(Array.from({ length: 200 }, (_, index) => index + 1))
  const byDefault = await room.bob.command('get_events', { conversation, after_seq: 0 })
  expect(byDefault.events.length).toBe(50)
  const lists: [string, object][] = [
    ['get_messages', { conversation }],
    ['get_events', { conversation, after_seq: 0 }],
    ['get_conversations', {}],
    ['get_participants', { conversation }],
  ]
  for (const [command, args] of lists) {
    const told = await refusal(room.bob.commandOf({ command, args: { ...args, limit: 201 } }))
    expect({ command, ...told }).toMatchObject({ command, code: 'invalid_argument', details: { limit: 200 } })
  }
})

test('M5 get_events gives the events as they were pushed, each in its page, but for what was deleted since', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { id } = await say(room.alice, conversation, 'one')
  await room.alice.command('edit_message', { message: id, body: 'two', metadata: { draft: 2 } })
  await room.alice.command('update_conversation', { conversation, title: 'Us', metadata: { a: 1 } })
  await say(room.bob, conversation, 'three', { attachment: { url: 'https://example.org' } })
  await room.alice.command('add_participants', { conversation, participants: [carol] })
  await room.alice.command('add_admins', { conversation, admins: [bob] })
  await room.alice.command('edit_message', { message: id, body: 'four' })
  await room.stage.settle()

  const pushed = room.bob.events
  const whole = await room.bob.command('get_events', { conversation, after_seq: 0 })
  expect(whole.events).toEqual(pushed)
  const paged: EventFrame[] = []
  for (;;) {
    const after_seq = paged.at(-1)?.seq ?? 0
    const { events } = await room.bob.command('get_events', { conversation, after_seq, limit: 3 })
    if (events.length === 0) break
    paged.push(...events)
  }
  expect(paged).toEqual(pushed)
  expect((await room.bob.command('get_events', { conversation, after_seq: 8 })).events).toEqual([])

  const { message: tombstone } = await room.alice.command('delete_message', { message: id })
  const { events } = await room.alice.command('get_events', { conversation, after_seq: 1 })
  expect(events.at(-1)?.data.record).toEqual(tombstone)
  expect(JSON.stringify(events)).not.toMatch(/"(one|two|four)"/)
  expect(events.filter(({ data }) => data.record_type === 'conversation')).toEqual(
    room.alice.events.filter(({ seq, data }) => data.record_type === 'conversation' && (seq as number) > 1),
  )
})

test('M5, E5 get_events tells each what he could see then: his comings and goings as they were told to him', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation, stage } = room
  const participants = [bob]
  await say(room.alice, conversation, 'seen')
  await room.alice.command('remove_participants', { conversation, participants })
  await say(room.alice, conversation, 'not seen')
  await room.alice.command('add_participants', { conversation, participants })
  await say(room.alice, conversation, 'seen again')
  await room.bob.command('leave_conversation', { conversation })
  await say(room.alice, conversation, 'not seen either')
  await room.alice.command('add_participants', { conversation, participants })
  await stage.settle()

  for (const session of [room.bob, room.alice, room.guests[1] as Session]) {
    const { events } = await session.command('get_events', { conversation, after_seq: 0 })
    expect(events, session.greeting.user).toEqual(session.pushes.filter(isEvent))
  }
  const { events } = await room.bob.command('get_events', { conversation, after_seq: 0 })
  expect(events.map(({ event, seq }) => [event, seq])).toEqual([
    ['create', 1],
    ['create', 2],
    ['delete', 3],
    ['create', 5],
    ['create', 6],
    ['delete', 7],
    ['create', 9],
  ])
  // Over HTTP it is the same, cursors included.
  const { result } = await stage.server.call('get_events', { conversation, after_seq: 3 }, bob)
  expect(result.events).toEqual(events.slice(3))
})
