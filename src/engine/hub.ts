/** The hub knows which sessions are on this node, by user, and hands them what is published to their user's channel. */
import type { Broker } from '../broker/broker.ts'
import type { Frame } from '../protocol/frames.ts'
import type { UserId } from '../protocol/ids.ts'
import type { Observer } from './observer.ts'
import type { Session } from './session.ts'

export class Hub {
  readonly #broker: Broker
  readonly #observer: Observer
  readonly #sessions = new Map<UserId, Session[]>()

  constructor(broker: Broker, observer: Observer) {
    this.#broker = broker
    this.#observer = observer
  }

  /** From now on the session gets what is published to its user. */
  attach(user: UserId, session: Session): void {
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
    let pushed = 0
    for (const user of recipients) {
      let sessions = this.#sessions.get(user)
      if (!sessions) continue
      if (!toListeners) sessions = sessions.filter(({ listener }) => !listener)
      pushed += sessions.length
      for (const session of sessions) session.push(frame, position)
    }
    this.#observer.pushed('event', pushed)
  }
}
