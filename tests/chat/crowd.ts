/** People who do anything at any time: random commands of every kind, many of them in one turn. */
import { FanfareError } from '../../src/protocol/codes.ts'
import type { Args, CommandName } from '../../src/protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../src/protocol/ids.ts'
import type { Conversation, Message } from '../../src/protocol/records.ts'
import type { TypingState } from '../../src/protocol/typing.ts'
import { Random } from '../../src/testing/random.ts'
import { alice, bob, carol, dave, type Session, type Stage } from './stage.ts'

type AnyCommand = { [N in CommandName]: readonly [command: N, args: Args<N>] }[CommandName]

/** What may come of commands that don't know of each other. */
const expected = new Set(['not_found', 'forbidden', 'conflict', 'invalid_argument'])

const typingStates: readonly TypingState[] = ['begin', 'pause', 'finished']

export class Crowd {
  /** What each session has written, each text once: in bodies, titles and names. */
  readonly written = new Map<Session, string[]>()
  readonly conversations: ConversationId[] = []
  readonly #stage: Stage
  readonly #random: Random
  #messages: { id: MessageId; conversation: ConversationId }[] = []
  #count = 0

  private constructor(stage: Stage, random: Random) {
    this.#stage = stage
    this.#random = random
  }

  /** Six sessions of four people; alice makes two conversations and is never without one. */
  static async gather(stage: Stage, seed: number): Promise<Crowd> {
    const crowd = new Crowd(stage, new Random(seed))
    for (const user of [alice, bob, carol, dave, alice, bob]) crowd.written.set(await stage.connect(user), [])
    for (const participants of [
      [bob, carol],
      [bob, carol, dave],
    ]) {
      await crowd.#give(stage.sessions[0] as Session, ['create_conversation', { participants }])
    }
    return crowd
  }

  /** Gives `count` commands in one turn, and resolves when all are answered. What a reply may not be fails. */
  async actTogether(count: number): Promise<void> {
    const turn = Array.from({ length: count }, () => this.#random.pick(this.#stage.sessions))
    await Promise.all(turn.map((session) => this.#give(session, this.#choose(session))))
    if (this.conversations.length < 2) await this.#begin([bob, carol, dave])
    this.#stage.clock.advance(this.#random.pick([0, 0, 1, 300]))
  }

  #begin(participants: UserId[]): Promise<void> {
    return this.#give(this.#stage.sessions[0] as Session, ['create_conversation', { participants }])
  }

  #forget(gone: ConversationId): void {
    this.conversations.splice(this.conversations.indexOf(gone), 1)
    this.#messages = this.#messages.filter(({ conversation }) => conversation !== gone)
  }

  async #give(session: Session, [command, args]: AnyCommand): Promise<void> {
    try {
      const result = await session.commandOf<{ conversation?: Conversation; message?: Message; created?: boolean }>({
        command,
        args,
      })
      if (result.created) this.conversations.push((result.conversation as Conversation).id)
      if (command === 'delete_conversation') this.#forget(args.conversation)
      if (command === 'create_message') this.#messages.push(result.message as Message)
    } catch (error) {
      if (!(error instanceof FanfareError && expected.has(error.code))) throw error
    }
  }

  #choose(session: Session): AnyCommand {
    const random = this.#random
    const { id: message, conversation: itsConversation } = this.#messages.length
      ? random.pick(this.#messages.slice(-12))
      : { id: 'message/019b7600-0000-7000-8000-000000000000' as const, conversation: this.conversations[0] as never }
    const conversation = random.pick(this.conversations)
    const others = [bob, carol, dave].filter(() => random.next() < 0.4)
    const users: UserId[] = others.length ? others : [random.pick([bob, carol, dave])]
    const write = () => {
      const text = `text ${this.#count++} of ${session.greeting.session}`
      this.written.get(session)?.push(text)
      return text
    }
    const page = random.pick([1, 5, 50])
    const state = random.pick(typingStates)
    const choices: (readonly [weight: number, choice: () => AnyCommand])[] = [
      [9, () => ['create_message', { conversation, body: write() }]],
      [3, () => ['edit_message', { message, body: write() }]],
      [2, () => ['delete_message', { message }]],
      [3, () => ['mark_as_last_message_read', { conversation: itsConversation, message }]],
      [2, () => ['update_conversation', { conversation, title: write() }]],
      [3, () => ['add_participants', { conversation, participants: users }]],
      [2, () => ['remove_participants', { conversation, participants: users }]],
      [1, () => ['add_admins', { conversation, admins: users }]],
      [1, () => ['remove_admins', { conversation, admins: users }]],
      [1, () => this.#leave(session, conversation)],
      [0.5, () => ['create_conversation', { participants: users, distinct_by_participants: random.next() < 0.7 }]],
      [0.2, () => ['delete_conversation', { conversation }]],
      [1, () => ['update_user', { name: write() }]],
      [3, () => ['typing', { conversation, event: state }]],
      [1, () => ['subscribe_typing', { conversation }]],
      [0.5, () => ['unsubscribe_typing', { conversation }]],
      [1, () => ['get_conversation', { conversation }]],
      [1, () => ['get_conversations', { limit: page }]],
      [1, () => ['get_messages', { conversation, limit: page }]],
      [1, () => ['get_events', { conversation, after_seq: 0, limit: page }]],
      [1, () => ['get_participants', { conversation }]],
      [1, () => ['get_unread_count', {}]],
      [1, () => ['get_users', { users: [alice, bob, carol, dave] }]],
    ]
    let point = random.next() * choices.reduce((sum, [weight]) => sum + weight, 0)
    for (const [weight, choice] of choices) {
      point -= weight
      if (point < 0) return choice()
    }
    throw new Error('the weights do not add up')
  }

  /** Alice stays, for who is left without an admin is left without events. */
  #leave({ greeting }: Session, conversation: ConversationId): AnyCommand {
    if (greeting.user === alice) return ['add_admins', { conversation, admins: [alice] }]
    return ['leave_conversation', { conversation }]
  }
}
