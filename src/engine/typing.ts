/**
 * Who is typing where (T). A state is a lease in this node's memory: it ends by time, by `finished`, with the session that holds it,
 * with the user's leaving, or with his message. Nothing here touches storage (T6).
 *
 * Other nodes are told of the leases that are held here, all of a conversation at once, just as watchers are told; what they tell is held
 * like a lease of this node, so when nothing more is heard of a node its leases run out. `finished` is told by itself besides, for
 * over HTTP it comes to any node, and not only to the one that holds the lease.
 */
import type { Broker, TypingEnd, TypingFinished, TypingPublication } from '../broker/broker.ts'
import { encodeTyping } from '../protocol/frames.ts'
import type { ConversationId, UserId } from '../protocol/ids.ts'
import {
  type TypingEntry,
  type TypingSet,
  type TypingState,
  typingExpiryMs,
  typingPushIntervalMs,
  typingSetSize,
} from '../protocol/typing.ts'
import type { Clock } from './clock.ts'
import type { Observer } from './observer.ts'
import type { Session } from './session.ts'

interface Lease {
  readonly entry: TypingEntry
  /** When it was first taken, in milliseconds; told apart by thousandths where several were at once. */
  readonly begunAt: number
  readonly expiresAt: number
  /** The node that holds it; null where it is this one. */
  readonly node: string | null
  /** The session whose end ends it; null for a lease that was taken over HTTP. */
  readonly holder: Session | null
}

/** A conversation in which somebody types or watches. */
interface Place {
  /** In the order in which they end, which is that of their last renewal, for all hold equally long. */
  readonly leases: Map<UserId, Lease>
  /** Leases that have ended and were not yet told of. */
  readonly ended: Map<UserId, Lease>
  readonly watchers: Set<Session>
  /** Whether other nodes are to be told of what is held here. */
  changedHere: boolean
  pushedAt: number
  /** How long after the last push the next one goes out: for ever while there is nothing that the watchers don't know. */
  restMs: number
  cancelTimer: () => void
}

export class Typing {
  readonly #clock: Clock
  readonly #broker: Broker
  /** This node's name among the others. */
  readonly #node: string
  readonly #observer: Observer
  readonly #places = new Map<ConversationId, Place>()
  #begunLast = 0

  constructor(clock: Clock, broker: Broker, node: string, observer: Observer) {
    this.#clock = clock
    this.#broker = broker
    this.#node = node
    this.#observer = observer
  }

  /** Takes, renews, changes or ends the user's lease (T1, T2). That he takes part was checked. */
  set(conversation: ConversationId, user: UserId, state: TypingState, holder: Session | null): void {
    if (state === 'finished') {
      const holderHere = this.#places.get(conversation)?.leases.get(user)?.holder
      // Also where this node holds one: another may have taken one since, which is told with the next push only.
      if (!holderHere && !this.#broker.alone) {
        this.#broker.publish({ kind: 'finished', conversation, user }, [conversation])
      }
      this.finish({ conversation, user })
      return
    }
    const now = this.#clock.now()
    const place = this.#place(conversation)
    const before = place.leases.get(user)
    if (before && before.holder !== holder) before.holder?.typingIn.delete(conversation)
    holder?.typingIn.add(conversation)
    place.leases.delete(user)
    place.leases.set(user, {
      entry: { event: state, at: new Date(now).toISOString() },
      begunAt: before?.begunAt ?? this.#begin(now),
      expiresAt: now + typingExpiryMs,
      node: null,
      holder,
    })
    place.ended.delete(user)
    place.changedHere = true
    // A lease that is only renewed is told again before its watchers would let it go by their own clocks (T5).
    place.restMs = Math.min(place.restMs, before?.entry.event === state ? typingExpiryMs / 2 : typingPushIntervalMs)
    this.#settle(conversation, place)
  }

