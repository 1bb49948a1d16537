/**
 * Who takes part in a conversation, as this node knows it: a version and its participants. A write tells storage which version is
 * known here, and storage names the participants only where that is not the current one; so a message to ten thousand does not
 * read ten thousand rows.
 */
import type { ConversationId, UserId } from '../protocol/ids.ts'
import type { ConversationStorage, Membership } from '../storage/storage.ts'

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

/** Who takes part is being asked of storage. */
interface Question {
  /** In the order in which they asked. */
  readonly waiting: { answer(participants: Participants): void; fail(error: unknown): void }[]
  /** The newest version that was heard of since. */
  newest: number
}

export class Memberships {
  readonly #storage: Pick<ConversationStorage, 'membership'>
  readonly #known = new Map<ConversationId, Participants>()
  readonly #questions = new Map<ConversationId, Question>()
  #users = 0

  constructor(storage: Pick<ConversationStorage, 'membership'>) {
    this.#storage = storage
  }

  /**
   * Asks storage. Whoever asks while it is being asked is answered behind those before him, in the same turn, and nobody with what was
   * overtaken meanwhile. What `answer` throws goes to `fail`.
   */
  ask(
    conversation: ConversationId,
    answer: (participants: Participants) => void,
    fail: (error: unknown) => void,
  ): void {
    const question = this.#questions.get(conversation)
    if (question) {
      question.waiting.push({ answer, fail })
    } else {
      const asked: Question = { waiting: [{ answer, fail }], newest: 0 }
      this.#questions.set(conversation, asked)
      this.#ask(conversation, asked)
    }
  }

  /** Whether storage is being asked. */
  asking(conversation: ConversationId): boolean {
    return this.#questions.has(conversation)
  }

  #ask(conversation: ConversationId, question: Question): void {
    question.newest = 0
    this.#storage
      .membership(conversation)
      .then((membership) => {
        // What it has read may be older than what sessions were told since (E5).
        if (membership.version < question.newest) return this.#ask(conversation, question)
        this.#questions.delete(conversation)
        const participants = this.learn(conversation, membership)
        for (const { answer, fail } of question.waiting) {
          try {
            answer(participants)
          } catch (error) {
            fail(error)
          }
        }
      })
      .catch((error: unknown) => {
        this.#questions.delete(conversation)
        for (const { fail } of question.waiting) fail(error)
      })
  }

  get(conversation: ConversationId): Participants | undefined {
    return this.#known.get(conversation)
  }

  /**
   * Takes in what storage said of a conversation, and gives its participants. `held` is what the operation said that it knew: it
   * still serves when that was forgotten or overtaken in the meantime.
   */
  learn(conversation: ConversationId, { version, participants }: Membership, held?: Participants): Participants {
    this.#overtake(conversation, version)
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
    this.#overtake(conversation, version)
    const known = this.#known.get(conversation)
    if (known && known.version < version) this.#forget(conversation)
  }

  #overtake(conversation: ConversationId, version: number): void {
    const question = this.#questions.get(conversation)
    if (question) question.newest = Math.max(question.newest, version)
  }

  /** Forgets all. */
  clear(): void {
    for (const question of this.#questions.values()) question.newest = Number.POSITIVE_INFINITY
    this.#known.clear()
    this.#users = 0
  }

  #forget(conversation: ConversationId): void {
    this.#users -= this.#known.get(conversation)?.users.length ?? 0
    this.#known.delete(conversation)
  }
}
