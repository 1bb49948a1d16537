/** Who writes through crashes: every request has a `client_id`, and goes out until it is answered. */
import type { Chat } from '../../../src/client/index.ts'
import type { Args, CommandName, Result } from '../../../src/protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../../src/protocol/ids.ts'
import type { Conversation, Message } from '../../../src/protocol/records.ts'
import type { Random } from '../../../src/testing/random.ts'
import { call } from '../server-process.ts'

/** How an author reaches the server. Each promise resolves with the acknowledgement, after however many crashes. */
export interface Voice {
  /** Whether requests that are made at once are done in the order in which they were made. */
  readonly keepsOrder: boolean
  createMessage(conversation: ConversationId, body: string, client_id: string): Promise<Message>
  editMessage(message: MessageId, body: string, client_id: string): Promise<Message>
  deleteMessage(message: MessageId): Promise<Message>
  createConversation(participants: UserId[], title: string, client_id: string): Promise<Conversation>
}

/** Through the SDK, which sees to it by itself (C6). */
export function throughChat(chat: Chat): Voice {
  return {
    keepsOrder: true,
    createMessage: (conversation, body, client_id) =>
      chat.createMessage(conversation, body, undefined, undefined, { client_id }),
    editMessage: (message, body, client_id) => chat.editMessage(message, { body }, { client_id }),
    deleteMessage: (message) => chat.deleteMessage(message),
    createConversation: async (participants, title, client_id) =>
      (await chat.createConversation(participants, title, undefined, { client_id })).conversation,
  }
}

const tryAgainMs = 25

/** Over HTTP, by an application that tries again at once, until `onRetry` throws: it is there when the server has just come up. */
export function throughHttp(url: string, user: UserId, onRetry: () => void): Voice {
  const untilAnswered = async <N extends CommandName>(command: N, args: Args<N>): Promise<Result<N>> => {
    for (;;) {
      const answer = await call(url, user, command, args).catch(() => null)
      if (answer?.result) return answer.result
      if (answer?.error && !answer.error.retryable)
        throw new Error(`${command}: ${answer.error.code}, ${answer.error.message}`)
      onRetry()
      await new Promise((resolve) => setTimeout(resolve, tryAgainMs))
    }
  }
  return {
    keepsOrder: false,
    createMessage: async (conversation, body, client_id) =>
      (await untilAnswered('create_message', { conversation, body, client_id })).message,
    editMessage: async (message, body, client_id) =>
      (await untilAnswered('edit_message', { message, body, client_id })).message,
    deleteMessage: async (message) => (await untilAnswered('delete_message', { message })).message,
    createConversation: async (participants, title, client_id) =>
      (await untilAnswered('create_conversation', { participants, title, client_id })).conversation,
  }
}

/** A message as its author asked for it, and as it was acknowledged. */
export interface Written {
  readonly conversation: ConversationId
  readonly clientId: string
  readonly body: string
  /** Null until the first acknowledgement. */
  message: Message | null
  /** How many edits were acknowledged; each was asked for once. */
  edits: number
  /** What it says now. */
  lastBody: string
  deleted: boolean
}

/** All that the authors share: the conversations that there are, and who takes part in them. */
export interface Rooms {
  readonly people: UserId[]
  /** By title, each asked for once; null until it is acknowledged. */
  readonly byTitle: Map<string, ConversationId | null>
}

const mostRooms = 30
const mostAtOnce = 5

export class Author {
  readonly user: UserId
  /** In the order in which they were asked for. */
  readonly written: Written[] = []
  readonly keepsOrder: boolean
  /** How many of its messages were acknowledged. */
  acknowledged = 0
  readonly #voice: Voice
  readonly #random: Random
  readonly #rooms: Rooms
  #asked = 0

  constructor(user: UserId, voice: Voice, random: Random, rooms: Rooms) {
    this.user = user
    this.keepsOrder = voice.keepsOrder
    this.#voice = voice
    this.#random = random
    this.#rooms = rooms
  }

  /** Writes, one thing after the other, until told to stop; resolves when all of it is acknowledged. */
  async write(stopped: () => boolean): Promise<void> {
    await this.#createConversation()
    while (!stopped()) {
      const chance = this.#random.next()
      const own = this.written.filter(({ message, deleted }) => message && !deleted).slice(-20)
      if (chance < 0.1 && own.length > 0) await this.#edit(this.#random.pick(own))
      else if (chance < 0.15 && own.length > 0) await this.#delete(this.#random.pick(own))
      else if (chance < 0.17 && this.#rooms.byTitle.size < mostRooms) await this.#createConversation()
      else await this.#say()
    }
  }

  #fresh(): string {
    return `${this.user} ${++this.#asked}`
  }

  async #createConversation(): Promise<void> {
    const title = this.#fresh()
    this.#rooms.byTitle.set(title, null)
    const { id } = await this.#voice.createConversation(this.#rooms.people, title, title)
    this.#rooms.byTitle.set(title, id)
  }

  /** Several at once. */
  async #say(): Promise<void> {
    const rooms = [...this.#rooms.byTitle.values()].filter((id) => id !== null)
    const sent = Array.from({ length: 1 + this.#random.below(mostAtOnce) }, async () => {
      const body = this.#fresh()
      const conversation = this.#random.pick(rooms)
      const written: Written = {
        conversation,
        clientId: body,
        body,
        message: null,
        edits: 0,
        lastBody: body,
        deleted: false,
      }
      this.written.push(written)
      written.message = await this.#voice.createMessage(conversation, body, body)
      this.acknowledged++
    })
    await Promise.all(sent)
  }

  async #edit(written: Written): Promise<void> {
    const body = this.#fresh()
    await this.#voice.editMessage((written.message as Message).id, body, body)
    written.edits++
    written.lastBody = body
  }

  async #delete(written: Written): Promise<void> {
    await this.#voice.deleteMessage((written.message as Message).id)
    written.deleted = true
  }
}
