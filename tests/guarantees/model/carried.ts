/**
 * What lies between the nodes of a scenario: real brokers, and before each a hand that keeps what goes out and what has come in until the
 * scenario has it carried on. So the same scenario is always the same, though a real NATS is in the middle of it; and what is late or
 * lost on the way is so because the scenario says it.
 */
import type { Broker, Publication, Topic } from '../../../src/broker/broker.ts'
import type { Link } from './servers.ts'

type Fate = 'through' | 'late' | 'lost'

interface Parcel {
  readonly publication: Publication
  readonly topics: readonly Topic[] | null
}

/** Nobody has it, and nothing happens to whoever is told to close all sessions of it. */
const mark = 'user/mark-of-a-scenario'
const patienceMs = 20_000

export class Between implements Link {
  readonly troubles: string[] = []
  readonly #nodes: CarriedBroker[] = []

  /** A node's broker; the same node's next one takes its place when it has closed. */
  broker(node: number, real: Broker): Broker {
    const carried = new CarriedBroker(real)
    this.#nodes[node] = carried
    return carried
  }

  disturb(node: number, way: 'in' | 'out', how: 'late' | 'lost'): void {
    const broker = this.#nodes[node]
    if (broker) broker.fate[way] = how
  }

  mend(): void {
    for (const { fate } of this.#nodes) fate.in = fate.out = 'through'
  }

  get topics(): number {
    return this.#nodes.reduce((sum, { topics }) => sum + topics, 0)
  }

  /** Carries what the nodes have published to the others, node by node. Resolves with whether anything has happened. */
  async carry(): Promise<boolean> {
    const open = this.#nodes.filter(({ closed }) => !closed)
    if (!open.some(({ moves }) => moves)) return false
    // Each is heard to ask for its topics before anybody speaks.
    await Promise.all(open.map((node) => this.#sent(node, open)))
    for (const node of open) {
      if (node.emit()) await this.#sent(node, open)
    }
    for (const node of open) node.handIn()
    return true
  }

  /** All that the node has published before has come to the others: what one node publishes comes in its order. */
  async #sent(node: CarriedBroker, open: readonly CarriedBroker[]): Promise<void> {
    const arrivals = open.filter((other) => other !== node).map((other) => other.marked())
    node.mark()
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(() => reject(new Error('the broker carries nothing')), patienceMs)
    await Promise.race([Promise.all(arrivals), late]).finally(() => clearTimeout(timer))
  }
}

class CarriedBroker implements Broker {
  readonly alone = false
  readonly fate: Record<'in' | 'out', Fate> = { in: 'through', out: 'through' }
  closed = false
  readonly #real: Broker
  #receive: (publication: Publication) => void = () => {}
  #asks = false
  #out: Parcel[] = []
  #in: Publication[] = []
  #whenMarked: (() => void)[] = []
  readonly #topics = new Map<Topic, number>()

  constructor(real: Broker) {
    this.#real = real
  }

  get connected(): boolean {
    return this.#real.connected
  }

  /** How many topics it still asks for. */
  get topics(): number {
    return this.#topics.size
  }

  /** Whether there is anything to carry. */
  get moves(): boolean {
    const { fate } = this
    return this.#asks || (this.#out.length > 0 && fate.out !== 'late') || (this.#in.length > 0 && fate.in !== 'late')
  }

  async start(receive: (publication: Publication) => void, interrupted: () => void): Promise<void> {
    this.#receive = receive
    await this.#real.start((publication) => this.#arrived(publication), interrupted)
  }

  subscribe(topic: Topic): void {
    this.#asks = true
    this.#topics.set(topic, (this.#topics.get(topic) ?? 0) + 1)
    this.#real.subscribe(topic)
  }

  unsubscribe(topic: Topic): void {
    const left = (this.#topics.get(topic) ?? 0) - 1
    if (left > 0) this.#topics.set(topic, left)
    else this.#topics.delete(topic)
    this.#real.unsubscribe(topic)
  }

  publish(publication: Publication, topics: readonly Topic[] | null): void {
    if (!this.closed) this.#out.push({ publication, topics })
  }

  /** Gives out what was published; says whether there was anything. */
  emit(): boolean {
    if (this.fate.out === 'late') return false
    const out = this.#out.splice(0)
    if (this.fate.out === 'lost') return false
    for (const { publication, topics } of out) this.#real.publish(publication, topics)
    return out.length > 0
  }

  /** Hands in what has come. */
  handIn(): void {
    if (this.fate.in === 'late') return
    const came = this.#in.splice(0)
    if (this.fate.in === 'through') for (const publication of came) this.#receive(publication)
  }

  mark(): void {
    this.#asks = false
    this.#real.publish({ kind: 'disconnect', user: mark }, null)
  }

  /** Resolves when the next mark comes. */
  marked(): Promise<void> {
    return new Promise((resolve) => this.#whenMarked.push(resolve))
  }

  /** What it published goes out before. */
  async close(): Promise<void> {
    if (this.closed) return
    this.emit()
    this.closed = true
    this.#topics.clear()
    await this.#real.close()
  }

  #arrived(publication: Publication): void {
    if (publication.kind === 'disconnect' && publication.user === mark) this.#whenMarked.shift()?.()
    else this.#in.push(publication)
  }
}
