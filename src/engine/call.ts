/** One command under way: who calls, and what its handler works with. */
import { FanfareError } from '../protocol/codes.ts'
import type { ConversationId, UserId } from '../protocol/ids.ts'
import type { Act } from '../storage/storage.ts'
import type { Engine } from './engine.ts'
import type { Participants } from './memberships.ts'
import type { Session } from './session.ts'

/** Who sends a command: a session, or over HTTP a user with his token or the backend with the API key. */
export interface Caller {
  /** On whose behalf; null for a backend that names nobody. */
  readonly user: UserId | null
  readonly backend: boolean
  readonly session: Session | null
}

export class Call {
  readonly engine: Engine
  readonly caller: Caller
  /** The membership that storage was told this node knows. */
  held: Participants | undefined

  constructor(engine: Engine, caller: Caller) {
    this.engine = engine
    this.caller = caller
  }

  /** On whose behalf; `invalid_argument` where a backend has not said it (W7). */
  get user(): UserId {
    if (this.caller.user) return this.caller.user
    throw new FanfareError('invalid_argument', 'say on whose behalf, with the header Fanfare-As: user/…')
  }

  /** The cursor of an entry that is read again. It promises no more than the session was sent, which may still catch up (R1). */
  cursorAt(position: number): string {
    const { session } = this.caller
    return this.engine.fanout.cursorAt(session ? Math.min(position, session.position) : position)
  }

  /** Where a write stands. `conversation` is given where it is known, so that storage need not name its participants again. */
  act(conversation: ConversationId | null, actor: UserId = this.user): Act {
    this.held = conversation ? this.engine.memberships.get(conversation) : undefined
    return { actor, at: this.engine.clock.now(), known: this.held?.version ?? 0 }
  }
}
