/** Typing as it comes: people who begin, pause, finish, write, leave, come back and lose their connections, in any order. */
import { expect, test } from 'vitest'
import { FanfareError } from '../../src/protocol/codes.ts'
import type { EventFrame, TypingFrame } from '../../src/protocol/frames.ts'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import type { TypingSet, TypingState } from '../../src/protocol/typing.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { startEngine, type TestEngine } from '../../src/testing/start-engine.ts'
import { callAs, PumpedSession } from './pumped-session.ts'
import { alice, bob, carol, dave } from './stage.ts'
import { TypingModel } from './typing-model.ts'

/** The admin of all conversations, who never leaves, never types and only looks. */
const observer: UserId = 'user/observer'
const people: readonly UserId[] = [alice, bob, carol, dave, 'user/eve', 'user/frank']
const steps = 1_500

test('T2, T3, T4, T6 whatever people do, the server knows who types, tells who watches, and in the end keeps nothing', async () => {
  await using started = await startEngine()
  const street = await Street.open(started, new Random(seedOfTest()))
  for (let step = 0; step < steps; step++) {
    await street.act()
    await street.requireTruth()
    if (step % 5 === 0) street.requireTold()
  }
  await street.close()
})

/** What the test knows of one session: what it watches, and what it was told there. */
type Views = Map<ConversationId, TypingSet>

class Street {
  readonly #started: TestEngine
  readonly #random: Random
  readonly #model = new TypingModel<PumpedSession>()
  readonly #observer: PumpedSession
  readonly #sessions = new Map<PumpedSession, Views>()
  /** The conversations, and which of the people take part. */
  readonly #rooms = new Map<ConversationId, Set<UserId>>()

  private constructor(started: TestEngine, random: Random, own: PumpedSession) {
    this.#started = started
    this.#random = random
    this.#observer = own
  }

  static async open(started: TestEngine, random: Random): Promise<Street> {
    const street = new Street(started, random, await PumpedSession.connect(started, observer))
    for (const user of [...people, alice, bob]) await street.#connect(user)
    for (let count = 0; count < 3; count++) await street.#build()
    return street
  }

