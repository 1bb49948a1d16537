/** Where the SDK keeps who is typing in the conversations that the application watches (T3, T4). */
import type { EventFrame } from '../protocol/frames.ts'
import type { ConversationId } from '../protocol/ids.ts'
import type { TypingData, TypingSet } from '../protocol/typing.ts'
import { callEach } from './callbacks.ts'
import type { Connection } from './connection.ts'
import { platform } from './platform.ts'

/** What a set outlives the server's lease by, before this machine's clock ends it. */
const graceMs = 2_000

/** Called with all who are typing in one conversation now. */
export type TypingCallback = (typing: TypingSet) => void

interface Watch {
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

  constructor(connection: Pick<Connection, 'call' | 'session' | 'settings'>) {
    this.#connection = connection
  }

  subscribe(conversation: ConversationId, callback: TypingCallback): void {
    const known = this.#watches.get(conversation)
    const watch: Watch = known ?? { callbacks: new Set(), asked: false, typing: null, told: null, timer: null }
    watch.callbacks.add(callback)
    if (!known) {
      this.#watches.set(conversation, watch)
      if (this.#connection.session) this.#ask(conversation, watch)
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
    // What fails ends with the session.
    if (watch.asked) this.#connection.call('unsubscribe_typing', { conversation }, { urgent: true }).catch(() => {})
  }

  /** A session has begun, and it watches nothing yet. */
  connected(): void {
    for (const [conversation, watch] of this.#watches) this.#ask(conversation, watch)
  }

  /** Whoever was typing may have stopped since: nobody is. */
  disconnected(): void {
    for (const watch of this.#watches.values()) this.#forget(watch)
  }

  /** A record event has come. Who goes is told of nobody's typing any more, and who comes, or comes again, has to ask (E5). */
  event({ conversation, data }: EventFrame): void {
    const watch = conversation && data.record_type === 'conversation' && this.#watches.get(conversation)
    if (!watch) return
    if (data.event_type === 'delete') this.#forget(watch)
    if (data.event_type === 'create' && !watch.asked) this.#ask(conversation, watch)
  }

  /** A push has come. */
  receive(data: TypingData): void {
    for (const [conversation, typing] of Object.entries(data)) {
      const watch = this.#watches.get(conversation as ConversationId)
      if (watch) this.#set(watch, typing)
    }
  }

  async #ask(conversation: ConversationId, watch: Watch): Promise<void> {
    const { session } = this.#connection
    watch.asked = true
    try {
      const { typing } = await this.#connection.call('subscribe_typing', { conversation }, { urgent: true })
      // What was read in the same turn as the reply may have ended the session.
      if (session !== this.#connection.session) return
      // So may a push have been, which is newer.
      if (this.#watches.get(conversation) === watch && !watch.typing) this.#set(watch, typing)
    } catch {
      // Nobody is seen typing there. The next session asks again, or coming into the conversation does.
      watch.asked = false
    }
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
