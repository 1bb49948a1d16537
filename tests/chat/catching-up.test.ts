/** What happens to a session while it is still told what it missed (R1, R2, R5): the wire stands still until the test moves it. */
import { expect, it, vi } from 'vitest'
import type { TypingState } from '../../src/protocol/typing.ts'
import { startEngine, type TestEngine } from '../../src/testing/start-engine.ts'
import { connectPumped, numbers, Pumped, range, sayMany } from './pumped.ts'
import { alice, bob, carol } from './stage.ts'

const missedCount = 100

/** Alice, a conversation with bob, and a cursor of bob's behind which he has missed more than is read at once. */
async function openAbsence(started: TestEngine) {
  const host = await connectPumped(started, alice)
  const { conversation } = await host.command('create_conversation', { participants: [bob, carol] })
  const { cursor } = await host.command('ping')
  await sayMany(host, conversation.id, 1, missedCount)
  return { alice: host, conversation: conversation.id, cursor }
}

/** Bob, who has taken the first `count` events of what he missed, and no more. */
async function openBob(started: TestEngine, cursor: string, count: number): Promise<Pumped> {
  const peer = await connectPumped(started, bob, cursor)
  await peer.takeEvents(count)
  return peer
}

/** Takes all that is still to come: the cursor of `ping` is then that of alice, who misses nothing. */
async function takeAll(peer: Pumped, host: Pumped): Promise<void> {
  for (;;) {
    const { cursor } = await host.command('ping')
    if ((await peer.command('ping')).cursor === cursor) return
    await new Promise((resolve) => setImmediate(resolve))
  }
}

it('R2 what is published meanwhile comes after what was missed, once, in the order of the log', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const back = await openBob(started, room.cursor, 1)
  for (let count = missedCount + 1; count <= missedCount + 60; count += 20) {
    await sayMany(room.alice, room.conversation, count, count + 19)
    await back.takeEvents(back.events.length + 15)
  }
  await takeAll(back, room.alice)
  await sayMany(room.alice, room.conversation, missedCount + 61, missedCount + 62)
  await takeAll(back, room.alice)
  expect(numbers(back.events)).toEqual(range(1, missedCount + 62))
  expect(started.faults).toEqual([])
})

it('R2, S6 it goes out as fast as the peer takes it: what waits on the wire is no more than is read at once', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const back = await openBob(started, room.cursor, 1)
  let most = 0
  await back.takeUntil(() => {
    most = Math.max(most, back.pair.bufferedBytes)
    return back.events.length === missedCount
  })
  expect(most).toBeGreaterThan(16_000)
  expect(most).toBeLessThan(256 * 1024)
})

it('R1 the cursor of ping is that of the last event that was sent, until nothing is missing', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const back = new Pumped(started)
  const greeting = await back.connect(started, bob, room.cursor)
  expect(greeting).toMatchObject({ resumed: true, cursor: room.cursor })
  const seen = new Set<string>()
  while (back.events.length < missedCount) {
    await back.takeEvents(back.events.length + 1)
    const { cursor } = await back.command('ping')
    expect(cursor).toBe(back.events.at(-1)?.cursor)
    seen.add(cursor)
  }
  expect(seen.size).toBeGreaterThan(3)
  await takeAll(back, room.alice)
})

it('R1, R2 whoever breaks off on the way goes on from any cursor that he got, again and again, and misses nothing', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const got: (number | string)[] = []
  let { cursor } = room
  for (let next = missedCount + 1; got.length < missedCount + 30; next += 2) {
    const peer = await openBob(started, cursor, 1)
    // More happens meanwhile, for a while.
    if (next < missedCount + 30) await sayMany(room.alice, room.conversation, next, next + 1)
    const count = Math.min(7, missedCount + 30 - got.length)
    await peer.takeEvents(count)
    peer.pair.cut()
    const taken = peer.events.slice(0, count)
    got.push(...numbers(taken))
    cursor = taken.at(-1)?.cursor as string
  }
  expect(got).toEqual(range(1, missedCount + 30))
})

