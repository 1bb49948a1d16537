/** What the chat's tests play on: a server whose clock they move, and the sessions of its people. */
import { expect } from 'vitest'
import type { ErrorBody } from '../../src/protocol/codes.ts'
import { FanfareError } from '../../src/protocol/codes.ts'
import type { Args, ConnectResult } from '../../src/protocol/commands.ts'
import type { EventFrame, TypingFrame } from '../../src/protocol/frames.ts'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import type { Conversation, Message } from '../../src/protocol/records.ts'
import type { TypingSet } from '../../src/protocol/typing.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { connect, isEvent, type RawSession } from '../../src/testing/raw-session.ts'

export { isEvent } from '../../src/testing/raw-session.ts'

import { startServer, type TestServer, type TestServerOptions } from '../../src/testing/start-server.ts'

export const alice: UserId = 'user/alice'
export const bob: UserId = 'user/bob'
export const carol: UserId = 'user/carol'
export const dave: UserId = 'user/dave'

/** Ids of nothing: nobody has made them. */
export const noConversation: ConversationId = 'conversation/019b7600-0000-7000-8000-000000000000'
export const noMessage = 'message/019b7600-0000-7000-8000-000000000000'

export type Session = RawSession & { readonly greeting: ConnectResult }

export class Stage implements AsyncDisposable {
  readonly server: TestServer
  readonly clock: FakeClock
  /** Those that `connect` has opened, be they closed since. */
  readonly sessions: Session[] = []

  constructor(server: TestServer, clock: FakeClock) {
    this.server = server
    this.clock = clock
  }

  async connect(user: UserId): Promise<Session> {
    const session = await connect(this.server, user)
    this.sessions.push(session)
    return session
  }

  /** Resolves when each open session has all that the server has sent to it. */
  async settle(): Promise<void> {
    const open = this.sessions.filter(({ webSocket }) => webSocket.readyState === webSocket.OPEN)
    await Promise.all(open.map((session) => session.command('ping')))
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const session of this.sessions) await session[Symbol.asyncDispose]()
    await this.server[Symbol.asyncDispose]()
  }
}

export async function openStage(options: Omit<TestServerOptions, 'clock'> = {}): Promise<Stage> {
  const clock = new FakeClock()
  return new Stage(await startServer({ ...options, clock }), clock)
}

/** A stage with a conversation of alice and bob, made by alice, whose sessions have nothing left to take. */
export async function openRoom(options: Omit<TestServerOptions, 'clock'> = {}, users: readonly UserId[] = [bob]) {
  const stage = await openStage(options)
  const host = await stage.connect(alice)
  const guests = []
  for (const user of users) guests.push(await stage.connect(user))
  const { conversation } = await host.command('create_conversation', { participants: [...users] })
  for (const session of [host, ...guests]) await session.rest()
  return {
    stage,
    clock: stage.clock,
    alice: host,
    bob: guests[0] as Session,
    guests,
    conversation: conversation.id,
    [Symbol.asyncDispose]: () => stage[Symbol.asyncDispose](),
  }
}

/** Sends a message; the record that the reply holds. */
export async function say(
  session: RawSession,
  conversation: ConversationId,
  body: string,
  more: Partial<Args<'create_message'>> = {},
): Promise<Message> {
  return (await session.command('create_message', { conversation, body, ...more })).message
}

/** The error that a command was answered with. It fails where the command was not refused. */
export async function refusal(command: Promise<unknown>): Promise<ErrorBody> {
  const error = await command.then(
    (result) => expect.fail(`it was not refused: ${JSON.stringify(result)}`),
    (reason: unknown) => reason,
  )
  if (error instanceof FanfareError) return error.toJSON()
  throw error
}

export async function codeOf(command: Promise<unknown>): Promise<string> {
  return (await refusal(command)).code
}

/** The record of a message's event. */
export function messageOf({ data }: EventFrame): Message {
  if (data.record_type !== 'message') throw new Error(`not a message: ${JSON.stringify(data)}`)
  return data.record
}

/** The record of a conversation's event, while there is one. */
export function conversationOf({ data }: EventFrame): Conversation {
  if (data.record_type !== 'conversation' || !('title' in data.record)) throw new Error(`gone: ${JSON.stringify(data)}`)
  return data.record
}

/** The set that a typing push tells, which is of one conversation. */
export function typingOf({ data }: TypingFrame, conversation: ConversationId): TypingSet {
  expect(Object.keys(data)).toEqual([conversation])
  return data[conversation] as TypingSet
}

/** The sets of the conversation's typing that were pushed and not yet taken. Record events that came among them are taken too. */
export async function typingTold(session: RawSession, conversation: ConversationId): Promise<TypingSet[]> {
  const pushes = await session.rest()
  return pushes.filter((push): push is TypingFrame => !isEvent(push)).map((push) => typingOf(push, conversation))
}
