/** Peers that take less than they are sent (S6), over real sockets: what waits for them, who goes, and what nobody else notices. */
import { expect, it, vi } from 'vitest'
import type { EventFrame } from '../../src/protocol/frames.ts'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import { range } from '../chat/pumped.ts'
import { openDoors, type Peer } from './open-doors.ts'

const alice: UserId = 'user/alice'
const bob: UserId = 'user/bob'
const carol: UserId = 'user/carol'
const dave: UserId = 'user/dave'

const bodyBytes = 16_000

async function roomOf(host: Peer, ...participants: UserId[]): Promise<ConversationId> {
  return (await host.peer.command('create_conversation', { participants })).conversation.id
}

/** A message of 16 kB whose body begins with a number. */
async function say(host: Peer, conversation: ConversationId, number: number): Promise<void> {
  await host.peer.command('create_message', { conversation, body: `${number}`.padEnd(bodyBytes) })
}

/** Goes on saying numbers until `done` holds; gives the last number. Fails where that takes more than the buffers of any system. */
async function sayUntil(host: Peer, conversation: ConversationId, from: number, done: () => boolean): Promise<number> {
  let number = from
  for (; !done(); number++) {
    expect(number, 'nothing ever waited').toBeLessThan(from + 4_000)
    await say(host, conversation, number)
  }
  return number - 1
}

function numbersSaid(events: readonly EventFrame[]): number[] {
  return events.flatMap(({ data }) => (data.record_type === 'message' ? [Number.parseInt(data.record.body, 10)] : []))
}

/** How much waits for a peer that takes nothing, once the buffers of the system are full. */
async function waitingFor({ socket }: Peer): Promise<number> {
  let before = 0
  await vi.waitFor(
    () => {
      const now = socket.bufferedBytes
      const isFull = now > 0 && now === before
      before = now
      expect(isFull).toBe(true)
    },
    { timeout: 10_000 },
  )
  return before
}

async function expectAll({ peer }: Peer, last: number): Promise<void> {
  await peer.command('ping')
  expect(numbersSaid(peer.events)).toEqual(range(1, last))
}

it('S6 who takes nothing is closed with 4409 at the limit, others get everything meanwhile, and a resume brings the rest', async () => {
  await using doors = await openDoors({ queueBytes: 262_144 })
  const [host, slow, other] = [await doors.connect(alice), await doors.connect(bob), await doors.connect(carol)]
  const room = await roomOf(host, bob, carol)
  await slow.peer.next()
  slow.peer.webSocket.pause()
  let most = 0
  const end = await sayUntil(host, room, 1, () => {
    most = Math.max(most, slow.socket.bufferedBytes)
    return slow.session.closed
  })
  const last = end + 20
  for (const number of range(end + 1, last)) await say(host, room, number)
  // It was let wait for as long as the limit says, and no longer.
  expect(most).toBeGreaterThan(262_144 - 2 * bodyBytes)
  expect(most).toBeLessThan(262_144 + 2 * bodyBytes)
  expect(doors.engine.queues.bytes).toBe(0)
  await expectAll(other, last)
  await expectAll(host, last)
  slow.peer.webSocket.resume()
  expect(await slow.peer.closed).toEqual({ code: 4409, reason: 'slow_consumer' })
  const got = numbersSaid(slow.peer.events)
  expect(got).toEqual(range(1, got.length))

  const back = await doors.connect(bob, slow.peer.events.at(-1)?.cursor)
  expect(back.greeting.resumed).toBe(true)
  await vi.waitFor(() => expect(numbersSaid(back.peer.events).at(-1)).toBe(last), { timeout: 10_000 })
  expect([...got, ...numbersSaid(back.peer.events)]).toEqual(range(1, last))
})

it('S6, T6 at half of the limit typing is dropped, record events are not, and typing comes again when there is room', async () => {
  await using doors = await openDoors({ queueBytes: 1_048_576 })
  const [host, slow, other] = [await doors.connect(alice), await doors.connect(bob), await doors.connect(carol)]
  const room = await roomOf(host, bob, carol)
  for (const { peer } of [slow, other]) await peer.command('subscribe_typing', { conversation: room })
  const type = async (event: 'begin' | 'finished') => {
    doors.started.clock.advance(1_000)
    await host.peer.command('typing', { conversation: room, event })
  }
  await type('begin')
  await slow.peer.nextTyping()
  await type('finished')
  await slow.peer.nextTyping()
  slow.peer.webSocket.pause()
  const last = await sayUntil(host, room, 1, () => slow.socket.bufferedBytes > 600_000)
  await type('begin')
  await type('finished')
  expect(slow.session.closed).toBe(false)
  expect(slow.socket.bufferedBytes).toBeGreaterThan(524_288)
  await other.peer.nextTyping(({ data }) => data[room]?.[alice]?.event === 'begin')
  await say(host, room, last + 1)
  slow.peer.webSocket.resume()
  await expectAll(slow, last + 1)
  const typing = () => slow.peer.pushes.filter((push) => 'event' in push && push.event === 'typing')
  expect(typing()).toHaveLength(2)
  await type('begin')
  await slow.peer.nextTyping()
  expect(typing()).toHaveLength(3)
})

