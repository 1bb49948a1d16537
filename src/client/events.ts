/** Where record events come into order: each is given out once, and what is missing is fetched before what follows it (C4). */
import type { EventFrame, Gap } from '../protocol/frames.ts'
import type { ConversationId } from '../protocol/ids.ts'
import type { RecordEvent } from '../protocol/records.ts'
import { callEach } from './callbacks.ts'
import type { Connection } from './connection.ts'

/** Of one conversation so many events may wait for what is missing before them. The first of more is dropped, and fetched in its turn. */
const heldLimit = 1_000

/** Called with each record event: which record was made, changed or deleted, how it is now, and how it was. */
export type EventCallback = (event: RecordEvent) => void
/** Told of events that can't be had any more. */
export type GapCallback = (gap: Gap) => void
/** Called when what happened meanwhile can't be told: get anew whatever is shown. */
export type ResetCallback = () => void

type PlacedFrame = EventFrame & { readonly conversation: ConversationId; readonly seq: number }

/** A conversation of which something is missing. */
interface Repair {
  /** Where the chat stood before what is held back. */
  readonly cursor: string | undefined
  /** What came and waits, by `seq`. */
  readonly held: Map<number, PlacedFrame>
  /** It is over when all below is given out. */
  beforeSeq: number
}

export class Events {
  readonly callbacks = new Set<EventCallback>()
  readonly gapCallbacks = new Set<GapCallback>()
  readonly resetCallbacks = new Set<ResetCallback>()
  readonly #connection: Pick<Connection, 'call' | 'state'>
  /** The `seq` of each conversation up to which all is given out. It outlives the user's leaving, lest a replay of that be told twice. */
  readonly #seqs = new Map<ConversationId, number>()
  /** In the order in which they began, so the first has the oldest cursor. */
  readonly #repairs = new Map<ConversationId, Repair>()
  /** Where the session stands. */
  #reached: string | undefined
  #isFetching = false

  constructor(connection: Pick<Connection, 'call' | 'state'>, cursor: string | undefined) {
    this.#connection = connection
    this.#reached = cursor
  }

  /** All at or before it has been given out. */
  get cursor(): string | undefined {
    for (const { cursor } of this.#repairs.values()) return cursor
    return this.#reached
  }

  /** The session stands at `cursor`, told without an event: it has just begun, or all is quiet. */
  reached(cursor: string): void {
    this.#reached = cursor
  }

  /** The server cannot go on from where the last session ended: what is counted and held means nothing any more. */
  reset(): void {
    this.#seqs.clear()
    this.#repairs.clear()
    callEach(this.resetCallbacks, undefined)
  }

  /** A push has come. */
  receive(frame: EventFrame): void {
    const cursor = this.#reached
    // Before the callbacks, so that what they keep is the place behind this event.
    this.#reached = frame.cursor
    if (isPlaced(frame)) this.#place(frame, cursor, false)
    else callEach(this.callbacks, frame.data)
  }

  /** The server says that it leaves something out (W6). */
  receiveGap({ conversation, after_seq, before_seq }: Gap): void {
    const seq = this.#seqs.get(conversation) ?? after_seq
    this.#seqs.set(conversation, seq)
    if (seq + 1 < before_seq) this.#repair(conversation, this.#reached, before_seq)
  }

  /** Gives `frame` out if it is its turn, or lets it wait. One that was fetched needn't: what is missing before it is not to be had. */
  #place(frame: PlacedFrame, cursor: string | undefined, wasFetched: boolean): void {
    const { conversation, seq } = frame
    const last = this.#seqs.get(conversation) ?? seq - 1
    if (seq <= last) return
    if (seq === last + 1 && !this.#repairs.has(conversation)) {
      this.#give(frame)
      return
    }
    const { record_type, event_type } = frame.data
    // Who comes is not told what was before, and who goes is told nothing more (E5): there is no hole to fill.
    const isTurn = record_type === 'conversation' && event_type !== 'update'
    const repair = this.#repair(conversation, cursor, seq + 1)
    const { held } = repair
    held.set(seq, frame)
    if (isTurn || wasFetched || seq === last + 1) this.#giveHeld(conversation, repair, seq, !isTurn)
    if (held.size > heldLimit) held.delete([...held.keys()][0] as number)
  }

  /** Gives out in order what is held up to `upToSeq`, and then what follows without a hole. Holes on the way are told, or passed over. */
  #giveHeld(conversation: ConversationId, { held }: Repair, upToSeq: number, tell: boolean): void {
    for (const frame of [...held.values()].sort((a, b) => a.seq - b.seq)) {
      const { seq } = frame
      const next = (this.#seqs.get(conversation) ?? 0) + 1
      if (seq > next && seq > upToSeq) return
      if (tell) this.#skipTo(conversation, seq)
      held.delete(seq)
      this.#give(frame)
    }
  }

  #give(frame: PlacedFrame): void {
    if (this.#isClosed) return
    this.#advance(frame.conversation, frame.seq)
    callEach(this.callbacks, frame.data)
  }

  /** Goes on at `before_seq`. If something is missing before it, that is told. */
  #skipTo(conversation: ConversationId, before_seq: number): void {
    const after_seq = this.#seqs.get(conversation) ?? 0
    if (this.#isClosed || after_seq + 1 >= before_seq) return
    this.#advance(conversation, before_seq - 1)
    callEach(this.gapCallbacks, { conversation, after_seq, before_seq })
  }

  #advance(conversation: ConversationId, seq: number): void {
    this.#seqs.set(conversation, seq)
    if (seq + 1 >= (this.#repairs.get(conversation)?.beforeSeq ?? 0)) this.#repairs.delete(conversation)
  }

  /** Has all below `beforeSeq` fetched. */
  #repair(conversation: ConversationId, cursor: string | undefined, beforeSeq: number): Repair {
    const repair = this.#repairs.get(conversation) ?? { cursor, held: new Map(), beforeSeq }
    repair.beforeSeq = Math.max(repair.beforeSeq, beforeSeq)
    this.#repairs.set(conversation, repair)
    if (!this.#isFetching) this.#fetchAll()
    return repair
  }

  /** One page at a time, of each conversation in turn: many gaps at once crowd out neither one another nor the application's calls. */
  async #fetchAll(): Promise<void> {
    this.#isFetching = true
    // What made the first repair may be all that was missing: see to that first.
    await null
    while (this.#repairs.size) {
      for (const [conversation, repair] of this.#repairs) {
        await this.#fetch(conversation, repair)
        if (this.#isClosed) return
      }
    }
    this.#isFetching = false
  }

  async #fetch(conversation: ConversationId, repair: Repair): Promise<void> {
    const after_seq = this.#seqs.get(conversation) ?? 0
    let frames: EventFrame[] = []
    try {
      const page = await this.#connection.call('get_events', { conversation, after_seq }, { urgent: true })
      frames = page.events
    } catch {
      // Nothing came: what is missing is told as a gap.
    }
    if (this.#isClosed || this.#repairs.get(conversation) !== repair) return
    for (const frame of frames) if (isPlaced(frame)) this.#place(frame, this.#reached, true)
    if (this.#seqs.get(conversation) !== after_seq) return
    this.#giveHeld(conversation, repair, Number.POSITIVE_INFINITY, true)
    this.#skipTo(conversation, repair.beforeSeq)
  }

  /** A callback may close the chat while several events are given out. The rest stays where it is, and the cursor before it. */
  get #isClosed(): boolean {
    return this.#connection.state.status === 'closed'
  }
}

function isPlaced(frame: EventFrame): frame is PlacedFrame {
  return frame.conversation !== undefined && frame.seq !== undefined
}
