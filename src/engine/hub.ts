/** The hub knows which sessions are on this node, by user, and hands them what is published to their user's channel. */
import type { Broker } from '../broker/broker.ts'
import type { Frame } from '../protocol/frames.ts'
import type { UserId } from '../protocol/ids.ts'
import type { Observer } from './observer.ts'
import type { Session } from './session.ts'

/** For fewer recipients than these looking each up costs less than remembering them. */
const fewestRemembered = 16

/** The sessions of some recipients, as long as nobody came or went since. */
interface Audience {
  readonly sessions: readonly Session[]
  readonly asOf: number
}

export class Hub {
  readonly #broker: Broker
  readonly #observer: Observer
  readonly #sessions = new Map<UserId, Session[]>()
  /** Of a membership, which is the same list of users for all that is said in it. Looking each up was a tenth of what a delivery costs here. */
  readonly #audiences = new WeakMap<readonly UserId[], Audience>()
  /** How often a session has come or gone. */
  #changes = 0

  constructor(broker: Broker, observer: Observer) {
    this.#broker = broker
    this.#observer = observer
  }

  /** From now on the session gets what is published to its user. */
  attach(user: UserId, session: Session): void {
    this.#changes++
    const sessions = this.#sessions.get(user)
    if (sessions) {
      sessions.push(session)
    } else {
      this.#sessions.set(user, [session])
      this.#broker.subscribe(user)
    }
  }

  /** Ends that; harmless when it never began. */
  detach(user: UserId, session: Session): void {
    const sessions = this.#sessions.get(user)
    if (!sessions?.includes(session)) return
    this.#changes++
    if (sessions.length > 1) {
      sessions.splice(sessions.indexOf(session), 1)
    } else {
      this.#sessions.delete(user)
      this.#broker.unsubscribe(user)
    }
  }

  /** The user's sessions on this node, in the order they came. */
  sessions(user: UserId): readonly Session[] {
    return this.#sessions.get(user) ?? []
  }

  /** Whether the user has a session on this node. */
  has(user: UserId): boolean {
    return this.#sessions.has(user)
  }

  /** Pushes the frame of the entry at `position` to each recipient's sessions here, to listeners too or not. */
  deliver(recipients: readonly UserId[], frame: Frame, position: number, toListeners: boolean): void {
    const audience = this.#audience(recipients)
    const sessions = toListeners ? audience : audience.filter(({ listener }) => !listener)
    for (const session of sessions) session.push(frame, position)
    this.#observer.pushed('event', sessions.length)
  }

  #audience(recipients: readonly UserId[]): readonly Session[] {
    const remembered = this.#audiences.get(recipients)
    if (remembered?.asOf === this.#changes) return remembered.sessions
    const sessions = recipients.flatMap((user) => this.#sessions.get(user) ?? [])
    if (recipients.length >= fewestRemembered) this.#audiences.set(recipients, { sessions, asOf: this.#changes })
    return sessions
  }
}
