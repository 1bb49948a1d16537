/**
 * The fan-out: from a log entry to its audiences' frames, each made once, and on to the sessions. The server alone decides who hears
 * what: the recipients are the participants as of the entry's commit (U2).
 */
import type { Broker, Delivery, EntryPublication, Recipients, SessionsEnd, Topic, TypingEnd } from '../broker/broker.ts'
import { encodeWithoutCursor, tellsDeletion, withCursor } from '../protocol/frames.ts'
import type { ConversationId, SessionId, UserId } from '../protocol/ids.ts'
import type { RecordEvent } from '../protocol/records.ts'
import type { CurrentUserChannel, FollowedEntry, LogEntry, Storage } from '../storage/storage.ts'
import type { Clock } from './clock.ts'
import { encodeCursor } from './cursor.ts'
import { Follower } from './follower.ts'
import type { Hub } from './hub.ts'
import type { Memberships, Participants } from './memberships.ts'
import type { Observer } from './observer.ts'
import type { Typing } from './typing.ts'
import { endSessions } from './user-channels.ts'

/**
 * To more recipients than these an entry goes to all nodes, which know who takes part; to fewer, under each one's topic. Topics cost a
 * message for each recipient, and save one only from about twice as many nodes as recipients on (docs/adr/0008).
 */
const mostNamed = 4

/** What the fan-out works with. */
export interface FanoutRooms {
  readonly storage: Storage
  readonly broker: Broker
  readonly clock: Clock
  readonly hub: Hub
  readonly memberships: Memberships
  readonly typing: Typing
  readonly observer: Observer
}

/** What an entry does on a node besides being pushed. */
type Effects = Pick<EntryPublication, 'position' | 'conversation' | 'endsTyping' | 'rotation'>

export class Fanout {
  readonly #rooms: FanoutRooms
  /** Null where this node is alone: then it knows of every entry, in the order of the log. */
  #follower: Follower | null
  /** For each session that is about to begin, whose channels have been rotated meanwhile. */
  readonly #rotatedMeanwhile = new Set<Set<UserId>>()
  #position: number
  /**
   * Where in the log users who are here were told to be out of a conversation. What concerns one of them alone goes by itself, so from
   * before that place it may come behind it, and then is not told any more (E5).
   */
  readonly #departures = new Map<string, number>()

  constructor(rooms: FanoutRooms) {
    this.#rooms = rooms
    this.#position = rooms.storage.position
    this.#follower = this.#follow()
  }

