/** The order of what a session is sent (E3). */
import { expect, test, vi } from 'vitest'
import type { CommandName } from '../../src/protocol/commands.ts'
import type { EventFrame, PushFrame, ReplyFrame } from '../../src/protocol/frames.ts'
import type { UserId } from '../../src/protocol/ids.ts'
import { seedOfTest } from '../../src/testing/random.ts'
import { startEngine } from '../../src/testing/start-engine.ts'
import { Crowd } from './crowd.ts'
import { PumpedSession } from './pumped-session.ts'
import { alice, bob, carol, openRoom, openStage, type Session, say } from './stage.ts'

/** Where the reply and the event that came of the session's latest command stand among its frames. */
async function placesOf(session: Session, name: CommandName, args: object): Promise<{ reply: number; event: number }> {
  const start = session.frames.length
  await session.commandOf({ command: name, args })
  await session.rest()
  const frames = session.frames.slice(start)
  return { reply: frames.findIndex((frame) => 'result' in frame), event: frames.findIndex((frame) => 'event' in frame) }
}

test('E3 the reply to a command comes before its event, whatever the command', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { id: message } = await say(room.alice, conversation, 'hello')
  const { id: theirs } = await say(room.bob, conversation, 'hello too')
  await room.alice.rest()
  const commands: [CommandName, object][] = [
    ['create_conversation', { participants: [bob] }],
    ['create_message', { conversation, body: 'one' }],
    ['edit_message', { message, body: 'two' }],
    ['delete_message', { message }],
    ['mark_as_last_message_read', { conversation, message: theirs }],
    ['update_conversation', { conversation, title: 'Title' }],
    ['add_participants', { conversation, participants: [carol] }],
    ['add_admins', { conversation, admins: [bob] }],
    ['remove_admins', { conversation, admins: [bob] }],
    ['remove_participants', { conversation, participants: [carol] }],
    ['update_user', { name: 'Alice' }],
    ['leave_conversation', { conversation }],
  ]
  // The author's own message has moved the marker past bob's, so that one has nothing to tell.
  const silent = new Set<CommandName>(['mark_as_last_message_read'])
  for (const [name, args] of commands) {
    const places = await placesOf(room.alice, name, args)
    expect({ name, ...places }).toEqual({ name, reply: 0, event: silent.has(name) ? -1 : 1 })
  }
  const { conversation: last } = await room.alice.command('create_conversation', { participants: [bob] })
  await room.alice.rest()
  expect(await placesOf(room.alice, 'delete_conversation', { conversation: last.id })).toEqual({ reply: 0, event: 1 })
})

test('E3, E6 the reply to mark_as_last_message_read comes before its event', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { id: message } = await say(room.bob, conversation, 'hello')
  await room.alice.rest()
  const places = await placesOf(room.alice, 'mark_as_last_message_read', { conversation, message })
  expect(places).toEqual({ reply: 0, event: 1 })
})

test('E3 all participants get the same text of a message’s event, the author’s other sessions too', async () => {
  await using room = await openRoom({}, [bob, carol])
  const phone = await room.stage.connect(alice)
  const outsider = await room.stage.connect('user/eve')
  const { id } = await say(room.alice, room.conversation, 'hello')
  await room.alice.command('edit_message', { message: id, body: 'Hello' })
  await room.alice.command('delete_message', { message: id })
  await room.stage.settle()
  const pushedTo = (session: Session) =>
    session.texts.filter((text) => text.includes(id) && text.startsWith('{"event"'))
  const texts = pushedTo(room.alice)
  expect(texts.map((text) => (JSON.parse(text) as EventFrame).event)).toEqual(['create', 'update', 'delete'])
  for (const session of [phone, ...room.guests]) expect(pushedTo(session)).toEqual(texts)
  expect(outsider.pushes).toEqual([])
})

test('E3 a session that connects gets what is committed afterwards, and nothing from before', async () => {
  await using room = await openRoom()
  await say(room.alice, room.conversation, 'before')
  const late = await room.stage.connect(bob)
  const message = await say(room.alice, room.conversation, 'after')
  await room.stage.settle()
  expect(late.events.map(({ data }) => data.record)).toEqual([message])
})

