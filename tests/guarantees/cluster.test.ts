/** Three nodes as an operator runs them: what one says holds on all, and no fault of one part loses, doubles or turns around anything. */
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest'
import type { UserId } from '../../src/protocol/ids.ts'
import { natsTest } from '../../src/testing/nats.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { connect, open, type RawSession } from '../../src/testing/raw-session.ts'
import { codeOf, messageOf, say } from '../chat/stage.ts'
import { withoutPostgres } from '../storage/postgres-database.ts'
import { type Cluster, type ClusterNode, startCluster } from './cluster/cluster.ts'
import { faults } from './cluster/faults.ts'
import { underLoad, unexpected } from './cluster/load.ts'
import { openHearing, openRoom, strangers } from './cluster/room.ts'
import { call } from './server-process.ts'

/** So long nodes may take to hear of what closes or ends something. */
const soonMs = 1_000
/** So long clients may take to have everything, once all parts run again. */
const wholeSeconds = 10
/** Much longer than PostgreSQL lets a transaction of a node stand open in which nothing goes on, and the locks that it has. */
const freezeMs = 20_000

/** How much later all that goes between a node and NATS arrives where the broker is slow: a publication takes twice that. */
const slowMs = 200

/** What it took, in milliseconds. */
async function timed(work: Promise<unknown>): Promise<number> {
  const begun = performance.now()
  await work
  return performance.now() - begun
}

function nextBody(session: RawSession, body: string) {
  return session.next((event) => event.data.record_type === 'message' && messageOf(event).body === body)
}

/** The places in the conversation of all messages that the session was told of. */
function seqsOf({ events }: RawSession): number[] {
  return events.flatMap((event) =>
    event.data.record_type === 'message' && 'seq' in event ? [event.seq as number] : [],
  )
}

