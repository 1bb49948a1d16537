/** What every adapter of the broker seam promises (`src/broker/broker.ts`), as tests. An adapter's test file calls `brokerContract`. */
import { randomUUID } from 'node:crypto'
import { describe, expect, vi } from 'vitest'
import type { Broker, EntryPublication, Publication, Topic } from '../broker/broker.ts'
import type { ConversationId, SessionId, UserId } from '../protocol/ids.ts'

/** What carries between nodes, with no node on it yet. */
export interface BrokerStage extends AsyncDisposable {
  /** A broker for one more node, not started. */
  open(): Broker
  /** Stops what carries, so that nothing gets through; what was under way is lost. */
  stop(): Promise<void>
  goOn(): Promise<void>
}

export interface BrokerSuite {
  /** Makes a stage of its own for each test. */
  readonly stage: () => Promise<BrokerStage>
  /** What registers a test: vitest's own, or one that sees to what the adapter needs. */
  readonly test: (title: string, run: () => Promise<void>) => void
}

/** A line that breaks is noticed by its silence at the latest, and then made anew. */
export const patience = { timeout: 15_000, interval: 5 }

/** One node, and what it was told. */
export class BrokerNode implements AsyncDisposable {
  readonly broker: Broker
  /** What came and was not taken yet. */
  readonly received: Publication[] = []
  interruptions = 0

  constructor(broker: Broker) {
    this.broker = broker
  }

  async start(): Promise<void> {
    await this.broker.start(
      (publication) => this.received.push(publication),
      () => this.interruptions++,
    )
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.broker.close()
  }
}

/** Starts a node that ends with its scope: `await using node = await startNode(stage)`. */
export async function startNode(stage: Pick<BrokerStage, 'open'>): Promise<BrokerNode> {
  const node = new BrokerNode(stage.open())
  await node.start()
  return node
}

/** Registers the suite for the adapter `name`, which carries between nodes. */
export function brokerContract(name: string, suite: BrokerSuite): void {
  describe(`${name}: the broker contract`, () => between(suite))
}

/** Registers what is left of it for an adapter of a single node. */
export function loneBrokerContract(name: string, { stage, test }: BrokerSuite): void {
  describe(`${name}: the broker contract`, () => {
    test('BROKER of a single node says that it is alone, and connected', async () => {
      await using place = await stage()
      await using node = await startNode(place)
      expect(node.broker.alone).toBe(true)
      expect(node.broker.connected).toBe(true)
    })

    test('BROKER of a single node brings nothing, least of all what this node published', async () => {
      await using place = await stage()
      await using node = await startNode(place)
      const user = newUser()
      node.broker.subscribe(user)
      node.broker.publish({ kind: 'disconnect', user }, [user])
      node.broker.publish({ kind: 'disconnect', user }, null)
      await new Promise((resolve) => setImmediate(resolve))
      node.broker.unsubscribe(user)
      expect(node.received).toEqual([])
      expect(node.interruptions).toBe(0)
    })

    closing(stage, test)
  })
}

/** A user, as a topic that no other test has. */
export function newUser(): UserId {
  return `user/${randomUUID()}`
}

export function newConversation(): ConversationId {
  return `conversation/01890a5d-ac96-774b-bcce-${randomUUID().slice(24)}`
}

/** An entry with a text that tells it from others. */
export function entry(position: number, event = `{"event":"create","n":${position}`): EntryPublication {
  return {
    kind: 'entry',
    epoch: 'of-a-log',
    position,
    previous: 0,
    conversation: null,
    version: 0,
    deliveries: [{ recipients: [], event }],
    endsTyping: null,
    rotation: null,
  }
}

/** Resolves when the node has got so many publications, and takes them. */
export async function taken(node: BrokerNode, count: number): Promise<readonly Publication[]> {
  await vi.waitFor(() => expect(node.received.length).toBeGreaterThanOrEqual(count), patience)
  return node.received.splice(0)
}

/** Resolves when what `node` asked for so far, and asked for no more, is in force at `other`. */
export async function settled(node: BrokerNode, other: BrokerNode): Promise<void> {
  const [last, user] = [newUser(), newUser()]
  const came = (probe: UserId) =>
    expect(node.received.some((publication) => publication.kind === 'disconnect' && publication.user === probe)).toBe(
      true,
    )
  node.broker.subscribe(last)
  node.broker.subscribe(user)
  await vi.waitFor(() => {
    other.broker.publish({ kind: 'disconnect', user }, [user])
    came(user)
  }, patience)
  // Probes may still be on their way, and this comes behind them.
  other.broker.publish({ kind: 'disconnect', user: last }, [last])
  await vi.waitFor(() => came(last), patience)
  node.broker.unsubscribe(user)
  node.broker.unsubscribe(last)
  node.received.length = 0
}