it('S6 below the limit who takes nothing for a while loses nothing, and nothing of it is left to count', async () => {
  await using doors = await openDoors({ queueBytes: 1_048_576 })
  const [host, slow] = [await doors.connect(alice), await doors.connect(bob)]
  const room = await roomOf(host, bob)
  let last = 0
  for (let round = 0; round < 3; round++) {
    slow.peer.webSocket.pause()
    last = await sayUntil(host, room, last + 1, () => slow.socket.bufferedBytes > 500_000)
    expect(doors.engine.queues.bytes).toBeGreaterThan(400_000)
    slow.peer.webSocket.resume()
    await expectAll(slow, last)
    await vi.waitFor(() => expect(doors.engine.queues.bytes).toBe(0))
  }
  expect(slow.session.closed).toBe(false)
})

it('S6 of all queues together the longest goes first, and the others stay', async () => {
  await using doors = await openDoors({ queueBytes: 8_388_608, queuesBytes: 1_048_576 })
  const host = await doors.connect(alice)
  const [most, less, least] = [await doors.connect(bob), await doors.connect(carol), await doors.connect(dave)]
  const [forMost, forLess, forAll] = [
    await roomOf(host, bob),
    await roomOf(host, carol),
    await roomOf(host, bob, carol, dave),
  ]
  for (const { peer } of [most, less]) peer.webSocket.pause()
  await sayUntil(host, forLess, 1, () => less.socket.bufferedBytes > 200_000)
  await sayUntil(host, forMost, 1, () => most.socket.bufferedBytes > 500_000)
  await sayUntil(host, forAll, 1, () => most.session.closed || less.session.closed)
  expect([most, less, least].map(({ session }) => session.closed)).toEqual([true, false, false])
  expect(doors.engine.queues.bytes).toBeLessThan(1_048_576)
  expect(doors.engine.queues.bytes).toBeGreaterThan(200_000)
  await sayUntil(host, forLess, 1, () => less.session.closed)
  expect(least.session.closed).toBe(false)
  expect(doors.engine.queues.bytes).toBe(0)
})

it('S6 replies count too: who asks and does not read is closed as well', async () => {
  await using doors = await openDoors({ queueBytes: 262_144 })
  const host = await doors.connect(alice)
  const room = await roomOf(host, bob)
  for (const number of range(1, 20)) await say(host, room, number)
  const slow = await doors.connect(bob)
  slow.peer.webSocket.pause()
  for (let asked = 0; !slow.session.closed; asked++) {
    expect(asked).toBeLessThan(400)
    slow.peer.send(JSON.stringify({ id: 1_000 + asked, command: 'get_messages', args: { conversation: room } }))
    // Storage answers in the order in which it was asked.
    await host.peer.command('get_unread_count')
  }
  slow.peer.webSocket.resume()
  expect((await slow.peer.closed).code).toBe(4409)
})

/** A session that takes nothing any more, so that whatever comes for it waits here. */
async function fallBehind(slow: Peer, host: Peer, conversation: ConversationId): Promise<void> {
  slow.peer.webSocket.pause()
  await sayUntil(host, conversation, 1, () => slow.socket.bufferedBytes > 0)
}

it('S6 a page of history may be longer than the limit, again and again', async () => {
  await using doors = await openDoors({ queueBytes: 262_144 })
  const [host, slow] = [await doors.connect(alice), await doors.connect(bob)]
  const room = await roomOf(host, bob)
  for (const number of range(1, 200)) await say(host, room, number)
  for (let pages = 0; pages < 3; pages++) {
    await fallBehind(slow, host, room)
    const page = slow.peer.command('get_messages', { conversation: room, limit: 200 })
    await vi.waitFor(() => expect(doors.engine.queues.bytes).toBeGreaterThan(1_048_576))
    expect(slow.session.closed).toBe(false)
    slow.peer.webSocket.resume()
    expect((await page).messages).toHaveLength(200)
    await vi.waitFor(() => expect(doors.engine.queues.bytes).toBe(0))
  }
  expect(slow.session.closed).toBe(false)
})

