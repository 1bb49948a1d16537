/**
 * The fan-out: from a log entry to its audiences' frames, each made once, and on to the sessions. The server alone decides who hears
 * what: the recipients are the participants as of the entry's commit (U2).
 */
import type { EntryPublication, TypingEnd } from '../broker/broker.ts'
import { encodeEvent, type Frame } from '../protocol/frames.ts'
import type { SessionId, UserId } from '../protocol/ids.ts'
import type { LogEntry } from '../storage/storage.ts'
import { encodeCursor } from './cursor.ts'
import type { Hub } from './hub.ts'
import type { Memberships, Participants } from './memberships.ts'
import type { Typing } from './typing.ts'
import { endSessions } from './user-channels.ts'

/** The same frame for everyone of one audience. */
interface LocalDelivery {
  readonly recipients: readonly UserId[]
  readonly frame: Frame
}

/** An entry as this node's sessions are told it. */
interface LocalEntry extends Pick<EntryPublication, 'position' | 'endsTyping' | 'rotation'> {
  readonly deliveries: readonly LocalDelivery[]
}

export class Fanout {
  readonly #epoch: string
  readonly #hub: Hub
  readonly #memberships: Memberships
  readonly #typing: Typing
  #position: number

  constructor(
    log: { readonly epoch: string; readonly position: number },
    hub: Hub,
    memberships: Memberships,
    typing: Typing,
  ) {
    this.#epoch = log.epoch
    this.#position = log.position
    this.#hub = hub
    this.#memberships = memberships
    this.#typing = typing
  }

  /** Everything at or before it was pushed to this node's sessions (R1). */
  get position(): number {
    return this.#position
  }

  cursorAt(position: number): string {
    return encodeCursor(this.#epoch, position)
  }

  /**
   * Publishes a committed entry. It is called in the order of the log, and after the reply to the command that made the entry (E3).
   * `held` is the membership that the command said it knew, `by` the session that it came from.
   */
  publish(entry: LogEntry, held: Participants | undefined, by: SessionId | null): void {
    const { place, membership, position, tellings, rotation } = entry
    const participants = place && membership ? this.#memberships.learn(place.conversation, membership, held) : null
    const cursor = this.cursorAt(position)
    const deliveries: LocalDelivery[] = tellings.map(({ to, data }) => ({
      recipients: to === 'participants' ? (participants?.users ?? []) : to,
      frame: encodeEvent(data, place, cursor),
    }))
    const rotated = rotation ? { ...rotation, by } : null
    this.#deliver({ position, deliveries, endsTyping: typingEnd(entry), rotation: rotated })
  }

  /** Hands an entry to this node's sessions; the typing (T2) and the sessions (U6) that it ends go first. */
  #deliver({ position, deliveries, endsTyping, rotation }: LocalEntry): void {
    if (endsTyping) this.#typing.end(endsTyping)
    if (rotation) endSessions(this.#hub.sessions(rotation.user), rotation)
    for (const { recipients, frame } of deliveries) this.#hub.deliver(recipients, frame, position)
    this.#position = Math.max(this.#position, position)
  }
}

function typingEnd({ place, tellings }: LogEntry): TypingEnd | null {
  if (!place) return null
  const { conversation } = place
  for (const { to, data } of tellings) {
    if (data.record_type === 'message' && data.event_type === 'create') {
      return { conversation, users: [data.record.created_by], left: false }
    }
    if (data.record_type === 'conversation' && data.event_type === 'delete' && to !== 'participants') {
      return { conversation, users: to, left: true }
    }
  }
  return null
}
