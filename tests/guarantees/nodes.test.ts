/** Several nodes on one database, and a broker between them that loses, delays and turns around what it carries. */
import { expect, it, vi } from 'vitest'
import { FanfareError } from '../../src/protocol/codes.ts'
import type { EventFrame, TypingFrame } from '../../src/protocol/frames.ts'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { startNodes, type TestNodes } from '../../src/testing/start-nodes.ts'
import { callAs, PumpedSession } from '../chat/pumped-session.ts'
import { alice, bob, carol } from '../chat/stage.ts'

/** Carries what is on its way, and lets each node look into the log. */
async function meet(nodes: TestNodes, backwards = false): Promise<void> {
  nodes.link.carry(backwards)
  await nodes.quiet()
  nodes.clock.advance(1_000)
  await nodes.quiet()
}

/** A session of each user on a node of its own, and a conversation of all. */
async function openRoom(users: readonly UserId[]) {
  const nodes = await startNodes(users.length)
  const sessions: PumpedSession[] = []
  for (const [index, user] of users.entries()) sessions.push(await PumpedSession.connect(nodes.nodes[index]!, user))
  const [host] = sessions as [PumpedSession]
  const { conversation } = await host.command('create_conversation', { participants: [...users] })
  await meet(nodes)
  for (const session of sessions) session.take()
  return {
    nodes,
    link: nodes.link,
    clock: nodes.clock,
    sessions,
    conversation: conversation.id,
    async [Symbol.asyncDispose]() {
      expect(nodes.faults).toEqual([])
      await nodes[Symbol.asyncDispose]()
    },
  }
}

const isEvent = (push: EventFrame | TypingFrame): push is EventFrame => push.event !== 'typing'

function seqs(session: PumpedSession): (number | undefined)[] {
  return session
    .take()
    .filter(isEvent)
    .map(({ seq }) => seq)
}

async function say(session: PumpedSession, conversation: ConversationId, body: string) {
  return (await session.command('create_message', { conversation, body })).message
}

it('E3 what one node commits comes to the sessions of the others, in the order of seq', async () => {
  await using room = await openRoom([alice, bob, carol])
  const [one, two, three] = room.sessions as [PumpedSession, PumpedSession, PumpedSession]
  await say(one, room.conversation, '2')
  room.link.carry()
  await say(two, room.conversation, '3')
  room.link.carry()
  await say(three, room.conversation, '4')
  room.link.carry()
  for (const session of room.sessions) expect(seqs(session)).toEqual([2, 3, 4])
})

it('E3 what comes from two nodes in the wrong order waits for the log, and is told in the right one, once', async () => {
  await using room = await openRoom([alice, bob, carol])
  const [one, two, three] = room.sessions as [PumpedSession, PumpedSession, PumpedSession]
  await say(one, room.conversation, '2')
  await say(two, room.conversation, '3')
  room.link.carry(true)
  await meet(room.nodes)
  expect(seqs(three)).toEqual([2, 3])
  // The second node has written behind what it had not heard of yet.
  expect(seqs(two)).toEqual([2, 3])
  expect(seqs(one)).toEqual([2, 3])
})

it('R5 what comes from another life of the database is told as the log has it here, and not at all where it does not', async () => {
  await using room = await openRoom([alice, bob])
  const [one, two] = room.sessions as [PumpedSession, PumpedSession]
  const sayElsewhere = async () => {
    await say(one, room.conversation, 'here')
    const [waiting] = room.link.waiting.splice(0)
    const { epoch, ...entry } = JSON.parse(waiting!.text)
    const text = JSON.stringify({ ...entry, epoch: `not ${epoch}` }).replaceAll('here', 'elsewhere')
    return { ...waiting!, text }
  }
  room.link.waiting.push(await sayElsewhere())
  room.link.carry()
  await room.nodes.quiet()
  const bodies = (session: PumpedSession) =>
    session
      .take()
      .map(({ data }) => ('record_type' in data && data.record_type === 'message' ? data.record.body : null))
  expect(bodies(two)).toEqual(['here'])
  // It has not the position of anything.
  const stranger = await sayElsewhere()
  const { position, previous } = JSON.parse(stranger.text)
  await meet(room.nodes)
  two.take()
  const moved = { ...JSON.parse(stranger.text), position: position + 1, previous: previous + 1 }
  room.link.waiting.push({ ...stranger, text: JSON.stringify(moved) })
  await meet(room.nodes)
  expect(bodies(two)).toEqual([])
  await say(one, room.conversation, 'next')
  await meet(room.nodes)
  expect(bodies(two)).toEqual(['next'])
})

