import { expect, vi } from 'vitest'
import type { EntryPublication, Publication, Topic } from '../../src/broker/broker.ts'
import { newConversation, newUser, patience, settled } from '../../src/testing/broker-contract.ts'
import { type NatsServer, natsTest, startNats } from '../../src/testing/nats.ts'
import { type NatsNode, startNode } from './nats-stage.ts'

const messages = 100
const marker: Publication = { kind: 'disconnect', user: newUser() }

/** A chat message of 40 characters on its way to `members`, named or, where they are too many, by their conversation. */
function messageTo(members: readonly Topic[], named: boolean): EntryPublication {
  const [author] = members
  const conversation = newConversation()
  const at = '2026-11-16T18:44:00.000Z'
  const record = {
    id: conversation.replace('conversation', 'message'),
    ...{ conversation, created_by: author, created_at: at, updated_at: at, body: 'x'.repeat(40), metadata: {} },
    ...{ attachment: null, seq: 12, revision: 1, edited_at: null, edited_by: null, deleted: false, client_id: null },
  }
  const data = { record_type: 'message', event_type: 'create', record, original_record: null }
  const event = JSON.stringify({ event: 'create', data, conversation, seq: 12 })
  const recipients = named
    ? (members as EntryPublication['deliveries'][number]['recipients'])
    : { conversation, version: 3 }
  return {
    kind: 'entry',
    epoch: 'of-a-log',
    position: 1_000_000,
    previous: 999_990,
    conversation,
    version: 3,
    deliveries: [{ recipients, event }],
    endsTyping: { conversation, users: [author as `user/${string}`], left: false },
    rotation: null,
  }
}

interface Cost {
  /** From the publisher to the server, and from the server to the other nodes, for each chat message. */
  readonly in: number
  readonly out: number
  readonly inBytes: number
  readonly outBytes: number
}

/** What a message in a conversation of so many costs whose members have a session each, by turns on the three nodes. */
async function cost(nats: NatsServer, nodes: readonly NatsNode[], size: number, how: 'topics' | 'all'): Promise<Cost> {
  const members = Array.from({ length: size }, newUser)
  for (const [index, user] of members.entries()) nodes[index % nodes.length]?.broker.subscribe(user)
  const [publisher, ...others] = nodes as [NatsNode, ...NatsNode[]]
  for (const other of others) await settled(other, publisher)
  const publication = messageTo(members, size <= 32)

  const before = await nats.traffic()
  for (let n = 0; n < messages; n++) publisher.broker.publish(publication, how === 'topics' ? members : null)
  // Behind all of it, so that with this nothing is under way any more.
  publisher.broker.publish(marker, null)
  for (const other of others) {
    await vi.waitFor(() => expect(other.received.at(-1)).toEqual(marker), patience)
    other.received.length = 0
  }
  const after = await nats.traffic()
  for (const [index, user] of members.entries()) nodes[index % nodes.length]?.broker.unsubscribe(user)
  const per = (key: 'in_msgs' | 'out_msgs' | 'in_bytes' | 'out_bytes', markers: number) =>
    (after[key] - before[key] - markers) / messages
  return {
    in: per('in_msgs', 1),
    out: per('out_msgs', others.length),
    inBytes: Math.round(per('in_bytes', 0)),
    outBytes: Math.round(per('out_bytes', 0)),
  }
}

natsTest(
  'BROKER what is published under topics costs a message for each, and one for each at each other node that asked for it; to all, one and one for each other node',
  async () => {
    await using nats = await startNats()
    await using a = await startNode(nats.url)
    await using b = await startNode(nats.url)
    await using c = await startNode(nats.url)
    const measured: Record<string, Cost> = {}
    for (const [size, how] of [
      [2, 'topics'],
      [2, 'all'],
      [8, 'topics'],
      [8, 'all'],
      [32, 'topics'],
      [32, 'all'],
      [1_000, 'all'],
    ] as const) {
      measured[`${size} by ${how}`] = await cost(nats, [a, b, c], size, how)
    }
    if (process.env.FANFARE_FIGURES) console.table(measured)
    const counts = Object.fromEntries(Object.entries(measured).map(([what, each]) => [what, [each.in, each.out]]))
    expect(counts).toEqual({
      '2 by topics': [2, 1],
      '2 by all': [1, 2],
      // Of 8, members 1, 4 and 7 are on the second node, and 2 and 5 on the third.
      '8 by topics': [8, 5],
      '8 by all': [1, 2],
      '32 by topics': [32, 21],
      '32 by all': [1, 2],
      '1000 by all': [1, 2],
    })
  },
)
