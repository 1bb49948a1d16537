/**
 * The broker over NATS (core, server 2.9 or later). Each topic has a subject, and everybody has one. Subjects are hashes below a prefix
 * that names the database, so that several Fanfares may share a NATS server, and none of its traces shows a name.
 *
 * One connection follows the other, each dialled anew. The library could reconnect by itself, but it keeps what is published meanwhile,
 * and stays with a server that has fallen silent while its buffers are full. Here what is published without a connection is dropped; and
 * when there is one again, this node and all others are told that something may be missing, once the server has taken the
 * subscriptions: what is read from storage after that has no hole between.
 */
import { hash, randomBytes } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { type ConnectionOptions, connect } from '@nats-io/transport-node'
import type { Broker, Publication, Topic } from './broker.ts'
import { readNatsAddress } from './nats-address.ts'
import { NatsLine } from './nats-line.ts'
import { type Content, decodeContent, decodeEnvelope, type Envelope, encode, lost } from './wire.ts'

/** A server that does not even greet is given up after this. */
const greetingMs = 5_000
/** Before another attempt lies a random time of up to this, so that not all nodes come at once. */
const longestPauseMs = 2_000
/** At the end what was published has this long to leave. */
const farewellMs = 1_000
/** Of so many other nodes it is remembered what they published last. A node takes a new name each time it starts. */
const rememberedNodes = 1_000

/**
 * A broker at the NATS servers of `url` (see `readNatsAddress`), between the nodes that give the same `prefix`. `tell` gets what the
 * operator must know, a line each time, never with the URL in it. `start` resolves when this node hears the others, or when the first
 * attempt has failed: then it goes on trying, and `interrupted` is called when it has succeeded. Throws a `TypeError` for a URL that is
 * none.
 */
export function openNats(url: string, prefix: string, tell: (trouble: string) => void): Broker {
  const address = readNatsAddress(url)
  if (!address) throw new TypeError('this is no URL of NATS servers')
  return new NatsBroker(prefix, tell, {
    servers: [...address.servers],
    ...(address.tls && { tls: {} }),
    ...address.credentials,
    name: 'fanfare',
    noEcho: true,
    timeout: greetingMs,
    reconnect: false,
    ignoreAuthErrorAbort: true,
    // The operator has named the servers that nodes can reach.
    ignoreClusterUpdates: true,
    noAsyncTraces: true,
  })
}

/** A topic that was asked for. */
interface Interest {
  count: number
  readonly subject: string
  /** Asks for it no more, on the line that there is. */
  stop: () => void
}

class NatsBroker implements Broker {
  readonly alone = false
  readonly #node = randomBytes(9).toString('base64url')
  readonly #prefix: string
  readonly #tell: (trouble: string) => void
  readonly #told = new Set<string>()
  readonly #options: ConnectionOptions
  readonly #interests = new Map<Topic, Interest>()
  /** The number of the last publication that came, by node; those that have been quiet for longest come first. */
  readonly #last = new Map<string, number>()
  #receive: (publication: Publication) => void = () => {}
  #interrupted = () => {}
  #published = 0
  #line: NatsLine | null = null
  /** Whether the server has taken this node's subscriptions. */
  #hears = false
  /** Whether this node or others may miss something that was published since `start`, and are to be told when that is over. */
  #broken = false
  #closed = false

  constructor(prefix: string, tell: (trouble: string) => void, options: ConnectionOptions) {
    this.#prefix = prefix
    this.#tell = tell
    this.#options = {
      ...options,
      reconnectDelayHandler: () => {
        // The library asks before each attempt, and there is no other way to end them.
        if (this.#closed) throw new Error('closed')
        return Math.random() * longestPauseMs
      },
    }
  }

  get connected(): boolean {
    return this.#hears && this.#line?.refused === false
  }

  async start(receive: (publication: Publication) => void, interrupted: () => void): Promise<void> {
    this.#receive = receive
    this.#interrupted = interrupted
    const line = await this.#dial()
    if (line) await this.#use(line)
    void this.#stay(line)
  }

  subscribe(topic: Topic): void {
    const interest = this.#interests.get(topic)
    if (interest) {
      interest.count++
    } else {
      const subject = this.#subject(topic)
      this.#interests.set(topic, { count: 1, subject, stop: this.#listen(subject) })
    }
  }

  unsubscribe(topic: Topic): void {
    const interest = this.#interests.get(topic)
    if (!interest || --interest.count > 0) return
    this.#interests.delete(topic)
    interest.stop()
  }