it('R1 what the broker loses is told within a second, though nothing new comes, and cursors promise none of it before', async () => {
  await using room = await openRoom([alice, bob])
  const [one, two] = room.sessions as [PumpedSession, PumpedSession]
  const { cursor } = await two.command('ping', {})
  room.link.loses = () => true
  await say(one, room.conversation, 'lost')
  await room.nodes.quiet()
  expect(two.take()).toEqual([])
  expect((await two.command('ping', {})).cursor).toBe(cursor)
  room.clock.advance(1_000)
  await room.nodes.quiet()
  expect(seqs(two)).toEqual([2])
  expect((await two.command('ping', {})).cursor).not.toBe(cursor)
})

it('R2, R3 a session that moves to another node goes on there from its cursor', async () => {
  await using room = await openRoom([alice, bob])
  const [one, two] = room.sessions as [PumpedSession, PumpedSession]
  await say(one, room.conversation, '2')
  await meet(room.nodes)
  const [event] = two.take().filter(isEvent)
  two.pair.cut()
  room.link.loses = () => true
  await say(one, room.conversation, '3')
  const moved = await PumpedSession.connect(room.nodes.nodes[0]!, bob, event?.cursor)
  await say(one, room.conversation, '4')
  const told = [...new Set(seqs(moved))]
  expect(told.slice(-2)).toEqual([3, 4])
})

it('E5 who is removed through one node gets nothing more on another, be it lost on the way, and has nothing read for him behind it', async () => {
  await using room = await openRoom([alice, bob, carol])
  const [one, two] = room.sessions as [PumpedSession, PumpedSession]
  for (const loses of [false, true]) {
    room.link.loses = () => loses
    await one.command('remove_participants', { conversation: room.conversation, participants: [bob] })
    await say(one, room.conversation, 'not for him')
    await meet(room.nodes)
    const told = two.take().filter(isEvent)
    expect(told.map(({ event, data }) => [event, data.record_type])).toEqual([['delete', 'conversation']])
    await expect(two.command('get_messages', { conversation: room.conversation })).rejects.toThrow('there is no')
    await expect(two.command('subscribe_typing', { conversation: room.conversation })).rejects.toThrow('there is no')
    await one.command('add_participants', { conversation: room.conversation, participants: [bob] })
    await meet(room.nodes)
    expect(two.take().filter(isEvent)[0]).toMatchObject({ event: 'create', data: { record_type: 'conversation' } })
  }
})

it('E5, E6 a read marker that was moved before its user was removed is told no more where it comes behind that', async () => {
  for (const isLost of [false, true]) {
    await using room = await openRoom([alice, bob])
    const { conversation, link, nodes } = room
    const [one, two] = room.sessions as [PumpedSession, PumpedSession]
    const phone = await PumpedSession.connect(nodes.nodes[0]!, bob)
    const { id: message } = await say(one, conversation, 'hello')
    const { conversation: other } = await one.command('create_conversation', { participants: [bob] })
    await meet(nodes)
    two.take()
    phone.take()
    link.loses = () => isLost
    await phone.command('mark_as_last_message_read', { conversation, message })
    link.loses = () => false
    // The other node has read it in the log, but has not told it.
    const arrival = Promise.withResolvers<void>()
    const { events } = nodes.nodes[1]!.engine.storage
    const { tellings } = events
    if (isLost) {
      const asked = vi.spyOn(events, 'tellings').mockImplementationOnce(async (position) => {
        const said = await tellings(position)
        await arrival.promise
        return said
      })
      room.clock.advance(1_000)
      await vi.waitFor(() => expect(asked).toHaveBeenCalled())
    }
    for (const left of [other.id, conversation]) {
      await one.command('remove_participants', { conversation: left, participants: [bob] })
    }
    link.carry(true)
    arrival.resolve()
    await meet(nodes)
    const told = (session: PumpedSession) => session.take().map(({ data }) => 'record_type' in data && data.record_type)
    expect(told(phone)).toEqual(['user_conversation', 'conversation', 'conversation'])
    expect(told(two)).toEqual(['conversation', 'conversation'])
  }
})

it('E5, T4 who comes back and reads that he was removed gets no typing of it, on a node that has not heard of it yet', async () => {
  await using room = await openRoom([alice, bob, carol])
  const { conversation } = room
  const [one, two, three] = room.sessions as [PumpedSession, PumpedSession, PumpedSession]
  const { cursor } = await two.command('ping', {})
  // Now this node knows who takes part.
  await say(two, conversation, 'known')
  room.link.loses = ({ kind }) => kind === 'entry'
  await one.command('remove_participants', { conversation, participants: [bob] })
  const back = await PumpedSession.connect(room.nodes.nodes[1]!, bob, cursor)
  const told = back.take().filter(isEvent)
  expect(told.at(-1)).toMatchObject({ event: 'delete', data: { record_type: 'conversation' } })
  await expect(back.command('subscribe_typing', { conversation })).rejects.toThrow('there is no')
  await three.command('typing', { conversation, event: 'begin' })
  room.link.carry()
  await room.nodes.quiet()
  expect(back.take()).toEqual([])
})