test('E3 of messages to many, whose sessions are remembered, each is pushed to those that are there then', async () => {
  await using started = await startEngine()
  const many = Array.from({ length: 20 }, (_, index): UserId => `user/${index}`)
  const author = await PumpedSession.connect(started, alice)
  const { conversation } = await author.command('create_conversation', { participants: many })
  const pushed = vi.spyOn(started.engine.observer, 'pushed')
  /** How many sessions a message is pushed to. */
  const reach = async () => {
    await author.command('create_message', { conversation: conversation.id, body: 'hello' })
    return pushed.mock.lastCall
  }
  expect(await reach()).toEqual(['event', 1])
  const first = await PumpedSession.connect(started, 'user/0')
  const second = await PumpedSession.connect(started, 'user/0')
  expect(await reach()).toEqual(['event', 3])
  for (const session of [author, first, second]) expect(session.take().at(-1)).toMatchObject({ seq: 3 })
  second.pair.cut()
  expect(await reach()).toEqual(['event', 2])
  first.pair.cut()
  expect(await reach()).toEqual(['event', 1])
})

test('E2, E3, E5 of many commands of all kinds in one turn every session gets the events in the order of seq', async () => {
  const seed = seedOfTest()
  await using stage = await openStage()
  const crowd = await Crowd.gather(stage, seed)
  for (let turn = 0; turn < 50; turn++) await crowd.actTogether(20)
  await stage.settle()

  const told = new Map<string, string>()
  for (const session of stage.sessions) {
    /** The seq that each conversation has reached here, while the session's user takes part. */
    const reached = new Map<string, number>()
    for (const [index, frame] of session.frames.entries()) {
      if (!isPlaced(frame)) {
        requireNothingOfLeft(frame, session.texts[index] as string, reached)
        continue
      }
      const { conversation, seq, event, data } = frame
      const before = reached.get(conversation)
      const came = data.record_type === 'conversation' && event === 'create'
      const left = data.record_type === 'conversation' && event === 'delete'
      if (before === undefined) expect(came, `${session.texts[index]} came before the conversation`).toBe(true)
      else expect({ conversation, seq }).toEqual({ conversation, seq: before + 1 })
      if (left) reached.delete(conversation)
      else reached.set(conversation, seq)

      // A message's event is one text for everyone; a conversation's may be told in three ways (E5).
      const key = `${conversation} ${seq} ${data.record_type} ${event}`
      expect(session.texts[index]).toBe(told.get(key) ?? session.texts[index])
      told.set(key, session.texts[index] as string)
    }
    requireReplyFirst(session, crowd.written.get(session) ?? [])
  }
  expect(told.size).toBeGreaterThan(150)
})

type PlacedFrame = EventFrame & Required<Pick<EventFrame, 'conversation' | 'seq'>>

function isPlaced(frame: ReplyFrame | PushFrame): frame is PlacedFrame {
  return 'event' in frame && frame.event !== 'typing' && 'seq' in frame
}

/** Where the conversation is over for a session, no frame is about it, but for errors, which name what was asked for (E5). */
function requireNothingOfLeft(frame: ReplyFrame | PushFrame, text: string, reached: ReadonlyMap<string, number>): void {
  if ('error' in frame || ('result' in frame && (frame.result as { created?: boolean }).created)) return
  const named = [...text.matchAll(/conversation\/[0-9a-f-]{36}/g)].map(([id]) => id)
  expect(
    named.filter((id) => !reached.has(id)),
    `${text} is about a conversation that is over`,
  ).toEqual([])
}

/** What the session itself has written it reads in a reply first. */
function requireReplyFirst(session: Session, written: readonly string[]): void {
  for (const text of written) {
    const first = session.texts.findIndex((frame) => frame.includes(`"${text}"`))
    if (first >= 0) expect(session.texts[first]).toMatch(/^{"id"/)
  }
}
