/** Who types where, as section T says it and no more: what the server is held against. */
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import { type TypingEntry, type TypingSet, type TypingState, typingExpiryMs } from '../../src/protocol/typing.ts'

interface Lease<Holder> {
  readonly entry: TypingEntry
  readonly endsAt: number
  readonly holder: Holder | null
}

export class TypingModel<Holder> {
  readonly #leases = new Map<ConversationId, Map<UserId, Lease<Holder>>>()

  type(conversation: ConversationId, user: UserId, event: TypingState, holder: Holder | null, now: number): void {
    if (event === 'finished') {
      this.end(conversation, user)
      return
    }
    const leases = this.#leases.get(conversation) ?? new Map<UserId, Lease<Holder>>()
    this.#leases.set(conversation, leases)
    const entry = { event, at: new Date(now).toISOString() }
    leases.set(user, { entry, endsAt: now + typingExpiryMs, holder })
  }

  /** By his message, or because he has gone. */
  end(conversation: ConversationId, user: UserId): void {
    this.#leases.get(conversation)?.delete(user)
  }

  deleted(conversation: ConversationId): void {
    this.#leases.delete(conversation)
  }

  closed(session: Holder): void {
    this.#endWhere(({ holder }) => holder === session)
  }

  /** Tells whether time has ended any lease. */
  passed(now: number): boolean {
    return this.#endWhere(({ endsAt }) => endsAt <= now)
  }

  /** Who types there, as `viewer` is told of it. */
  set(conversation: ConversationId, viewer: UserId): TypingSet {
    const leases = [...(this.#leases.get(conversation) ?? [])].filter(([user]) => user !== viewer)
    return Object.fromEntries(leases.map(([user, { entry }]) => [user, entry]))
  }

  /** How many type there. */
  count(conversation: ConversationId): number {
    return this.#leases.get(conversation)?.size ?? 0
  }

  #endWhere(over: (lease: Lease<Holder>) => boolean): boolean {
    let ended = false
    for (const leases of this.#leases.values()) {
      for (const [user, lease] of leases) if (over(lease)) ended = leases.delete(user)
    }
    return ended
  }
}
