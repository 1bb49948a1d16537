/** Who waits for whom on this node: operations that belong behind one another, and the order in which all of them are answered. */

/** Where an operation stands on this node, by the names of lanes. */
export interface Lanes {
  /** It begins when all has ended that was asked for before and holds one of these. */
  readonly behind: readonly string[]
  /** What is asked for later behind one of these waits for it. */
  readonly holds: readonly string[]
}

/**
 * Lets operations wait for each other, so that a client's commands are done in the order in which it gave them, and a busy conversation
 * holds one connection or two, and not all of them. Nothing waits for what was asked for later, so nothing waits for ever.
 */
export class WaitingLines {
  /** When all that holds a lane has ended. */
  readonly #ends = new Map<string, Promise<unknown>>()

  async run(lanes: Lanes, work: () => Promise<void>): Promise<void> {
    const turn = Promise.all(lanes.behind.map((lane) => this.#ends.get(lane)))
    const done = turn.then(work)
    const ended = done.catch(() => {})
    for (const lane of lanes.holds) this.#hold(lane, ended)
    return done
  }

  #hold(lane: string, ended: Promise<void>): void {
    const before = this.#ends.get(lane)
    const end = before ? Promise.all([before, ended]) : ended
    this.#ends.set(lane, end)
    void end.then(() => {
      if (this.#ends.get(lane) === end) this.#ends.delete(lane)
    })
  }
}

/** An operation that is about to append to the log, or has, and has not been answered yet. */
export interface Ticket {
  /** When its entry was asked for. */
  readonly asked: number
  /** Where the entry stands, and when that was known; null before. */
  entry: { readonly position: number; readonly known: number } | null
  /** Answers the operation, once it is committed. */
  answer: (() => void) | null
}

/**
 * Answers operations in the order of the log. Transactions commit in another order than they took their positions in; one that has
 * committed waits for those that have a lower position, or may yet turn out to.
 */
export class AnswersInOrder {
  readonly #open = new Set<Ticket>()
  #now = 0

  /** An entry is about to be asked for. */
  enter(): Ticket {
    const ticket: Ticket = { asked: this.#now++, entry: null, answer: null }
    this.#open.add(ticket)
    return ticket
  }

  /** The entry has this position. */
  place(ticket: Ticket, position: number): void {
    ticket.entry = { position, known: this.#now++ }
    this.#answerAll()
  }

  /** The operation is committed: calls `answer` when it is its turn, at once where it has appended nothing, and then resolves. */
  committed(ticket: Ticket | undefined, answer: () => void): Promise<void> {
    return new Promise((resolve) => {
      const settle = () => {
        answer()
        resolve()
      }
      if (!ticket) return settle()
      ticket.answer = settle
      this.#answerAll()
    })
  }

  /** The operation has failed, so nobody waits for it any more. */
  leave(ticket: Ticket): void {
    this.#open.delete(ticket)
    this.#answerAll()
  }

  #answerAll(): void {
    for (let next = this.#next(); next; next = this.#next()) {
      this.#open.delete(next)
      next.answer?.()
    }
  }

  /** Of those that have a position only the one with the lowest can be next, and that only if nothing may yet turn out to stand before it. */
  #next(): Ticket | undefined {
    let next: Ticket | undefined
    let firstAsked = Number.POSITIVE_INFINITY
    for (const ticket of this.#open) {
      const { asked, entry } = ticket
      if (!entry) firstAsked = Math.min(firstAsked, asked)
      else if (entry.position < (next?.entry?.position ?? Number.POSITIVE_INFINITY)) next = ticket
    }
    // What was asked for after this position was known has a higher one.
    return next?.answer && next.entry && next.entry.known < firstAsked ? next : undefined
  }
}