describe.skipIf(withoutPostgres)('a cluster of three', () => {
  let cluster: Cluster
  let nodes: readonly [ClusterNode, ClusterNode, ClusterNode]
  beforeAll(async () => {
    cluster = await startCluster(3)
    nodes = cluster.nodes as unknown as typeof nodes
  }, 120_000)
  /** The broker, so much slower for all nodes until the end of the scope. */
  const slowed = (delayMs: number): Disposable => {
    for (const { line } of nodes) line.set('both', { delayMs })
    return {
      [Symbol.dispose]() {
        for (const { line } of nodes) line.set('both', { delayMs: 0 })
      },
    }
  }
  afterEach(() => {
    expect(unexpected(nodes)).toEqual([])
  })
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]()
  })

  natsTest(
    'E2, E3 what is written on each node reaches the sessions on all, in the order of seq, a reply before its event',
    async () => {
      await using room = await openRoom(nodes)
      const writing = room.sessions.flatMap((session, node) =>
        Array.from({ length: 20 }, (_, count) => say(session, room.conversation, `${node} ${count}`)),
      )
      const written = await Promise.all(writing)
      const wanted = written.map(({ seq, body }) => ({ seq, body })).sort((one, other) => one.seq - other.seq)
      expect(wanted.map(({ seq }) => seq)).toEqual(Array.from({ length: 60 }, (_, index) => index + 2))
      for (const session of room.sessions) {
        const told = []
        for (const _ of wanted) told.push(messageOf(await session.next()))
        expect(told.map(({ seq, body }) => ({ seq, body }))).toEqual(wanted)
        const replied = new Set<string>()
        const own = new Set(written.map(({ id }) => id))
        for (const frame of session.frames) {
          if ('result' in frame && 'message' in (frame.result as object)) {
            replied.add((frame.result as { message: { id: string } }).message.id)
          } else if ('event' in frame && frame.event === 'create' && frame.data.record_type === 'message') {
            const { id, created_by } = frame.data.record
            if (created_by === room.users[room.sessions.indexOf(session)]) expect(replied.has(id)).toBe(true)
            own.delete(id)
          }
        }
        expect(own.size).toBe(0)
      }
    },
  )

  natsTest('M5 what a reply has told is there on every other node at once', async () => {
    await using room = await openRoom(nodes)
    for (const [writer, session] of room.sessions.entries()) {
      const { seq, id } = await say(session, room.conversation, `by ${writer}`)
      for (const [reader, node] of nodes.entries()) {
        const args = { conversation: room.conversation, after_seq: seq - 1 }
        const { events } = await node.must(room.users[reader] as UserId, 'get_events', args)
        expect(events).toMatchObject([{ seq, event: 'create', data: { record: { id } } }])
      }
    }
  })

  natsTest('R2, R3 a session that goes from node to node goes on at each from its cursor', async () => {
    await using room = await openRoom(nodes)
    const [alice, bob] = room.sessions
    let { cursor } = await bob.command('ping')
    await bob.end()
    const seqs = new Set<number | undefined>()
    for (let round = 0; round < 9; round++) {
      await say(alice, room.conversation, `away ${round}`)
      const node = nodes[(round + 2) % nodes.length] as ClusterNode
      await using moved = await open(node)
      const token = await node.token(room.users[1].slice('user/'.length))
      expect((await moved.command('connect', { token, cursor })).resumed).toBe(true)
      await nextBody(moved, `away ${round}`)
      await say(alice, room.conversation, `live ${round}`)
      cursor = (await nextBody(moved, `live ${round}`)).cursor
      for (const { seq } of moved.events) seqs.add(seq)
    }
    expect([...seqs].filter((seq) => seq !== 1)).toEqual(Array.from({ length: 18 }, (_, index) => index + 2))
  })

  natsTest('M3 the same client_id on two nodes at once makes one message', async () => {
    await using room = await openRoom(nodes)
    const [alice] = room.users
    const [, , carol] = room.sessions
    for (let round = 0; round < 10; round++) {
      const args = { conversation: room.conversation, body: `once ${round}`, client_id: `id ${round}` }
      const answers = await Promise.all(nodes.map((node) => node.must(alice, 'create_message', args)))
      expect(new Set(answers.map(({ message }) => message.id)).size).toBe(1)
      expect(messageOf(await carol.next())).toEqual(answers[0]?.message)
    }
    const { events } = await nodes[1].must(alice, 'get_events', { conversation: room.conversation, after_seq: 1 })
    expect(events).toHaveLength(10)
  })

  for (const [where, delayMs] of [
    ['', 0],
    [', also where the broker is slow', slowMs],
  ] as const) {
    natsTest(
      `U6, U7 a rotation, and a revocation, on one node hold on the others within a second${where}`,
      async () => {
        using _ = slowed(delayMs)
        const [alice] = strangers()
        await using here = await connect(nodes[0], alice)
        await using there = await connect(nodes[1], alice)
        await using third = await connect(nodes[2], alice)
        await using listener = await open(nodes[1])
        const { name: channel } = (await here.command('get_user_channel')).user_channel
        await listener.command('connect', { channel })
        await here.command('rotate_user_channel')
        const told = [there, third].map((session) => session.next(({ data }) => data.record_type === 'user_channel'))
        expect(await timed(Promise.all([listener.closed, ...told]))).toBeLessThan(soonMs)
        expect((await listener.closed).code).toBe(4410)
        for (const node of nodes) {
          await using late = await open(node)
          expect(await codeOf(late.command('connect', { channel }))).toBe('unauthorized')
        }
        const token = await nodes[1].token(alice.slice('user/'.length))
        await here.command('rotate_user_channel', { revoke: true })
        expect(await timed(Promise.all([there.closed, third.closed]))).toBeLessThan(soonMs)
        for (const session of [there, third]) expect((await session.closed).code).toBe(4403)
        for (const node of nodes) {
          await using late = await open(node)
          expect(await codeOf(late.command('connect', { token }))).toBe('token_revoked')
        }
        await here.command('ping')
      },
    )

    natsTest(
      // Where it is slow NATS hears only later that a node asks for what is alice's.
      `M8 disconnect_user on one node closes the sessions on all within a second, also one that has just come${where}`,
      async () => {
        using _ = slowed(delayMs)
        const [alice] = strangers()
        await using one = await connect(nodes[0], alice)
        await using two = await connect(nodes[1], alice)
        await using three = await connect(nodes[2], alice)
        const sessions = [one, two, three]
        expect(await call(nodes[0].url, null, 'disconnect_user', { user: alice })).toEqual({ result: { sessions: 1 } })
        expect(await timed(Promise.all(sessions.map(({ closed }) => closed)))).toBeLessThan(soonMs)
        for (const session of sessions) expect((await session.closed).code).toBe(4403)
      },
    )

    natsTest(
      `E5 who is removed on one node is told so on the others within a second, and gets nothing after it${where}`,
      async () => {
        using _ = slowed(delayMs)
        await using room = await openRoom(nodes)
        const { conversation } = room
        const [alice, bob, carol] = room.sessions
        await alice.command('remove_participants', { conversation, participants: [room.users[1]] })
        const leaving = bob.next(({ event, data }) => event === 'delete' && data.record_type === 'conversation')
        expect(await timed(leaving)).toBeLessThan(soonMs)
        await say(carol, conversation, 'not for bob')
        await nextBody(alice, 'not for bob')
        for (const node of nodes) {
          const answer = await call(node.url, room.users[1], 'get_messages', { conversation })
          expect(answer.error?.code).toBe('not_found')
        }
        expect(await codeOf(say(bob, conversation, 'from outside'))).toBe('not_found')
        expect(await bob.rest()).toEqual([])
      },
    )
  }

  natsTest(
    'U6 rotations on all nodes while messages flow on all: nothing is lost or repeated, and who has an old name is out within a second',
    async () => {
      const random = new Random(seedOfTest())
      await using room = await openRoom(nodes)
      const { conversation } = room
      const [bob] = room.users
      await using stack = new AsyncDisposableStack()
      const own = [room.sessions[0]]
      for (const node of nodes.slice(1)) own.push(stack.use(await connect(node, bob)))
      let { name } = (await random.pick(own).command('get_user_channel')).user_channel
      let said = 0
      const sayOne = () => say(random.pick(room.sessions.slice(1)), conversation, `${++said}`)
      const ended: Promise<void>[] = []
      for (let rotations = 0; rotations < 60; rotations++) {
        const listener = stack.use(await open(random.pick(nodes)))
        await listener.command('connect', { channel: name })
        const flowing = Array.from({ length: random.below(3) }, sayOne)
        const rotated = random.pick(own).command('rotate_user_channel')
        flowing.push(sayOne())
        name = (await rotated).user_channel.name
        ended.push(
          timed(listener.closed).then(async (took) => {
            expect(took).toBeLessThan(soonMs)
            expect((await listener.closed).code).toBe(4410)
            const seqs = seqsOf(listener)
            expect(seqs).toEqual(seqs.map((_, index) => (seqs[0] as number) + index))
          }),
        )
        await Promise.all(flowing)
      }
      await Promise.all(ended)
      const last = await say(room.sessions[1], conversation, 'last')
      for (const session of own) {
        while (seqsOf(session).at(-1) !== last.seq) await session.next()
        // The first one was told of the conversation's making, too.
        expect(seqsOf(session)).toEqual(Array.from({ length: said + 1 }, (_, index) => index + 2))
      }
    },
    60_000,
  )

  natsTest(
    'T2, T3 typing is seen on the other nodes, and gone within its 5 seconds when the typing one is killed with its node',
    async () => {
      await using room = await openRoom(nodes)
      const { conversation } = room
      const [alice, bob, carol] = room.sessions
      for (const session of [alice, bob]) await session.command('subscribe_typing', { conversation })
      const tells = (event: string) => (typing: { data: object }) =>
        JSON.stringify(typing.data).includes(`"event":"${event}"`)
      await carol.command('typing', { conversation, event: 'begin' })
      const seen = await Promise.all([alice, bob].map((session) => session.nextTyping(tells('begin'))))
      for (const { data } of seen)
        expect(data).toMatchObject({ [conversation]: { [room.users[2]]: { event: 'begin' } } })
      const gone = Promise.all([alice, bob].map((session) => session.nextTyping(tells('finished'))))
      await nodes[2].kill()
      // A timer may come a little late.
      expect(await timed(gone)).toBeLessThan(5_000 + soonMs)
      for (const { data } of await gone) expect(Object.keys(data[conversation] ?? {})).toEqual([room.users[2]])
      await nodes[2].start()
    },
  )

  natsTest(
    'M3, E3, R1 while NATS is away what is sent is stored, told where it was taken at once, and by the other nodes soon',
    async () => {
      await using room = await openRoom(nodes)
      await using hearing = await openHearing(nodes)
      const { conversation, sessions } = room
      await cluster.nats.stop()
      await using stack = new AsyncDisposableStack()
      stack.defer(() => cluster.nats.start())
      for (const [writer, session] of sessions.entries()) {
        const body = `alone ${writer}`
        expect(await timed(say(session, conversation, body))).toBeLessThan(soonMs)
        expect(await timed(nextBody(session, body))).toBeLessThan(soonMs)
        const others = sessions.filter((other) => other !== session)
        // Each looks into the log every second.
        expect(await timed(Promise.all(others.map((other) => nextBody(other, body))))).toBeLessThan(2 * soonMs)
      }
      await stack.disposeAsync()
      expect(await hearing.unheard(wholeSeconds * 1_000)).toEqual([])
    },
    60_000,
  )

  for (const { what, complaints, happen } of faults) {
    natsTest(
      `M3, E3, R2, R3, C6 nothing that was acknowledged is lost, doubled or out of order while ${what}`,
      async () => {
        const seed = seedOfTest()
        await using hearing = await openHearing(nodes)
        const fault = () => happen(cluster, new Random(seed), freezeMs)
        const { problems, secondsToWhole } = await underLoad(nodes, seed, fault, complaints)
        expect(problems).toEqual([])
        expect(secondsToWhole).toBeLessThan(wholeSeconds)
        expect(await hearing.unheard(wholeSeconds * 1_000)).toEqual([])
      },
      120_000,
    )
  }
})