  publish(publication: Publication, topics: readonly Topic[] | null): void {
    this.#send(publication, topics ? topics.map((topic) => this.#subject(topic)) : [this.#everybody])
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#hears = false
    const line = this.#line
    this.#line = null
    if (!line) return
    await Promise.race([line.taken(), setTimeout(farewellMs, null, { ref: false })])
    line.end()
    await line.ended
  }

  get #everybody(): string {
    return `${this.#prefix}.all`
  }

  #subject(topic: Topic): string {
    return `${this.#prefix}.topic.${hash('sha256', topic, 'base64url').slice(0, 22)}`
  }

  /** Sees to it that there is a line, from `first` on until the end. */
  async #stay(first: NatsLine | null): Promise<void> {
    let line = first
    while (!this.#closed) {
      line ??= await this.#dialOn()
      if (!line) return
      if (line !== first) await this.#use(line)
      await line.ended
      if (this.#closed) return
      this.#line = null
      this.#hears = false
      this.#broken = true
      this.#tell('the connection to the broker is lost; until it is back, what happens here reaches other nodes late')
      await setTimeout(Math.random() * longestPauseMs, null, { ref: false })
      line = this.#closed ? null : await this.#dial()
    }
  }

  /** Tries each server once; null where none lets this node in. */
  async #dial(): Promise<NatsLine | null> {
    try {
      return await this.#connect({ waitOnFirstConnect: false })
    } catch (error) {
      this.#broken = true
      this.#tell(
        `the broker can't be reached (${reason(error)}); until it can, what happens here reaches other nodes late`,
      )
      return null
    }
  }

  /** Tries until a server lets this node in; null where the end comes first. */
  async #dialOn(): Promise<NatsLine | null> {
    try {
      return await this.#connect({ waitOnFirstConnect: true })
    } catch (error) {
      if (!this.#closed) throw error
      return null
    }
  }

  async #connect(options: ConnectionOptions): Promise<NatsLine> {
    const connection = await connect({ ...this.#options, ...options })
    // Alike for all topics: there are as many as users.
    return new NatsLine(connection, ({ message }) =>
      this.#tellOnce(`the broker complains: ${message.replace(/(\.topic\.)[\w-]+/, '$1*')}`),
    )
  }

  /** Makes it the line that this node hears and speaks by. Resolves when the server has taken the subscriptions, or the line has ended. */
  async #use(line: NatsLine): Promise<void> {
    if (this.#closed) {
      line.end()
      return
    }
    this.#line = line
    this.#listen(this.#everybody)
    for (const interest of this.#interests.values()) interest.stop = this.#listen(interest.subject)
    if (!(await line.taken()) || this.#closed) return
    this.#hears = true
    if (!this.#broken) return
    this.#broken = false
    this.#tell('the broker is reached again')
    this.#send(lost, [this.#everybody])
    this.#interrupted()
  }

  #listen(subject: string): () => void {
    return this.#line?.listen(subject, (bytes) => this.#take(bytes)) ?? (() => {})
  }

  #send(content: Content, subjects: readonly string[]): void {
    const line = this.#line
    if (!line) return
    const payload = encode({ node: this.#node, number: ++this.#published }, content)
    if (payload.length <= line.longestBytes) {
      line.publish(subjects, payload)
    } else {
      this.#tellOnce(
        `the broker takes no more than ${line.longestBytes} bytes, so a longer publication was left out; raise its max_payload`,
      )
      this.#send(lost, [this.#everybody])
    }
  }

  #take(bytes: Uint8Array): void {
    if (this.#closed) return
    const envelope = decodeEnvelope(bytes)
    if (envelope && !this.#isNew(envelope)) return
    const content = envelope && decodeContent(bytes)
    try {
      if (!content) this.#tellOnce('the broker brings what no node of this version has sent, and that is left out')
      else if (content.kind === 'lost') this.#interrupted()
      else this.#receive(content)
    } catch (error) {
      // Thrown on, it would end the library's reading, and nobody would be told.
      this.#tell(`what another node published could not be delivered: ${error instanceof Error ? error.stack : error}`)
    }
  }

  /** Whether this is no copy that came by another topic. What comes out of its order, by another way, is too late as well. */
  #isNew({ node, number }: Envelope): boolean {
    const last = this.#last.get(node) ?? 0
    if (number <= last) return false
    this.#last.delete(node)
    this.#last.set(node, number)
    if (this.#last.size > rememberedNodes) this.#last.delete(this.#last.keys().next().value as string)
    return true
  }

  #tellOnce(trouble: string): void {
    if (this.#told.has(trouble)) return
    this.#told.add(trouble)
    this.#tell(trouble)
  }
}

/** Why a connection could not be made. The messages of the system are left out, for they name addresses. */
function reason(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message
}
