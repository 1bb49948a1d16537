/** Where the SDK keeps who is typing in the conversations that the application watches (T3, T4). */
import type { FanfareError } from '../protocol/codes.ts'
import type { EventFrame } from '../protocol/frames.ts'
import type { ConversationId } from '../protocol/ids.ts'
import type { TypingData, TypingSet } from '../protocol/typing.ts'
import { callEach } from './callbacks.ts'
import type { Connection } from './connection.ts'
import { platform } from './platform.ts'

/** What a set outlives the server's lease by, before this machine's clock ends it. */
const graceMs = 2_000

/** The server is asked for so many at once, lest they crowd out the application's calls. */
const atOnce = 8

/** Called with all who are typing in one conversation now. */
export type TypingCallback = (typing: TypingSet) => void

interface Watch {
  readonly conversation: ConversationId
  readonly callbacks: Set<TypingCallback>
  /** Whether the server tells, or is asked to. It stops by itself when the session ends, or the user's part in the conversation. */
  asked: boolean
  /** Without those who have finished; null until the server has told. */
  typing: TypingSet | null
  /** What the callbacks were told last. */
  told: TypingSet | null
  timer: unknown
}

export class Typing {
  readonly #connection: Pick<Connection, 'call' | 'session' | 'settings'>
  readonly #watches = new Map<ConversationId, Watch>()
  /** What the server has to be told: whom to tell, and, where no callback is left, whom no more. */
  readonly #waiting = new Set<Watch>()
  /** How many it is being told. */
  #telling = 0
  /** Whether it said that the session watches as many as it may (T4). It isn't asked for more until one is given up. */
  #isFull = false

  constructor(connection: Pick<Connection, 'call' | 'session' | 'settings'>) {
    this.#connection = connection
  }

  subscribe(conversation: ConversationId, callback: TypingCallback): void {
    const known = this.#watches.get(conversation)
    const callbacks = new Set<TypingCallback>()
    const watch: Watch = known ?? { conversation, callbacks, asked: false, typing: null, told: null, timer: null }
    watch.callbacks.add(callback)
    if (!known) {
      this.#watches.set(conversation, watch)
      if (this.#connection.session) this.#queue(watch)
    } else if (known.typing) {
      platform.queueMicrotask(() => {
        if (watch.typing && watch.callbacks.has(callback)) callEach(new Set([callback]), watch.typing)
      })
    }
  }

  /** Without a callback, all of them. With the last one the server is told. */
  unsubscribe(conversation: ConversationId, callback?: TypingCallback): void {
    const watch = this.#watches.get(conversation)
    if (!watch) return
    if (callback) watch.callbacks.delete(callback)
    else watch.callbacks.clear()
    if (watch.callbacks.size) return
    platform.clearTimeout(watch.timer)
    this.#watches.delete(conversation)
    if (watch.asked) this.#queue(watch)
    else this.#waiting.delete(watch)
  }

  /** A session has begun, and it watches nothing yet. */
  connected(): void {
    for (const watch of this.#watches.values()) this.#queue(watch)
  }

  /** Whoever was typing may have stopped since: nobody is. */
  disconnected(): void {
    this.#waiting.clear()
    this.#isFull = false
    for (const watch of this.#watches.values()) this.#forget(watch)
  }

  /** A record event has come. Who goes is told of nobody's typing any more, and who comes, or comes again, has to ask (E5). */
  event({ conversation, data }: EventFrame): void {
    const watch = conversation && data.record_type === 'conversation' && this.#watches.get(conversation)
    if (!watch) return
    if (data.event_type === 'delete') {
      this.#waiting.delete(watch)
      // The server has stopped by itself.
      if (watch.asked) this.#isFull = false
      this.#forget(watch)
      this.#next()
    }
    if (data.event_type === 'create' && !watch.asked) this.#queue(watch)
  }

  /** A push has come. */
  receive(data: TypingData): void {
    for (const [conversation, typing] of Object.entries(data)) {
      const watch = this.#watches.get(conversation as ConversationId)
      if (watch) this.#set(watch, typing)
    }
  }

  #queue(watch: Watch): void {
    this.#waiting.add(watch)
    this.#next()
  }

  /** Tells the server what waits, in order and a few at a time. */
  #next(): void {
    for (const watch of this.#waiting) {
      if (this.#telling >= atOnce) return
      if (this.#isFull && watch.callbacks.size) continue
      this.#waiting.delete(watch)
      this.#tell(watch)
    }
  }

  async #tell(watch: Watch): Promise<void> {
    this.#telling++
    await (watch.callbacks.size ? this.#ask(watch) : this.#end(watch))
    this.#telling--
    this.#next()
  }

  async #ask(watch: Watch): Promise<void> {
    const { conversation } = watch
    const { session } = this.#connection
    watch.asked = true
    try {
      const { typing } = await this.#connection.call('subscribe_typing', { conversation }, { patient: true })
      // What was read in the same turn as the reply may have ended the session.
      if (session !== this.#connection.session) return
      // So may a push have been, which is newer.
      if (this.#watches.get(conversation) === watch && !watch.typing) this.#set(watch, typing)
    } catch (error) {
      // Nobody is seen typing there. The next session asks again, or coming into the conversation does.
      watch.asked = false
      if (session !== this.#connection.session || (error as FanfareError).code !== 'conflict') return
      this.#isFull = true
      if (watch.callbacks.size) this.#waiting.add(watch)
    }
  }

  async #end({ conversation }: Watch): Promise<void> {
    try {
      await this.#connection.call('unsubscribe_typing', { conversation }, { patient: true })
    } catch {
      // With the session it has ended as well.
    }
    this.#isFull = false
  }

  #forget(watch: Watch): void {
    if (Object.keys(watch.typing ?? {}).length) this.#set(watch, {})
    watch.typing = null
    watch.asked = false
  }

  /** Each push is the whole set, so all that is in it came now and one timer ends it all. */
  #set(watch: Watch, typing: TypingSet): void {
    const held = Object.entries(typing).filter(([, { event }]) => event !== 'finished')
    watch.typing = Object.fromEntries(held)
    watch.told = typing
    platform.clearTimeout(watch.timer)
    if (held.length) {
      const ms = this.#connection.settings.typing_expiry_ms + graceMs
      watch.timer = platform.setTimeout(() => this.#set(watch, {}), ms)
    }
    callEach(watch.callbacks, typing, () => watch.told === typing)
  }
}
