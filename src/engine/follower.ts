/**
 * What keeps a node whole among others. Entries of other nodes come by a broker that may lose them, and in no order between nodes; this
 * node hands them to its sessions in the order of each conversation, and reads from the log what has not come.
 */
import type { EntryPublication } from '../broker/broker.ts'
import { FanfareError } from '../protocol/codes.ts'
import type { EventStorage, FollowedEntry } from '../storage/storage.ts'
import type { Clock } from './clock.ts'

/** What was lost is found this soon, though nothing new comes. */
const lookAgainMs = 1_000
/** When it is known that something is missing. */
const soonMs = 20
/** After the log could not be read. */
const retryMs = 500
const entriesAtOnce = 1_000

/** What the follower needs of its node. */
export interface FollowingNode {
  /** Hands the entry to this node's sessions; false where its recipients are not known here. */
  deliver(entry: EntryPublication): boolean
  /** Hands an entry of the log to those of the users who have sessions here. Resolves when they are told. */
  recover(entry: FollowedEntry, isHandled: () => boolean): Promise<void>
  onFault(doing: string, error: unknown): void
}

export class Follower {
  readonly #events: EventStorage
  readonly #clock: Clock
  readonly #node: FollowingNode
  /** Every entry up to here was handled. */
  #wholeTo: number
  /** The entries beyond it that were handled too. */
  readonly #handled = new Set<number>()
  #last: number
  /** The last entry that came too soon, or that somebody waits for. */
  #awaited = 0
  readonly #waiting = new Set<{ readonly position: number; readonly resolve: () => void }>()
  #looking = false
  #lookAgain = false
  #stopped = false
  #cancel: () => void

  constructor(events: EventStorage, clock: Clock, position: number, node: FollowingNode) {
    this.#events = events
    this.#clock = clock
    this.#node = node
    this.#wholeTo = position
    this.#last = position
    this.#cancel = clock.after(lookAgainMs, () => this.look())
  }

  /** Everything at or before it was handed to this node's sessions. */
  get wholeTo(): number {
    return this.#wholeTo
  }

  /** The last entry that was handed to them; of those between the two some may be missing still. */
  get last(): number {
    return this.#last
  }

  /** An entry has come, by the broker or from this node itself. One that comes too soon is read from the log, behind what it waits for. */
  take(entry: EntryPublication): void {
    if (this.#isHandled(entry.position)) return
    if (this.#isHandled(entry.previous) && this.#node.deliver(entry)) {
      this.#handle(entry.position)
    } else {
      this.#awaited = Math.max(this.#awaited, entry.position)
      this.look()
    }
  }

  /**
   * Resolves when everything at or before the position, which is that of an entry, was handed to this node's sessions. However many wait,
   * the log is looked at once for all. Those who still wait at `stop` wait on.
   */
  whenWhole(position: number): Promise<void> {
    return new Promise((resolve) => {
      if (position <= this.#wholeTo) return resolve()
      this.#waiting.add({ position, resolve })
      // It looks again soon for as long as something is awaited.
      if (position <= this.#awaited) return
      this.#awaited = position
      this.look()
    })
  }

  /** Reads from the log what has not come, now. */
  look(): void {
    this.#lookAgain = true
    if (!this.#looking && !this.#stopped) void this.#look()
  }

  /** Looks no more. */
  stop(): void {
    this.#stopped = true
    this.#cancel()
  }

  async #look(): Promise<void> {
    this.#cancel()
    this.#looking = true
    let waitMs = lookAgainMs
    try {
      while (this.#lookAgain && !this.#stopped) {
        this.#lookAgain = false
        const { upTo, entries } = await this.#events.since(this.#wholeTo, entriesAtOnce)
        for (const entry of entries) {
          const isHandled = () => this.#stopped || this.#isHandled(entry.position)
          if (!isHandled()) await this.#node.recover(entry, isHandled)
          if (this.#stopped) return
          this.#handle(entry.position)
        }
        this.#wholeTo = upTo
        for (const position of this.#handled) if (position <= upTo) this.#handled.delete(position)
        for (const waiting of this.#waiting) {
          if (waiting.position > upTo) continue
          this.#waiting.delete(waiting)
          waiting.resolve()
        }
        if (entries.length === entriesAtOnce) this.#lookAgain = true
      }
      // The log is whole up to what has come as soon as those who write before it are done.
      if (this.#awaited > this.#wholeTo) waitMs = soonMs
    } catch (error) {
      waitMs = retryMs
      // Where storage can do nothing now it has told the operator itself.
      if (!(error instanceof FanfareError)) this.#node.onFault('reading what other nodes have written', error)
    } finally {
      this.#looking = false
      if (!this.#stopped) this.#cancel = this.#clock.after(waitMs, () => this.look())
    }
  }

  #isHandled(position: number): boolean {
    return position <= this.#wholeTo || this.#handled.has(position)
  }

  #handle(position: number): void {
    if (position > this.#wholeTo) this.#handled.add(position)
    this.#last = Math.max(this.#last, position)
  }
}
