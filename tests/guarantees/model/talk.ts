/** A conversation as it should be: the plainest telling of E1 and E5 that there is. */
import { type ConversationId, type UserId, userConversationId } from '../../../src/protocol/ids.ts'
import type { Conversation, Message, Metadata, UserConversation } from '../../../src/protocol/records.ts'

/** One time that somebody took part. */
export interface Stay {
  readonly from: number
  /** The seq of his going; infinite while he takes part. */
  to: number
  admin: boolean
  lastRead: number
}

export class Talk {
  readonly id: ConversationId
  readonly createdBy: UserId
  readonly createdAt: number
  title: string | null
  metadata: Metadata
  /** Whose it is alone, while that is so. */
  distinct: string | null
  updatedAt: number
  lastSeq = 1
  deleted = false
  /** As they are now, in the order of their creation. */
  readonly messages: Message[] = []
  /** The position in the log at which each user last came or went. */
  readonly movedAt = new Map<UserId, number>()
  readonly #moving = new Set<UserId>()
  readonly #stays = new Map<UserId, Stay[]>()

  constructor(id: ConversationId, createdBy: UserId, at: number, title: string | null, metadata: Metadata) {
    this.id = id
    this.createdBy = createdBy
    this.createdAt = at
    this.updatedAt = at
    this.title = title
    this.metadata = metadata
    this.distinct = null
  }

  /** All who ever took part. */
  get everybody(): UserId[] {
    return [...this.#stays.keys()]
  }

  get participants(): UserId[] {
    return this.everybody.filter((user) => this.stay(user)).sort()
  }

  get admins(): UserId[] {
    return this.participants.filter((user) => this.stay(user)?.admin)
  }

  get record(): Conversation {
    return {
      id: this.id,
      title: this.title,
      metadata: this.metadata,
      participants: this.participants,
      admins: this.admins,
      participant_count: this.participants.length,
      distinct_by_participants: this.distinct !== null,
      last_message: this.messages.at(-1)?.id ?? null,
      last_seq: this.lastSeq,
      created_by: this.createdBy,
      created_at: timestamp(this.createdAt),
      updated_at: timestamp(this.updatedAt),
    }
  }

  /** The user's present stay; undefined where he does not take part. */
  stay(user: UserId): Stay | undefined {
    const last = this.stays(user).at(-1)
    return last?.to === Number.POSITIVE_INFINITY ? last : undefined
  }

  /** All of them, the earliest first. */
  stays(user: UserId): readonly Stay[] {
    return this.#stays.get(user) ?? []
  }

  join(user: UserId, admin: boolean): void {
    const stay = { from: this.lastSeq, to: Number.POSITIVE_INFINITY, admin, lastRead: this.lastSeq }
    this.#stays.set(user, [...this.stays(user), stay])
    this.#moving.add(user)
  }

  leave(user: UserId): void {
    this.#seat(user).to = this.lastSeq
    this.#moving.add(user)
  }

  /** Who has come or gone since the last call has done so at this position. */
  moved(position: number): void {
    for (const user of this.#moving) this.movedAt.set(user, position)
    this.#moving.clear()
  }

  read(user: UserId, seq: number): void {
    this.#seat(user).lastRead = seq
  }

  userConversation(user: UserId): UserConversation {
    const { lastRead, admin } = this.#seat(user)
    const unread = this.messages.filter(({ seq, deleted, created_by: by }) => seq > lastRead && !deleted && by !== user)
    return {
      id: userConversationId(user, this.id),
      user,
      conversation: this.id,
      unread_count: unread.length,
      last_read_message: this.messages.find(({ seq }) => seq === lastRead)?.id ?? null,
      last_read_seq: lastRead,
      is_admin: admin,
    }
  }

  #seat(user: UserId): Stay {
    const stay = this.stay(user)
    if (!stay) throw new Error(`${user} is not in ${this.id}`)
    return stay
  }
}

export function timestamp(at: number): string {
  return new Date(at).toISOString()
}
