/**
 * Who takes part in a conversation, as this node knows it: a version and its participants. A write tells storage which version is
 * known here, and storage names the participants only where that is not the current one; so a message to ten thousand does not
 * read ten thousand rows.
 */
import type { ConversationId, UserId } from '../protocol/ids.ts'
import type { Membership } from '../storage/storage.ts'

export class Participants {
  readonly version: number
  readonly users: readonly UserId[]
  #set: Set<UserId> | null = null

  constructor(version: number, users: readonly UserId[]) {
    this.version = version
    this.users = users
  }

  has(user: UserId): boolean {
    this.#set ??= new Set(this.users)
    return this.#set.has(user)
  }
}

/** About 100 MB at the most: what is known of conversations beyond these many users in all is forgotten, oldest first. */
const rememberedUsers = 2_000_000

export class Memberships {
  readonly #known = new Map<ConversationId, Participants>()
  #users = 0

  get(conversation: ConversationId): Participants | undefined {
    return this.#known.get(conversation)
  }

  /**
   * Takes in what storage said of a conversation, and gives its participants. `held` is what the operation said that it knew: it
   * still serves when that was forgotten or overtaken in the meantime.
   */
  learn(conversation: ConversationId, { version, participants }: Membership, held?: Participants): Participants {
    const known = this.#known.get(conversation)
    if (known?.version === version) return known
    if (held?.version === version) return held
    if (!participants) throw new Error(`storage has not named the participants of version ${version}`)
    if (known && known.version > version) return new Participants(version, participants)
    this.#forget(conversation)
    const learned = new Participants(version, participants)
    if (participants.length === 0) return learned
    this.#known.set(conversation, learned)
    this.#users += participants.length
    for (const oldest of this.#known.keys()) {
      if (this.#users <= rememberedUsers || oldest === conversation) break
      this.#forget(oldest)
    }
    return learned
  }

  /** The conversation has come to a version of its membership: an older one is forgotten. */
  outdate(conversation: ConversationId, version: number): void {
    const known = this.#known.get(conversation)
    if (known && known.version < version) this.#forget(conversation)
  }

  #forget(conversation: ConversationId): void {
    this.#users -= this.#known.get(conversation)?.users.length ?? 0
    this.#known.delete(conversation)
  }
}