  /** Ends the user's lease, whichever node holds it. */
  finish({ conversation, user }: Omit<TypingFinished, 'kind'>): void {
    const place = this.#places.get(conversation)
    if (place && this.#finish(conversation, place, user)) this.#settle(conversation, place)
  }

  /** Another node has told of all the leases that it holds in a conversation. */
  receive({ conversation, node, leases }: TypingPublication): void {
    const place = this.#places.get(conversation)
    if (!place) return
    const expiresAt = this.#clock.now() + typingExpiryMs
    const held = new Set<UserId>()
    for (const { user, entry, begunAt } of leases) {
      held.add(user)
      const before = place.leases.get(user)
      before?.holder?.typingIn.delete(conversation)
      place.leases.delete(user)
      place.leases.set(user, { entry, begunAt, expiresAt, node, holder: null })
      place.ended.delete(user)
      place.restMs = Math.min(
        place.restMs,
        before?.entry.event === entry.event ? typingExpiryMs / 2 : typingPushIntervalMs,
      )
    }
    for (const [user, lease] of place.leases) {
      if (lease.node === node && !held.has(user)) this.#finish(conversation, place, user)
    }
    this.#settle(conversation, place)
  }

  /** Tells the other nodes, one of which has asked, of the leases that are held here. */
  answer(conversation: ConversationId): void {
    const place = this.#places.get(conversation)
    if (place && heldHere(place).length > 0) this.#publish(conversation, place)
  }

  /** The session is told of this conversation's typing from now on; gives the set as it is (T4). */
  watch(conversation: ConversationId, session: Session): TypingSet {
    const place = this.#place(conversation)
    if (place.watchers.size === 0 && !this.#broker.alone) {
      this.#broker.publish({ kind: 'who_types', conversation }, [conversation])
    }
    place.watchers.add(session)
    session.watching.add(conversation)
    return setWithout(latest(place.leases), session.user)
  }

  unwatch(conversation: ConversationId, session: Session): void {
    session.watching.delete(conversation)
    const place = this.#places.get(conversation)
    if (!place) return
    place.watchers.delete(session)
    this.#settle(conversation, place)
  }

  /** Ends these users' typing at once, before what comes next is pushed, whatever the pace would delay (T2). */
  end({ conversation, users, left }: TypingEnd): void {
    const place = this.#places.get(conversation)
    if (!place) return
    if (left) {
      const gone = new Set(users)
      for (const session of place.watchers) {
        if (gone.has(session.user as UserId)) {
          place.watchers.delete(session)
          session.watching.delete(conversation)
        }
      }
    }
    for (const user of users) this.#finish(conversation, place, user)
    // One who said `finished` himself just before his message may not have been told of yet: that comes before it as well.
    if (users.some((user) => place.ended.has(user))) this.#push(conversation, place)
    this.#settle(conversation, place)
  }

  /** The session has closed: what it held ends, and it watches no longer. */
  forget(session: Session): void {
    for (const conversation of [...session.watching]) this.unwatch(conversation, session)
    for (const conversation of [...session.typingIn]) this.finish({ conversation, user: session.user as UserId })
  }

  /** Forgets all, and nobody is told. */
  close(): void {
    for (const [conversation, { cancelTimer }] of this.#places) {
      cancelTimer()
      this.#broker.unsubscribe(conversation)
    }
    this.#places.clear()
  }

  /** How many conversations are held in memory: none when nobody types or watches. */
  get size(): number {
    return this.#places.size
  }

  /** How many leases hold. */
  get leases(): number {
    let leases = 0
    for (const place of this.#places.values()) leases += place.leases.size
    return leases
  }

  #place(conversation: ConversationId): Place {
    let place = this.#places.get(conversation)
    if (!place) {
      place = {
        leases: new Map(),
        ended: new Map(),
        watchers: new Set(),
        changedHere: false,
        pushedAt: 0,
        restMs: Number.POSITIVE_INFINITY,
        cancelTimer: () => {},
      }
      this.#places.set(conversation, place)
      this.#broker.subscribe(conversation)
    }
    return place
  }

  #begin(now: number): number {
    this.#begunLast = Math.max(now, this.#begunLast + 0.001)
    return this.#begunLast
  }