function closing(stage: BrokerSuite['stage'], test: BrokerSuite['test']): void {
  test('BROKER closing twice, or before the start, is the same as once, and what is done after it does nothing', async () => {
    await using place = await stage()
    await using node = await startNode(place)
    const user = newUser()
    node.broker.subscribe(user)
    await Promise.all([node.broker.close(), node.broker.close()])
    await node.broker.close()
    node.broker.subscribe(user)
    node.broker.unsubscribe(user)
    node.broker.publish({ kind: 'disconnect', user }, [user])
    node.broker.publish({ kind: 'disconnect', user }, null)
    await new BrokerNode(place.open()).broker.close()
    expect(node.received).toEqual([])
    expect(node.interruptions).toBe(0)
  })
}

/** Every kind of publication, with every choice that its kind leaves. */
function everyKind(): readonly Publication[] {
  const [alice, bob] = [newUser(), newUser()]
  const conversation = newConversation()
  const session: SessionId = 'session/01890a5d-ac96-774b-bcce-b302099a8057'
  const event = '{"event":"create","data":{"record":{"body":"é€😀\\u0000\\ud800\\n \u2028\u007f"}}'
  return [
    {
      kind: 'entry',
      epoch: 'of-a-log',
      position: 9_007_199_254_740_991,
      previous: 12,
      conversation,
      version: 7,
      deliveries: [
        { recipients: [alice, bob], event },
        { recipients: { conversation, version: 7 }, event: event.repeat(3) },
        { recipients: [], event: '' },
      ],
      endsTyping: { conversation, users: [alice], left: false },
      rotation: null,
    },
    {
      kind: 'entry',
      epoch: 'of-a-log',
      position: 2,
      previous: 0,
      conversation,
      version: 3,
      deliveries: [],
      endsTyping: { conversation, users: [alice, bob], left: true },
      rotation: { user: alice, rotatedAt: 1_700_000_000_000, revoke: true, by: session },
    },
    {
      kind: 'entry',
      epoch: 'of-a-log',
      position: 1,
      previous: 0,
      conversation: null,
      version: 0,
      deliveries: [],
      endsTyping: null,
      rotation: { user: bob, rotatedAt: 1, revoke: false, by: null },
    },
    {
      kind: 'typing',
      conversation,
      node: 'a name, "quoted"',
      leases: [
        { user: alice, entry: { event: 'begin', at: '2026-11-16T18:44:00.000Z' }, begunAt: 1_700_000_000_000.5 },
        { user: bob, entry: { event: 'pause', at: '2026-11-16T18:44:01.000Z' }, begunAt: 2 },
      ],
    },
    { kind: 'typing', conversation, node: '', leases: [] },
    { kind: 'who_types', conversation },
    { kind: 'finished', conversation, user: bob },
    { kind: 'disconnect', user: alice },
  ]
}