it('S6 what comes behind a long page counts, and the page itself counts with all queues', async () => {
  await using doors = await openDoors({ queueBytes: 262_144, queuesBytes: 4_194_304 })
  const [host, slow, slower] = [await doors.connect(alice), await doors.connect(bob), await doors.connect(carol)]
  const room = await roomOf(host, bob)
  await fallBehind(slow, host, room)
  slow.peer.send(JSON.stringify({ id: 1_000, command: 'get_messages', args: { conversation: room, limit: 200 } }))
  await vi.waitFor(() => expect(doors.engine.queues.bytes).toBeGreaterThan(1_048_576))
  const waiting = slow.socket.bufferedBytes
  await sayUntil(host, room, 1, () => slow.session.closed || slow.socket.bufferedBytes > waiting + 300_000)
  expect(slow.session.closed).toBe(true)

  const rooms = [await roomOf(host, carol), await roomOf(host, dave)]
  await fallBehind(slower, host, rooms[0] as ConversationId)
  const other = await doors.connect(dave)
  await fallBehind(other, host, rooms[1] as ConversationId)
  for (const [index, { peer }] of [slower, other].entries()) {
    const args = { conversation: rooms[index], limit: 200 }
    peer.send(JSON.stringify({ id: 1_000, command: 'get_messages', args }))
  }
  await vi.waitFor(() => expect(slower.session.closed || other.session.closed).toBe(true))
  expect(slower.session.closed && other.session.closed).toBe(false)
})

it('S6, R2 what was missed does not count: who reads it slowly gets all of it, and what happened meanwhile', async () => {
  // What is left of a piece of the log when the system's buffers are full differs from system to system, so the limits are next to nothing.
  const queueBytes = 500
  await using doors = await openDoors({ queueBytes, queuesBytes: queueBytes })
  const host = await doors.connect(alice)
  const { cursor } = host.greeting
  const rooms = [await roomOf(host, bob), await roomOf(host, bob)]
  const count = 450
  for (const [index, room] of rooms.entries()) {
    for (const number of range(1 + index * count, (index + 1) * count)) await say(host, room, number)
  }
  const back = await doors.connect(bob, cursor)
  back.peer.webSocket.pause()
  const waiting = await waitingFor(back)
  expect(waiting).toBeGreaterThan(queueBytes)
  const last = 2 * count + 40
  for (const number of range(2 * count + 1, last)) await say(host, rooms[0] as ConversationId, number)
  expect(back.session.closed).toBe(false)
  // What is live waits in the log, and not for it.
  expect(back.socket.bufferedBytes).toBeLessThan(waiting + bodyBytes)
  expect(doors.engine.queues.bytes).toBe(0)
  back.peer.webSocket.resume()
  await vi.waitFor(() => expect(numbersSaid(back.peer.events).at(-1)).toBe(last), { timeout: 15_000 })
  expect(numbersSaid(back.peer.events)).toEqual(range(1, last))
  expect(back.session.closed).toBe(false)
}, 60_000)

it('S6 replies count also while what was missed is waiting', async () => {
  await using doors = await openDoors({ queueBytes: 262_144 })
  const host = await doors.connect(alice)
  const { cursor } = host.greeting
  const room = await roomOf(host, bob)
  for (const number of range(1, 450)) await say(host, room, number)
  const slow = await doors.connect(bob, cursor)
  slow.peer.webSocket.pause()
  await waitingFor(slow)
  for (let asked = 0; !slow.session.closed; asked++) {
    expect(asked).toBeLessThan(100)
    slow.peer.send(JSON.stringify({ id: 1_000 + asked, command: 'get_messages', args: { conversation: room } }))
    // Storage answers in the order in which it was asked.
    await host.peer.command('get_unread_count')
  }
  slow.peer.webSocket.resume()
  expect((await slow.peer.closed).code).toBe(4409)
}, 60_000)

it('S6 one slow reader among 200 costs its own queue and nothing else', async () => {
  const queueBytes = 262_144
  await using doors = await openDoors({ queueBytes, limits: { sessionsPerUser: 0 } })
  const [host, slow] = [await doors.connect(alice), await doors.connect(dave)]
  const others = [host]
  while (others.length < 199) others.push(await doors.connect(others.length % 2 ? bob : carol))
  const [room, filling] = [await roomOf(host, bob, carol, dave), await roomOf(host, dave)]
  slow.peer.webSocket.pause()
  await sayUntil(host, filling, 1, () => slow.socket.bufferedBytes > 65_536)
  const before = process.memoryUsage().arrayBuffers
  let [mostWaiting, mostMemory] = [0, 0]
  const count = 100
  for (const number of range(1, count)) {
    await host.peer.command('create_message', { conversation: room, body: `${number}`.padEnd(4_000) })
    mostWaiting = Math.max(mostWaiting, slow.socket.bufferedBytes)
    mostMemory = Math.max(mostMemory, process.memoryUsage().arrayBuffers - before)
  }
  expect(slow.session.closed).toBe(true)
  expect(mostWaiting).toBeGreaterThan(queueBytes - 10_000)
  expect(mostWaiting).toBeLessThan(queueBytes + 10_000)
  // What 199 others are sent is 90 MB in all, of bytes that are made once.
  expect(mostMemory).toBeLessThan(50_000_000)
  for (const { peer } of others) {
    await peer.command('ping')
    const seqs = peer.events.filter(({ conversation }) => conversation === room).map(({ seq }) => seq)
    expect(seqs).toEqual(range(1, count + 1))
  }
}, 60_000)