  #follow(): Follower | null {
    const { storage, broker, clock, observer } = this.#rooms
    if (broker.alone) return null
    return new Follower(storage.events, clock, storage.position, {
      deliver: (entry) => this.#deliver(entry),
      recover: (entry, isHandled) => this.#recover(entry, isHandled),
      onFault: (doing, error) => observer.fault(doing, error),
    })
  }

  /** Everything at or before it was pushed to this node's sessions (R1). */
  get position(): number {
    return this.#follower ? this.#follower.wholeTo : this.#position
  }

  /** The last entry that was pushed to them. Where there are other nodes some before it may still be missing. */
  get last(): number {
    return this.#follower ? this.#follower.last : this.#position
  }

  cursorAt(position: number): string {
    return encodeCursor(this.#rooms.storage.epoch, position)
  }

  /**
   * Publishes a committed entry. It is called in the order of the log, and after the reply to the command that made the entry (E3).
   * `held` is the membership that the command said it knew, `by` the session that it came from.
   */
  publish(entry: LogEntry, held: Participants | undefined, by: SessionId | null): void {
    const { place, membership, position, tellings, rotation } = entry
    const conversation = place?.conversation ?? null
    const participants =
      conversation && membership ? this.#rooms.memberships.learn(conversation, membership, held) : null
    const effects = {
      position,
      conversation: conversation ?? aboutOf(tellings[0]?.data),
      endsTyping: typingEnd(entry),
      rotation: rotation ? { ...rotation, by } : null,
    }
    const told = tellings.map(({ to, data }) => ({
      users: to === 'participants' ? (participants?.users ?? []) : to,
      event: encodeWithoutCursor(data, place),
    }))
    if (!this.#follower) {
      this.#position = position
      this.#begin(effects)
      for (const { users, event } of told) this.#push(users, event, position, position, !rotation)
      return
    }
    const version = membership?.version ?? 0
    const named = told.reduce((sum, { users }) => sum + users.length, 0) <= mostNamed
    const deliveries: Delivery[] = told.map(({ users, event }, index) => ({
      recipients: !named && conversation && tellings[index]?.to === 'participants' ? { conversation, version } : users,
      event,
    }))
    const publication: EntryPublication = {
      kind: 'entry',
      epoch: this.#rooms.storage.epoch,
      previous: entry.previous,
      version,
      deliveries,
      ...effects,
    }
    this.#follower.take(publication)
    this.#rooms.broker.publish(publication, named ? topicsOf(told) : null)
  }

  /** An entry has come from another node. */
  receive(entry: EntryPublication): void {
    // In another life of the database the position may be another entry's (R5). Where it is not, the log has it.
    if (entry.epoch !== this.#rooms.storage.epoch) {
      this.look()
      return
    }
    if (entry.conversation) this.#rooms.memberships.outdate(entry.conversation, entry.version)
    this.#follower?.take(entry)
  }

  /** Gives a set to which everyone is added whose channel is rotated from now on, as soon as this node hears of it. */
  beginNoting(): Set<UserId> {
    const rotated = new Set<UserId>()
    this.#rotatedMeanwhile.add(rotated)
    return rotated
  }

  endNoting(rotated: Set<UserId>): void {
    this.#rotatedMeanwhile.delete(rotated)
  }

  /** Something may have been lost on the way between nodes. */
  look(): void {
    this.#follower?.look()
  }

  /** Resolves when everything at or before `position` was pushed to this node's sessions, if `stop` does not come before. */
  async whenWhole(position: number): Promise<void> {
    await this.#follower?.whenWhole(position)
  }

  /** The log is another one, of which nobody here was told anything (R5). */
  beginAnew(): void {
    this.stop()
    this.#departures.clear()
    this.#position = this.#rooms.storage.position
    this.#follower = this.#follow()
  }

  stop(): void {
    this.#follower?.stop()
  }

  #deliver(entry: EntryPublication): boolean {
    const told: { users: readonly UserId[]; event: string }[] = []
    const about = entry.version === 0 ? entry.conversation : null
    for (const { recipients, event } of entry.deliveries) {
      const users = this.#usersOf(recipients)
      if (!users) return false
      told.push({ users: about ? users.filter((user) => !this.#hasLeft(user, about, entry.position)) : users, event })
    }
    this.#begin(entry)
    for (const { users, event } of told) this.#push(users, event, entry.position, this.position, !entry.rotation)
    return true
  }

  /** Null where this node knows another version of who takes part; then it asks, to know for the next entry. */
  #usersOf(recipients: Recipients): readonly UserId[] | null {
    if (!('conversation' in recipients)) return recipients
    const { conversation, version } = recipients
    const { memberships } = this.#rooms
    const known = memberships.get(conversation)
    if (known?.version === version) return known.users
    const nothing = () => {}
    if (!memberships.asking(conversation)) memberships.ask(conversation, nothing, nothing)
    return null
  }

  /** Typing (T2) and sessions (U6) that an entry ends go first. */
  #begin({ position, conversation, endsTyping, rotation }: Effects): void {
    const { hub, typing } = this.#rooms
    if (endsTyping) typing.end(endsTyping)
    if (conversation && endsTyping?.left) {
      for (const [key, leftAt] of this.#departures) if (leftAt <= this.position) this.#departures.delete(key)
      for (const user of endsTyping.users) {
        if (this.#follower && hub.has(user)) this.#departures.set(`${user} ${conversation}`, position)
      }
    }
    if (rotation) this.#endRotated(rotation)
  }

  #endRotated(rotation: SessionsEnd): void {
    for (const rotated of this.#rotatedMeanwhile) rotated.add(rotation.user)
    endSessions(this.#rooms.hub.sessions(rotation.user), rotation)
  }

  #hasLeft(user: UserId, conversation: ConversationId, position: number): boolean {
    return (this.#departures.get(`${user} ${conversation}`) ?? 0) > position
  }

  /** Who listens by the channel's present name may have come before its rotation was heard of here, and is never told of it (U6). */
  #push(users: readonly UserId[], event: string, position: number, wholeTo: number, toListeners: boolean): void {
    const { hub, storage } = this.#rooms
    if (!storage.inOrder && tellsDeletion(event)) {
      for (const user of users) for (const session of hub.sessions(user)) session.withdraw()
    }
    hub.deliver(users, withCursor(event, this.cursorAt(wholeTo)), position, toListeners)
  }

  /** Tells the users who have sessions here of an entry that did not come, from the log: what they could see then and may see now. */
  async #recover({ position, place, user }: FollowedEntry, isHandled: () => boolean): Promise<void> {
    const { hub, memberships, storage } = this.#rooms
    const tellings = await storage.events.tellings(position)
    const isRotation = tellings[0]?.data.record_type === 'user_channel'
    const channel = user && isRotation ? await storage.userChannels.find(user) : null
    if (isHandled()) return
    // Any other entry may have changed who takes part.
    const isMessage = tellings[0]?.data.record_type === 'message'
    if (place && !isMessage) memberships.outdate(place.conversation, Number.POSITIVE_INFINITY)
    const conversation = place?.conversation ?? null
    for (const { to, data } of tellings) {
      const endsTyping = conversation && typingEndOf(conversation, to, data)
      this.#begin({ position, conversation, endsTyping, rotation: null })
      for (const rotation of user && channel ? rotationsOf(user, channel) : []) this.#endRotated(rotation)
      const about = aboutOf(data)
      const here = to.filter((one) => hub.has(one) && !(about && this.#hasLeft(one, about, position)))
      if (here.length > 0) this.#push(here, encodeWithoutCursor(data, place), position, this.position, !isRotation)
    }
  }
}

/** What the channel itself tells now of rotations of before. */
function rotationsOf(user: UserId, { rotatedAt, revokedAt }: CurrentUserChannel): SessionsEnd[] {
  const last: SessionsEnd = { user, rotatedAt, revoke: false, by: null }
  return revokedAt === null ? [last] : [{ ...last, rotatedAt: revokedAt, revoke: true }, last]
}

function topicsOf(told: readonly { readonly users: readonly UserId[] }[]): Topic[] {
  return told.flatMap(({ users }) => users)
}

/** The conversation that an event of one user alone is about. */
function aboutOf(data: RecordEvent | undefined): ConversationId | null {
  return data?.record_type === 'user_conversation' ? data.record.conversation : null
}

function typingEnd({ place, tellings }: LogEntry): TypingEnd | null {
  if (!place) return null
  for (const { to, data } of tellings) {
    const end = typingEndOf(place.conversation, to === 'participants' ? [] : to, data)
    if (end) return end
  }
  return null
}

/** Typing that an event ends where `users` are told it (T2): its author's, who has sent what he typed, or theirs, who have left. */
function typingEndOf(conversation: ConversationId, users: readonly UserId[], data: RecordEvent): TypingEnd | null {
  if (data.record_type === 'message' && data.event_type === 'create') {
    return { conversation, users: [data.record.created_by], left: false }
  }
  if (data.record_type === 'conversation' && data.event_type === 'delete') return { conversation, users, left: true }
  return null
}