  /** Lets one thing happen. */
  async act(): Promise<void> {
    const random = this.#random
    const session = random.pick([...this.#sessions.keys()])
    const room = random.pick([...this.#rooms.keys()])
    const choices: (readonly [weight: number, choice: () => unknown])[] = [
      [8, () => this.#type(session, room, random.pick(['begin', 'begin', 'pause', 'finished']))],
      [2, () => this.#typeOverHttp(random.pick(people), room, random.pick(['begin', 'pause', 'finished']))],
      [2, () => this.#say(session, room)],
      [3, () => this.#watch(session, room)],
      [1, () => this.#unwatch(session, room)],
      [1, () => this.#leave(session.user, room)],
      [1, () => this.#invite(room)],
      [1, () => this.#lose(session)],
      [0.1, () => this.#demolish(room)],
      [4, () => this.#pass(random.pick([1, 100, 250, 1_000, 2_600, 5_000]))],
    ]
    let point = random.next() * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, choice] of choices) {
      point -= weight
      if (point < 0) return void (await choice())
    }
  }

  /** What the server holds is what the rules say, by whom and since when; and it remembers no conversation without a reason. */
  async requireTruth(): Promise<void> {
    this.#takeAll()
    const watched = new Set([...this.#sessions.values()].flatMap((views) => [...views.keys()]))
    let remembered = 0
    for (const room of this.#rooms.keys()) {
      const { typing } = await this.#observer.command('subscribe_typing', { conversation: room })
      await this.#observer.command('unsubscribe_typing', { conversation: room })
      expect(typing).toEqual(this.#model.set(room, observer))
      if (watched.has(room) || this.#model.count(room) > 0) remembered++
    }
    expect(this.#started.engine.typing.size).toBe(remembered)
  }

  /** Once 250 ms have passed in which nothing changed, each session that watches has been told who types, and no session anything else. */
  requireTold(): void {
    while (this.#pass(250));
    this.#takeAll()
    for (const [session, views] of this.#sessions) {
      for (const [room, view] of views) {
        // A lease that is only renewed is told later (T5), so the times may lag.
        expect(statesOf(view), `what ${session.user} was told`).toEqual(statesOf(this.#model.set(room, session.user)))
      }
    }
  }

  /** Lets all leases run out, then ends all sessions: nobody types, nothing is remembered and no timer waits. */
  async close(): Promise<void> {
    this.#pass(5_000)
    await this.requireTruth()
    this.requireTold()
    for (const room of this.#rooms.keys()) expect(this.#model.count(room)).toBe(0)
    const { engine, clock, faults } = this.#started
    // Of a session one timer is left, which ends it with its token, and one prunes the log.
    expect(clock.waiting).toBe(this.#sessions.size + 2)
    for (const session of [...this.#sessions.keys(), this.#observer]) session.pair.cut()
    expect(engine.typing.size).toBe(0)
    expect(clock.waiting).toBe(1)
    expect(faults).toEqual([])
  }

  async #connect(user: UserId): Promise<void> {
    this.#sessions.set(await PumpedSession.connect(this.#started, user), new Map())
  }

  async #build(): Promise<void> {
    const users = people.filter(() => this.#random.next() < 0.8)
    const { conversation } = await this.#observer.command('create_conversation', { participants: users })
    this.#rooms.set(conversation.id, new Set(users))
  }

  async #demolish(room: ConversationId): Promise<void> {
    await this.#observer.command('delete_conversation', { conversation: room })
    this.#rooms.delete(room)
    this.#model.deleted(room)
    await this.#build()
  }

  async #type(session: PumpedSession, room: ConversationId, event: TypingState): Promise<void> {
    if (!(await this.#allowed(session.user, room, session.command('typing', { conversation: room, event })))) return
    this.#model.type(room, session.user, event, session, this.#started.clock.now())
  }

  async #typeOverHttp(user: UserId, room: ConversationId, event: TypingState): Promise<void> {
    const typing = callAs(this.#started, user, 'typing', { conversation: room, event })
    if (await this.#allowed(user, room, typing)) this.#model.type(room, user, event, null, this.#started.clock.now())
  }

  async #say(session: PumpedSession, room: ConversationId): Promise<void> {
    const said = session.command('create_message', { conversation: room, body: 'hello' })
    if (await this.#allowed(session.user, room, said)) this.#model.end(room, session.user)
  }

  async #watch(session: PumpedSession, room: ConversationId): Promise<void> {
    const watching = session.command('subscribe_typing', { conversation: room })
    if (!(await this.#allowed(session.user, room, watching))) return
    const { typing } = await watching
    expect(typing).toEqual(this.#model.set(room, session.user))
    // What was pushed before this reply is older than it.
    this.#take(session)
    this.#sessions.get(session)?.set(room, typing)
  }

  async #unwatch(session: PumpedSession, room: ConversationId): Promise<void> {
    await session.command('unsubscribe_typing', { conversation: room })
    this.#take(session)
    this.#sessions.get(session)?.delete(room)
  }

  async #leave(user: UserId, room: ConversationId): Promise<void> {
    const leaving = callAs(this.#started, user, 'leave_conversation', { conversation: room })
    if (!(await this.#allowed(user, room, leaving))) return
    this.#rooms.get(room)?.delete(user)
    this.#model.end(room, user)
  }

  async #invite(room: ConversationId): Promise<void> {
    const users = people.filter(() => this.#random.next() < 0.5)
    if (users.length === 0) return
    await this.#observer.command('add_participants', { conversation: room, participants: users })
    for (const user of users) this.#rooms.get(room)?.add(user)
  }

  /** The session's connection breaks, and the user comes back with another. */
  async #lose(session: PumpedSession): Promise<void> {
    session.pair.cut()
    this.#sessions.delete(session)
    this.#model.closed(session)
    await this.#connect(session.user)
  }

  /** Lets time pass; tells whether it has ended a lease. */
  #pass(ms: number): boolean {
    this.#started.clock.advance(ms)
    return this.#model.passed(this.#started.clock.now())
  }

  /** Whether the user takes part in the room; where he does not, his command must be not_found. */
  async #allowed(user: UserId, room: ConversationId, command: Promise<unknown>): Promise<boolean> {
    const code = await command.then(
      () => 'done',
      (error: unknown) => (error instanceof FanfareError ? error.code : Promise.reject(error)),
    )
    const takesPart = this.#rooms.get(room)?.has(user) ?? false
    expect(code).toBe(takesPart ? 'done' : 'not_found')
    return takesPart
  }

  #takeAll(): void {
    for (const session of this.#sessions.keys()) this.#take(session)
  }

  /** Takes what the session was pushed, each frame in its turn. */
  #take(session: PumpedSession): void {
    const views = this.#sessions.get(session) as Views
    for (const push of session.take()) receive(push, session.user, views)
  }
}

/** What a push means to who watches; what may not be in it fails. */
function receive(push: EventFrame | TypingFrame, user: UserId, views: Views): void {
  if (push.event === 'typing') {
    for (const [room, set] of Object.entries(push.data) as [ConversationId, TypingSet][]) {
      expect([...views.keys()], 'typing comes to who watches only').toContain(room)
      expect(Object.keys(set), 'nobody is sent his own').not.toContain(user)
      expect(Object.keys(set)).not.toEqual([])
      views.set(room, Object.fromEntries(Object.entries(set).filter(([, { event }]) => event !== 'finished')))
    }
    return
  }
  const { conversation, data } = push
  if (!conversation) return
  if (data.record_type === 'conversation' && push.event === 'delete') views.delete(conversation)
  if (data.record_type === 'conversation' && 'participants' in data.record) {
    const left = Object.keys(views.get(conversation) ?? {}).filter((typist) => {
      return !('participants' in data.record && data.record.participants.includes(typist as UserId))
    })
    expect(left, 'who has left is seen typing no more').toEqual([])
  }
  if (data.record_type === 'message') {
    expect(Object.keys(views.get(conversation) ?? {}), 'finished comes before the message').not.toContain(
      data.record.created_by,
    )
  }
}

function statesOf(set: TypingSet): Record<string, TypingState> {
  return Object.fromEntries(Object.entries(set).map(([user, { event }]) => [user, event]))
}