it('R1 get_events names no place that the session has not come to', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const back = await openBob(started, room.cursor, 1)
  const { events } = await back.command('get_events', { conversation: room.conversation, after_seq: 0, limit: 200 })
  expect(events).toHaveLength(missedCount + 1)
  const far = events.at(-1)?.cursor as string
  back.pair.cut()
  const taken = back.events.length
  const again = await connectPumped(started, bob, far)
  await takeAll(again, room.alice)
  expect(numbers(again.events)).toEqual(range(taken + 1, missedCount))
})

it('E3 commands are answered at once, and what they do is told in its place, after the reply', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const back = await openBob(started, room.cursor, 3)
  const { message } = await back.command('create_message', { conversation: room.conversation, body: '777 mine' })
  const { messages } = await back.command('get_messages', { conversation: room.conversation, limit: 1 })
  expect(messages).toEqual([message])
  expect(back.events.length).toBeLessThan(missedCount)
  await takeAll(back, room.alice)
  expect(numbers(back.events)).toEqual([...range(1, missedCount), 777])
  expect(back.events.at(-1)?.data.record).toEqual(message)
})

it('E5 who is removed meanwhile gets his `delete`, and nothing of it behind what was sent before', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const back = await openBob(started, room.cursor, 1)
  const { conversation } = room
  await room.alice.command('remove_participants', { conversation, participants: [bob] })
  const onTheWire = back.pair.bufferedBytes
  await sayMany(room.alice, conversation, 500, 510)
  await takeAll(back, room.alice)
  const taken = numbers(back.events)
  expect(taken.at(-1)).toBe('delete conversation')
  expect(taken.slice(0, -1)).toEqual(range(1, taken.length - 1))
  // At most one answer of storage was asked for before.
  expect(taken.length).toBeLessThan(2 + (onTheWire + 256 * 1024) / 8_000)
})

it('E5 who is removed and added again meanwhile is told both, then what came since', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const { conversation } = room
  const back = await openBob(started, room.cursor, 1)
  await room.alice.command('remove_participants', { conversation, participants: [bob] })
  await sayMany(room.alice, conversation, 500, 510)
  await room.alice.command('add_participants', { conversation, participants: [bob] })
  await sayMany(room.alice, conversation, 511, 520)
  await takeAll(back, room.alice)
  expect(numbers(back.events)).toEqual([
    ...range(1, missedCount),
    'delete conversation',
    'create conversation',
    ...range(511, 520),
  ])
})

it('E5, T4 by a `delete` of before a session watches no more, though its user was added again since', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const { conversation } = room
  await room.alice.command('remove_participants', { conversation, participants: [bob] })
  await room.alice.command('add_participants', { conversation, participants: [bob] })
  const back = await openBob(started, room.cursor, 1)
  const type = async (event: TypingState) => {
    await room.alice.command('typing', { conversation, event })
    started.clock.advance(250)
  }
  const kinds = () => back.frames.flatMap((frame) => ('event' in frame ? frame.event : []))
  await back.command('subscribe_typing', { conversation })
  await type('begin')
  await back.takeUntil(() => kinds().includes('typing'))
  expect(kinds()).not.toContain('delete')
  await back.takeUntil(() => kinds().includes('delete'))
  await type('pause')
  await takeAll(back, room.alice)
  await type('begin')
  await back.command('ping')
  expect(kinds().slice(kinds().indexOf('delete'))).toEqual(['delete', 'create'])
  // He is in, and may ask again.
  expect(await back.command('subscribe_typing', { conversation })).toMatchObject({ typing: { [alice]: {} } })
})