  #finish(conversation: ConversationId, place: Place, user: UserId): boolean {
    const lease = place.leases.get(user)
    if (!lease) return false
    place.leases.delete(user)
    lease.holder?.typingIn.delete(conversation)
    place.ended.set(user, {
      ...lease,
      entry: { event: 'finished', at: new Date(this.#clock.now()).toISOString() },
    })
    if (lease.node === null) place.changedHere = true
    place.restMs = typingPushIntervalMs
    return true
  }

  /** Lets run out what is over, pushes what may be pushed now, and wakes again when the next thing falls due. */
  #settle(conversation: ConversationId, place: Place): void {
    const now = this.#clock.now()
    // By a clock that was set back what was timed before would last that much longer: such leases end, and such a pause is over.
    if (place.pushedAt > now) place.pushedAt = 0
    for (const [user, { expiresAt }] of place.leases) {
      if (expiresAt > now && expiresAt <= now + 2 * typingExpiryMs) break
      this.#finish(conversation, place, user)
    }
    const othersWait = place.changedHere && !this.#broker.alone
    if (place.watchers.size === 0 && !othersWait) {
      place.restMs = Number.POSITIVE_INFINITY
      place.ended.clear()
    }
    if (place.pushedAt + place.restMs <= now) this.#push(conversation, place)

    place.cancelTimer()
    place.cancelTimer = () => {}
    if (place.leases.size === 0 && place.watchers.size === 0 && place.restMs === Number.POSITIVE_INFINITY) {
      this.#places.delete(conversation)
      this.#broker.unsubscribe(conversation)
      return
    }
    const [next] = place.leases.values()
    const wakeAt = Math.min(place.pushedAt + place.restMs, next?.expiresAt ?? Number.POSITIVE_INFINITY)
    if (wakeAt !== Number.POSITIVE_INFINITY) {
      place.cancelTimer = this.#clock.after(wakeAt - now, () => this.#settle(conversation, place))
    }
  }

  #push(conversation: ConversationId, place: Place): void {
    if (place.changedHere && !this.#broker.alone) this.#publish(conversation, place)
    place.changedHere = false
    const told = latest([...place.leases, ...place.ended])
    const everybody = encodeTyping({ [conversation]: setWithout(told, null) })
    const typists = new Set(told.map(([user]) => user))
    this.#observer.pushed('typing', place.watchers.size)
    for (const session of place.watchers) {
      if (!typists.has(session.user as UserId)) {
        session.pushTyping(everybody)
        continue
      }
      // Nobody is sent his own typing, so a typist who watches is an audience of his own (T4).
      const others = setWithout(told, session.user)
      if (Object.keys(others).length > 0) session.pushTyping(encodeTyping({ [conversation]: others }))
    }
    const held = told.filter(([user]) => place.leases.has(user)).length
    // One that has ended is told once; whose place among the 20 it took comes with the next push.
    const leftOut = held < Math.min(place.leases.size, typingSetSize)
    place.ended.clear()
    place.restMs = leftOut ? typingPushIntervalMs : Number.POSITIVE_INFINITY
    place.pushedAt = this.#clock.now()
  }

  #publish(conversation: ConversationId, place: Place): void {
    const leases = heldHere(place).map(([user, { entry, begunAt }]) => ({ user, entry, begunAt }))
    this.#broker.publish({ kind: 'typing', conversation, node: this.#node, leases }, [conversation])
  }
}

/** Of the leases that this node holds those that began last, as many as a set has. */
function heldHere(place: Place): [UserId, Lease][] {
  return latest([...place.leases].filter(([, { node }]) => node === null))
}

/** Those who began last, at most as many as a set holds (T3). */
function latest(leases: Iterable<[UserId, Lease]>): [UserId, Lease][] {
  return [...leases].sort(([, one], [, other]) => one.begunAt - other.begunAt).slice(-typingSetSize)
}

function setWithout(leases: readonly [UserId, Lease][], user: UserId | null): TypingSet {
  return Object.fromEntries(leases.filter(([typist]) => typist !== user).map(([typist, { entry }]) => [typist, entry]))
}