it('U6, U7 a rotation through one node holds on the others within a second, be it lost on the way', async () => {
  for (const loses of [false, true]) {
    await using room = await openRoom([alice, bob])
    const [one] = room.sessions as [PumpedSession]
    const elsewhere = await PumpedSession.connect(room.nodes.nodes[1]!, alice)
    const listener = room.nodes.nodes[1]!.open()
    const { user_channel } = await one.command('get_user_channel', {})
    listener.say(JSON.stringify({ id: 1, command: 'connect', args: { channel: user_channel.name } }))
    listener.pumpToServer()
    await room.nodes.quiet()
    room.link.loses = () => loses
    await one.command('rotate_user_channel', {})
    await meet(room.nodes)
    listener.pumpToPeer()
    expect(listener.ending?.code).toBe(4410)
    expect(elsewhere.take().map(({ data }) => 'record_type' in data && data.record_type)).toEqual(['user_channel'])
    await one.command('rotate_user_channel', { revoke: true })
    await meet(room.nodes)
    elsewhere.pair.pumpToPeer()
    expect(elsewhere.pair.ending?.code).toBe(4403)
    expect(one.pair.ending).toBe(null)
  }
})

it('M8 disconnect_user closes the sessions on all nodes', async () => {
  await using room = await openRoom([alice, bob])
  const [, two] = room.sessions as [PumpedSession, PumpedSession]
  expect(room.nodes.nodes[0]!.engine.disconnect(bob)).toBe(0)
  room.link.carry()
  two.pair.pumpToPeer()
  expect(two.pair.ending?.code).toBe(4403)
})

it('M8 disconnect_user where no other node can be told closes the sessions here, says how many, and is unavailable', async () => {
  await using room = await openRoom([alice, bob])
  const [, two] = room.sessions as [PumpedSession, PumpedSession]
  const [here] = room.nodes.nodes
  const ours = await PumpedSession.connect(here!, bob)
  room.link.connected = false
  expect(() => here!.engine.disconnect(bob)).toThrow(
    new FanfareError('unavailable', "other nodes can't be told now; 1 sessions were closed on this one"),
  )
  ours.pair.pumpToPeer()
  expect(ours.pair.ending?.code).toBe(4403)
  room.link.carry()
  expect(two.pair.ending).toBe(null)
  room.link.connected = true
  expect(here!.engine.disconnect(bob)).toBe(0)
  room.link.carry()
  two.pair.pumpToPeer()
  expect(two.pair.ending?.code).toBe(4403)
})

it('T2, T3, T4 who types on one node is seen on the others, also by who begins to watch, and no longer than his node lives', async () => {
  await using room = await openRoom([alice, bob, carol])
  const { conversation, clock, link } = room
  const [one, two, three] = room.sessions as [PumpedSession, PumpedSession, PumpedSession]
  await two.command('subscribe_typing', { conversation })
  await one.command('typing', { conversation, event: 'begin' })
  link.carry()
  expect(two.take()).toMatchObject([{ data: { [conversation]: { [alice]: { event: 'begin' } } } }])
  await three.command('subscribe_typing', { conversation })
  link.carry()
  link.carry()
  expect(three.take()).toMatchObject([{ data: { [conversation]: { [alice]: { event: 'begin' } } } }])

  // The message ends it on each node before it is told there, whatever is lost.
  link.loses = ({ kind }) => kind === 'typing'
  await say(one, conversation, 'sent')
  await meet(room.nodes)
  for (const session of [two, three]) expect(session.take().map(({ event }) => event)).toEqual(['typing', 'create'])

  link.loses = () => false
  await one.command('typing', { conversation, event: 'begin' })
  link.carry()
  expect(two.take()).toHaveLength(1)
  // Nothing is heard of the node any more.
  link.loses = () => true
  clock.advance(5_000)
  expect(two.take()).toMatchObject([{ data: { [conversation]: { [alice]: { event: 'finished' } } } }])
})