it('E4 what is deleted meanwhile comes without content, unless it was sent before', async () => {
  await using started = await startEngine()
  const room = await openAbsence(started)
  const { messages } = await room.alice.command('get_messages', { conversation: room.conversation, limit: 200 })
  const back = await openBob(started, room.cursor, 1)
  for (const { id } of messages) await room.alice.command('delete_message', { message: id })
  const before = Number.parseInt(/"body":"(\d+)/.exec(back.pair.texts.at(-1) as string)?.[1] as string, 10)
  await takeAll(back, room.alice)
  const withContent = back.events.filter(({ data }) => JSON.stringify(data).includes('xxx')).length
  expect(back.events).toHaveLength(2 * missedCount)
  expect(before).toBe(1)
  expect(withContent).toBeLessThan(40)
  expect(numbers(back.events).slice(withContent, missedCount)).toEqual(Array(missedCount - withContent).fill('create'))
})

it('R5 whom pruning overtakes is closed with 4409, and told on coming back that he must reload', async () => {
  await using started = await startEngine({ retentionMs: 60_000 })
  const waiting = started.clock.waiting
  const room = await openAbsence(started)
  const back = await openBob(started, room.cursor, 1)
  const { epoch, events } = started.engine.storage
  // The retention looks at the log at its start, then every ten minutes.
  started.clock.advance(1_000)
  await vi.waitFor(() => expect(started.clock.waiting).toBe(waiting + 2))
  started.clock.advance(600_000)
  await vi.waitFor(async () => expect(await events.missed(bob, { epoch, position: 1 })).toBe(null))
  expect(await back.takeToTheEnd()).toEqual({ code: 4409, reason: 'slow_consumer' })
  expect(back.events.length).toBeLessThan(missedCount)
  const again = new Pumped(started)
  expect(await again.connect(started, bob, back.events.at(-1)?.cursor)).toMatchObject({ resumed: false })
})

it('U6, U7 a rotation meanwhile leaves who has a token in place, and one that revokes does not', async () => {
  await using started = await startEngine({ listeners: true })
  const room = await openAbsence(started)
  const old = (await (await connectPumped(started, bob)).command('get_user_channel')).user_channel.name
  const [back, other] = [await openBob(started, room.cursor, 1), await openBob(started, room.cursor, 1)]
  const listener = new Pumped(started)
  await listener.command('connect', { channel: old, cursor: room.cursor })
  await listener.takeEvents(1)
  await back.command('rotate_user_channel', { revoke: false })
  expect(await listener.takeToTheEnd()).toEqual({ code: 4410, reason: 'channel_rotated' })
  await takeAll(back, room.alice)
  expect(numbers(back.events)).toEqual([...range(1, missedCount), 'update user_channel'])
  await back.command('rotate_user_channel', { revoke: true })
  expect(await other.takeToTheEnd()).toEqual({ code: 4403, reason: 'session_revoked' })
  const name = (await back.command('get_user_channel')).user_channel.name
  const renewed = new Pumped(started)
  const greeting = await renewed.command('connect', { channel: name, cursor: room.cursor })
  expect(greeting).toMatchObject({ user: bob, resumed: true, expires_at: null })
  await takeAll(renewed, room.alice)
  // Two rotations are among what was missed, and a listener is told of neither.
  expect(numbers(renewed.events)).toEqual(range(1, missedCount))
})

it('R2 a resume that ends at any moment leaves no session, timer or byte behind', async () => {
  await using started = await startEngine({ listeners: true })
  const { engine, clock } = started
  const kept = clock.waiting
  const room = await openAbsence(started)
  const peers: Pumped[] = [room.alice]
  for (const taken of [0, 1, 5, missedCount]) peers.push(await openBob(started, room.cursor, taken))
  const name = (await (peers.at(-1) as Pumped).command('get_user_channel')).user_channel.name
  const listener = new Pumped(started)
  await listener.command('connect', { channel: name, cursor: room.cursor })
  peers.push(listener)
  const { conversation } = room
  await room.alice.command('typing', { conversation, event: 'begin' })
  await room.alice.command('subscribe_typing', { conversation })
  // One that is cut off while storage is asked what it missed.
  const early = new Pumped(started)
  early.give('connect', { token: await started.token(bob), cursor: room.cursor })
  peers.push(early, new Pumped(started))
  expect(engine.sessions.size).toBe(peers.length)
  for (const peer of peers) peer.pair.cut()
  // By the time that another one has come and gone, all that was asked for them is answered.
  const last = await connectPumped(started, alice)
  last.pair.cut()
  for (const user of [alice, bob, carol]) expect(engine.hub.sessions(user)).toEqual([])
  expect(engine.sessions.size).toBe(0)
  expect(engine.queues.bytes).toBe(0)
  expect(engine.typing.size).toBe(0)
  expect(engine.unconnected.of('127.0.0.1')).toBe(0)
  expect(clock.waiting).toBe(kept)
  expect(started.faults).toEqual([])
})