function between({ stage, test }: BrokerSuite): void {
  test('BROKER between nodes is not alone, and is connected from the start to the end', async () => {
    await using place = await stage()
    await using node = await startNode(place)
    expect(node.broker.alone).toBe(false)
    expect(node.broker.connected).toBe(true)
    await node.broker.close()
    expect(node.broker.connected).toBe(false)
  })

  test('BROKER what is published to all reaches every other node as soon as it has started, and never its publisher', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    await using c = await startNode(place)
    const [first, second] = [entry(1), entry(2)]
    a.broker.publish(first, null)
    expect(await taken(b, 1)).toEqual([first])
    expect(await taken(c, 1)).toEqual([first])
    b.broker.publish(second, null)
    expect(await taken(a, 1)).toEqual([second])
    expect(await taken(c, 1)).toEqual([second])
    expect(b.received).toEqual([])
  })

  test('BROKER what is published under topics reaches who asked for one of them, and nobody else', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    await using c = await startNode(place)
    const [bob, carol, typing] = [newUser(), newUser(), newConversation()]
    b.broker.subscribe(bob)
    c.broker.subscribe(carol)
    b.broker.subscribe(typing)
    a.broker.subscribe(bob)
    await settled(b, a)
    await settled(c, a)
    await settled(a, b)
    a.broker.publish(entry(1), [bob])
    a.broker.publish(entry(2), [carol, newUser()])
    a.broker.publish(entry(3), [typing])
    a.broker.publish(entry(4), [newUser()])
    a.broker.publish(entry(5), [])
    a.broker.publish(entry(6), null)
    expect(await taken(b, 3)).toEqual([entry(1), entry(3), entry(6)])
    expect(await taken(c, 2)).toEqual([entry(2), entry(6)])
    b.broker.publish(entry(7), null)
    expect(await taken(a, 1)).toEqual([entry(7)])
  })

  test('BROKER topics that differ by their type or their case alone are different', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    const name = randomUUID()
    const topics: readonly Topic[] = [
      `user/${name}`,
      `conversation/${name}`,
      `user/${name.toUpperCase()}`,
      `user/${name}.*`,
    ]
    for (const [index, topic] of topics.entries()) {
      b.broker.subscribe(topic)
      await settled(b, a)
      for (const [position, other] of topics.entries()) a.broker.publish(entry(position), [other])
      a.broker.publish(entry(100), null)
      expect(await taken(b, 2)).toEqual([entry(index), entry(100)])
      b.broker.unsubscribe(topic)
    }
  })

  test('BROKER a node that asked for several topics of one publication gets it once', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    await using c = await startNode(place)
    const users = Array.from({ length: 32 }, newUser)
    for (const user of users) b.broker.subscribe(user)
    c.broker.subscribe(users[31] as UserId)
    await settled(b, a)
    await settled(c, a)
    for (let position = 1; position <= 3; position++) a.broker.publish(entry(position), users)
    a.broker.publish(entry(4), [...users, ...users])
    a.broker.publish(entry(5), null)
    // Published alike by two nodes, it is two.
    c.broker.publish(entry(1), users)
    const got = await taken(b, 6)
    expect(got.toSorted((one, other) => positionOf(one) - positionOf(other))).toEqual(
      [1, 1, 2, 3, 4, 5].map((n) => entry(n)),
    )
    expect(await taken(c, 5)).toEqual([1, 2, 3, 4, 5].map((n) => entry(n)))
  })

  test('BROKER subscribing is counted: what was asked for twice is to be given up twice', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    const user = newUser()
    const publishAndTake = async (position: number) => {
      await settled(b, a)
      a.broker.publish(entry(position), [user])
      a.broker.publish(entry(-1), null)
      return (await taken(b, 1)).filter((publication) => positionOf(publication) > 0)
    }
    b.broker.unsubscribe(user)
    b.broker.subscribe(user)
    b.broker.subscribe(user)
    expect(await publishAndTake(1)).toEqual([entry(1)])
    b.broker.unsubscribe(user)
    expect(await publishAndTake(2)).toEqual([entry(2)])
    b.broker.unsubscribe(user)
    expect(await publishAndTake(3)).toEqual([])
    b.broker.unsubscribe(user)
    b.broker.subscribe(user)
    expect(await publishAndTake(4)).toEqual([entry(4)])
  })

  test('BROKER nothing comes any more of a topic that was given up in the same turn', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    const user = newUser()
    b.broker.subscribe(user)
    await settled(b, a)
    for (let position = 1; position <= 50; position++) a.broker.publish(entry(position), [user])
    b.broker.unsubscribe(user)
    a.broker.publish(entry(100), null)
    expect(await taken(b, 1)).toEqual([entry(100)])
  })

  test('BROKER what one node publishes comes in its order, be it to all or under whatever topics', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    await using c = await startNode(place)
    const users = Array.from({ length: 10 }, newUser)
    for (const user of users) c.broker.subscribe(user)
    await settled(c, a)
    await settled(c, b)
    const count = 2_000
    for (let n = 1; n <= count; n++) {
      const some = users.filter((_, index) => (n * (index + 3)) % 7 < 3 || index === n % 10)
      a.broker.publish(entry(n), n % 5 === 0 ? null : some)
      b.broker.publish(entry(count + n), n % 3 === 0 ? null : some)
      if (n % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    const positions = (await taken(c, 2 * count)).map(positionOf)
    expect(positions.filter((n) => n <= count)).toEqual(Array.from({ length: count }, (_, index) => index + 1))
    expect(positions.filter((n) => n > count)).toEqual(Array.from({ length: count }, (_, index) => count + index + 1))
  })

  test('BROKER every kind of publication arrives just as it was published', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    const kinds = everyKind()
    for (const publication of kinds) a.broker.publish(publication, null)
    expect(await taken(b, kinds.length)).toEqual(kinds)
  })

  test('BROKER a publication of a megabyte arrives whole, and so does what follows it', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    const user = newUser()
    b.broker.subscribe(user)
    await settled(b, a)
    const empty = JSON.stringify(entry(1, '')).length
    const sizes = [1_000, 65_535, 65_536, 1_000_000]
    const large = sizes.map((size, index) => entry(index + 1, 'é'.repeat((size - empty) / 2)))
    for (const publication of large) a.broker.publish(publication, [user])
    a.broker.publish(entry(100), null)
    expect(await taken(b, 5)).toEqual([...large, entry(100)])
  })

  test('BROKER what was published before the close arrives', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    // More than the operating system's buffers hold.
    for (let position = 1; position <= 100; position++) a.broker.publish(entry(position, 'x'.repeat(100_000)), null)
    await a.broker.close()
    expect((await taken(b, 100)).map(positionOf)).toEqual(Array.from({ length: 100 }, (_, index) => index + 1))
  })

  test('BROKER nothing was interrupted where nothing was lost', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    {
      await using passing = await startNode(place)
      passing.broker.publish(entry(1), null)
      await taken(a, 1)
    }
    a.broker.publish(entry(2), null)
    await taken(b, 2)
    expect([a.interruptions, b.interruptions]).toEqual([0, 0])
  })

  test('BROKER after a breakdown each node is told, hears again what it asks for by then, and nothing of what was published meanwhile', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    const [kept, given, asked] = [newUser(), newUser(), newUser()]
    b.broker.subscribe(kept)
    b.broker.subscribe(given)
    await settled(b, a)
    await place.stop()
    await vi.waitFor(() => expect([a, b].map(({ broker }) => broker.connected)).toEqual([false, false]), patience)
    expect([a.interruptions, b.interruptions]).toEqual([0, 0])
    b.broker.unsubscribe(given)
    b.broker.subscribe(asked)
    for (let position = 1; position <= 50; position++) a.broker.publish(entry(position), position % 2 ? [kept] : null)
    await place.goOn()
    await vi.waitFor(() => expect([a, b].map(({ broker }) => broker.connected)).toEqual([true, true]), patience)
    await vi.waitFor(() => expect(Math.min(a.interruptions, b.interruptions)).toBeGreaterThan(0), patience)
    a.broker.publish(entry(101), [given])
    a.broker.publish(entry(102), [kept])
    a.broker.publish(entry(103), [asked])
    a.broker.publish(entry(104), null)
    expect((await taken(b, 3)).map(positionOf)).toEqual([102, 103, 104])
    b.broker.publish(entry(105), null)
    expect((await taken(a, 1)).map(positionOf)).toEqual([105])
  })

  test('BROKER a node that starts while nothing carries starts all the same, is not connected, and is told when it is', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await place.stop()
    await using b = await startNode(place)
    const user = newUser()
    b.broker.subscribe(user)
    expect(b.broker.connected).toBe(false)
    b.broker.publish(entry(1), null)
    expect(b.interruptions).toBe(0)
    await place.goOn()
    await vi.waitFor(() => expect([a, b].map(({ broker }) => broker.connected)).toEqual([true, true]), patience)
    await vi.waitFor(() => expect(b.interruptions).toBeGreaterThan(0), patience)
    a.broker.publish(entry(2), [user])
    expect(await taken(b, 1)).toEqual([entry(2)])
  })

  test('BROKER a node that closes while nothing carries is closed, and tries no longer', async () => {
    await using place = await stage()
    await using a = await startNode(place)
    await using b = await startNode(place)
    await using c = await startNode(place)
    await place.stop()
    await vi.waitFor(() => expect([b, c].map(({ broker }) => broker.connected)).toEqual([false, false]), patience)
    await b.broker.close()
    await place.goOn()
    await vi.waitFor(() => expect([a, c].map(({ broker }) => broker.connected)).toEqual([true, true]), patience)
    await settled(a, c)
    a.broker.publish(entry(1), null)
    expect(await taken(c, 1)).toEqual([entry(1)])
    expect(b.broker.connected).toBe(false)
    expect(b.interruptions).toBe(0)
    expect(b.received).toEqual([])
  })

  closing(stage, test)
}

function positionOf(publication: Publication): number {
  return publication.kind === 'entry' ? publication.position : Number.NaN
}
