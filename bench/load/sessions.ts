/** Sessions that the load generator holds open, and how they are opened by the thousand. */
import { type Dialect, type DialectName, dialects, type Kind } from './dialects.ts'
import { Wire } from './wire.ts'

/** Connections that are being opened at once: fewer than servers and kernels let wait to be accepted. */
const openedAtOnce = 64

export class Session {
  /** Called for each frame but those of the greeting. */
  onFrame: (kind: Kind) => void = () => {}
  readonly #wire: Wire
  readonly #dialect: Dialect
  readonly #ready = Promise.withResolvers<void>()

  private constructor(port: number, dialect: Dialect) {
    this.#dialect = dialect
    if (dialect.readyAtOnce) this.#ready.resolve()
    this.#wire = new Wire(port, dialect.path, (bytes, from, to) => this.#take(bytes, from, to))
  }

  /** Connects, and says nothing yet. */
  static async open(port: number, name: DialectName): Promise<Session> {
    const session = new Session(port, dialects[name])
    await session.#wire.upgraded
    return session
  }

  /** Says who it is; resolves when the server has taken the session. */
  greet(token: string, cursor?: string): Promise<void> {
    const hello = this.#dialect.hello(token, cursor)
    if (hello) this.send(hello)
    return this.#ready.promise
  }

  send(text: string): void {
    this.#wire.send(text)
  }

  /** Stops reading, for good or until `readOn`. */
  stall(): void {
    this.#wire.pause()
  }

  /** Reads on; resolves with the code of the server's goodbye, 1006 where there is none, when the connection has ended. */
  readOn(): Promise<number> {
    return this.#wire.readOn()
  }

  /** Bytes that have come over its connection. */
  get bytesRead(): number {
    return this.#wire.bytesRead
  }

  end(): void {
    this.#wire.end()
  }

  #take(bytes: Buffer, from: number, to: number): void {
    const kind = this.#dialect.kindOf(bytes, from)
    if (kind === 'ready') this.#ready.resolve()
    else if (kind === 'ask') this.send(this.#dialect.answer(bytes, from))
    else if (kind === 'refusal') throw new Error(`the server refused: ${bytes.toString('utf8', from, to)}`)
    else this.onFrame(kind)
  }
}

/** Opens and greets a session for each token, many at a time, in their order. `prepare` is called for each before it greets. */
export async function openAll(
  port: number,
  name: DialectName,
  tokens: readonly string[],
  { cursor, prepare = () => {} }: { cursor?: string | undefined; prepare?: (session: Session) => void } = {},
): Promise<Session[]> {
  const sessions: Session[] = []
  let next = 0
  const openMore = async () => {
    for (let index = next++; index < tokens.length; index = next++) {
      const session = await Session.open(port, name)
      sessions[index] = session
      prepare(session)
      await session.greet(tokens[index]!, cursor)
    }
  }
  await Promise.all(Array.from({ length: openedAtOnce }, openMore))
  return sessions
}