it.each([
  ['one that knows of the lease of another', [1], 2],
  ['one that knows of no typing', [1], 0],
  ['one of two that have taken a lease, of which the later has not told yet', [1, 2], 1],
  ['the later one', [1, 2], 2],
])(
  'T1, T2 finished ends typing on every node, through whichever it comes over HTTP: %s',
  async (_which, begun, through) => {
    await using room = await openRoom([alice, bob, carol])
    const { conversation, clock, link } = room
    const [, two, three] = room.sessions as [PumpedSession, PumpedSession, PumpedSession]
    const type = (node: number, event: 'begin' | 'finished') =>
      callAs(room.nodes.nodes[node]!, alice, 'typing', { conversation, event })
    /** The states of alice that the watchers are told, well before her lease runs out. */
    const told = async () => {
      for (let round = 0; round < 3; round++) {
        link.carry()
        clock.advance(250)
      }
      return [two, three].map((session) =>
        session.take().flatMap(({ data }) => (data as TypingFrame['data'])[conversation]?.[alice]?.event ?? []),
      )
    }
    for (const watcher of [two, three]) await watcher.command('subscribe_typing', { conversation })
    expect(await told()).toEqual([[], []])
    for (const node of begun) {
      await type(node, 'begin')
      link.carry()
    }
    expect(await told()).toEqual([['begin'], ['begin']])
    await type(through, 'finished')
    expect(await told()).toEqual([['finished'], ['finished']])
    // What each node tells next of its own leases brings hers back on none.
    for (const watcher of [two, three]) await watcher.command('typing', { conversation, event: 'begin' })
    expect(await told()).toEqual([[], []])
  },
)

it('T2 the end of a session ends no lease that another node has taken meanwhile', async () => {
  await using room = await openRoom([alice, bob, carol])
  const { conversation, link } = room
  const [one, two] = room.sessions as [PumpedSession, PumpedSession]
  await two.command('subscribe_typing', { conversation })
  await one.command('typing', { conversation, event: 'begin' })
  link.carry()
  await callAs(room.nodes.nodes[2]!, alice, 'typing', { conversation, event: 'pause' })
  // Neither node has heard of the other's news.
  one.pair.cut()
  link.carry()
  room.clock.advance(250)
  link.carry()
  expect(two.take()).toMatchObject([{}, { data: { [conversation]: { [alice]: { event: 'pause' } } } }])
})

it('T2 who has finished on one node has finished on the others with the next that they hear of it', async () => {
  await using room = await openRoom([alice, bob])
  const { conversation, clock, link } = room
  const [one, two] = room.sessions as [PumpedSession, PumpedSession]
  await two.command('subscribe_typing', { conversation })
  await one.command('typing', { conversation, event: 'begin' })
  link.carry()
  clock.advance(1_000)
  two.take()
  await one.command('typing', { conversation, event: 'finished' })
  link.carry()
  expect(two.take()).toMatchObject([{ data: { [conversation]: { [alice]: { event: 'finished' } } } }])
})

it('T2 who types on another node now is not ended by the end of the session that he typed with before', async () => {
  await using room = await openRoom([alice, bob])
  const { conversation, clock, link } = room
  const [one, two] = room.sessions as [PumpedSession, PumpedSession]
  const phone = await PumpedSession.connect(room.nodes.nodes[1]!, alice)
  await two.command('subscribe_typing', { conversation })
  for (const session of [phone, one]) {
    await session.command('typing', { conversation, event: 'begin' })
    link.carry()
    clock.advance(1_000)
  }
  two.take()
  phone.pair.cut()
  clock.advance(1_000)
  expect(JSON.stringify(two.take())).not.toContain('finished')
  expect(room.nodes.nodes[1]!.engine.typing.leases).toBe(1)
})

it('E2, E3, R1 whatever is lost, delayed and turned around, each session is told everything once and in order', async () => {
  const random = new Random(seedOfTest())
  const users: UserId[] = [alice, bob, carol]
  await using room = await openRoom(users)
  const told = new Map(room.sessions.map((session) => [session, [] as number[]]))
  let last = 1
  for (let step = 0; step < 300; step++) {
    room.link.loses = () => random.below(4) === 0
    const session = random.pick(room.sessions)
    await say(session, room.conversation, `${step}`)
    last++
    if (random.below(3) === 0) room.link.carry(random.below(2) === 0)
    if (random.below(10) === 0) room.clock.advance(random.below(1_500))
    if (random.below(5) === 0) await room.nodes.quiet()
    for (const [one, list] of told) list.push(...(seqs(one) as number[]))
  }
  const everything = Array.from({ length: last - 1 }, (_, index) => index + 2)
  for (const [one, list] of told) {
    while (list.length < everything.length) {
      await meet(room.nodes)
      list.push(...(seqs(one) as number[]))
    }
    expect(list).toEqual(everything)
  }
})
