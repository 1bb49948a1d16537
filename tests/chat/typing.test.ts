/** Who sees whom typing, how often, and that nothing of it is kept (T1, T3–T6). What ends typing is in typing-leases.test.ts. */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import type { TypingState } from '../../src/protocol/typing.ts'
import {
  alice,
  bob,
  carol,
  dave,
  isEvent,
  noConversation,
  openRoom,
  openStage,
  refusal,
  type Session,
  say,
  typingTold,
} from './stage.ts'

/** The server's clock `ms` after the stage was opened. */
const after = (ms: number) => new Date(Date.UTC(2026, 0, 1) + ms).toISOString()
const begin = (ms = 0) => ({ event: 'begin', at: after(ms) })
const pause = (ms = 0) => ({ event: 'pause', at: after(ms) })
const finished = (ms = 0) => ({ event: 'finished', at: after(ms) })

const type = (session: Session, conversation: ConversationId, event: TypingState) =>
  session.command('typing', { conversation, event })

/** A room of alice, who watches, and of `users`, who don't. */
async function openWatchedRoom(users: readonly UserId[] = [bob]) {
  const room = await openRoom({}, users)
  const { typing } = await room.alice.command('subscribe_typing', { conversation: room.conversation })
  expect(typing).toEqual({})
  return room
}

test('T1 typing is answered with {} and shown to who watches, with the time of the server', async () => {
  await using room = await openWatchedRoom()
  const { conversation } = room
  room.clock.advance(1_234)
  expect(await type(room.bob, conversation, 'begin')).toEqual({})
  expect(await typingTold(room.alice, conversation)).toEqual([{ [bob]: begin(1_234) }])
  room.clock.advance(1_000)
  expect(await type(room.bob, conversation, 'pause')).toEqual({})
  expect(await typingTold(room.alice, conversation)).toEqual([{ [bob]: pause(2_234) }])
  room.clock.advance(1_000)
  expect(await type(room.bob, conversation, 'finished')).toEqual({})
  expect(await typingTold(room.alice, conversation)).toEqual([{ [bob]: finished(3_234) }])
})

test('T1 no at, no user and no other state is taken from a client', async () => {
  await using room = await openWatchedRoom()
  const { conversation } = room
  for (const args of [
    { conversation, event: 'begin', at: after(0) },
    { conversation, event: 'begin', user: carol },
    { conversation, event: 'typing' },
    { conversation, event: null },
    { conversation },
  ]) {
    expect((await refusal(room.bob.commandOf({ command: 'typing', args }))).code).toBe('invalid_argument')
  }
  expect(await typingTold(room.alice, conversation)).toEqual([])
})

test('T1, T4 to who does not take part a conversation’s typing is not_found, as that of one that is not there', async () => {
  await using room = await openWatchedRoom()
  const { conversation, stage } = room
  const outsider = await stage.connect(carol)
  await type(room.bob, conversation, 'begin')
  await room.alice.rest()
  const withoutId = ({ message, ...rest }: { message: string }, id: string) => ({
    ...rest,
    message: message.replace(id, '…'),
  })
  for (const command of ['typing', 'subscribe_typing'] as const) {
    const rest = command === 'typing' ? { event: 'begin' } : {}
    const there = await refusal(outsider.commandOf({ command, args: { conversation, ...rest } }))
    const nowhere = await refusal(outsider.commandOf({ command, args: { conversation: noConversation, ...rest } }))
    expect(there.code).toBe('not_found')
    expect(withoutId(there, conversation)).toEqual(withoutId(nowhere, noConversation))
  }
  const headers = { authorization: `Bearer ${await stage.server.token('carol')}` }
  const answer = await stage.server.call('typing', { conversation, event: 'finished' }, undefined, headers)
  expect([answer.status, answer.error.code]).toEqual([404, 'not_found'])

  room.clock.advance(300)
  expect(await typingTold(room.alice, conversation)).toEqual([])
  expect(await outsider.rest()).toEqual([])
})

test('T3 each push carries the whole current set, and who has finished once', async () => {
  await using room = await openWatchedRoom([bob, carol, dave])
  const { conversation, clock } = room
  const [, third, fourth] = room.guests as [Session, Session, Session]
  await type(room.bob, conversation, 'begin')
  clock.advance(300)
  await type(third, conversation, 'begin')
  clock.advance(300)
  await type(room.bob, conversation, 'pause')
  clock.advance(300)
  await type(third, conversation, 'finished')
  clock.advance(300)
  await type(fourth, conversation, 'begin')
  expect(await typingTold(room.alice, conversation)).toEqual([
    { [bob]: begin() },
    { [bob]: begin(), [carol]: begin(300) },
    { [bob]: pause(600), [carol]: begin(300) },
    { [bob]: pause(600), [carol]: finished(900) },
    { [bob]: pause(600), [dave]: begin(1_200) },
  ])
})

test('T3, T4 subscribe_typing answers with the set as it is now, without who has finished', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation } = room
  await type(room.bob, conversation, 'begin')
  await type(room.guests[1] as Session, conversation, 'begin')
  await type(room.bob, conversation, 'finished')
  const now = { typing: { [carol]: begin() } }
  expect(await room.alice.command('subscribe_typing', { conversation })).toEqual(now)
  expect(await room.alice.command('subscribe_typing', { conversation })).toEqual(now)
  room.clock.advance(300)
  expect(await typingTold(room.alice, conversation)).toEqual([])
})

test('T3 of more than 20 who type the 20 that began last are told, in pushes and in replies', async () => {
  await using room = await openRoom()
  const { conversation, clock, stage } = room
  const users = Array.from({ length: 25 }, (_, index): UserId => `user/t${index}`)
  await room.alice.command('add_participants', { conversation, participants: users })
  await room.alice.command('subscribe_typing', { conversation })
  const say = (user: UserId, event: TypingState) => stage.server.call('typing', { conversation, event }, user)
  for (const user of users) await say(user, 'begin')
  // That the first goes on does not make him one of those who began last.
  await say('user/t0', 'pause')
  clock.advance(300)
  const last = async () => Object.keys((await typingTold(room.alice, conversation)).at(-1) ?? {})
  expect(await last()).toEqual(users.slice(5))
  const { typing } = await room.bob.command('subscribe_typing', { conversation })
  expect(Object.keys(typing)).toEqual(users.slice(5))

  // One who finishes makes room for an earlier one; one who begins anew is the last.
  await say('user/t24', 'finished')
  await say('user/t0', 'finished')
  clock.advance(300)
  await say('user/t0', 'begin')
  clock.advance(300)
  expect(await last()).toEqual([...users.slice(5, 24), 'user/t0'])
})

test('T3, T5 of more than 20 one whom an ended one leaves no place is told 250 ms later, and then nothing is left to tell', async () => {
  await using room = await openRoom()
  const { conversation, clock, stage } = room
  const users = Array.from({ length: 22 }, (_, index): UserId => `user/t${index}`)
  await room.alice.command('add_participants', { conversation, participants: users })
  await room.alice.command('subscribe_typing', { conversation })
  const say = (user: UserId, event: TypingState) => stage.server.call('typing', { conversation, event }, user)
  for (const user of users) await say(user, 'begin')
  clock.advance(1_000)
  await room.alice.rest()
  const told = async () => (await typingTold(room.alice, conversation)).map((set) => Object.keys(set))

  // One who is not among the 20 leaves no trace; of those who are, each that ends takes a place once more.
  await say('user/t0', 'finished')
  expect(await told()).toEqual([users.slice(2)])
  clock.advance(1_000)
  expect(await told()).toEqual([])
  await say('user/t21', 'finished')
  expect(await told()).toEqual([users.slice(2)])
  clock.advance(249)
  expect(await told()).toEqual([])
  clock.advance(1)
  expect(await told()).toEqual([users.slice(1, 21)])
  clock.advance(1_000)
  expect(await told()).toEqual([])
  // Now all who type are told, and nobody is left out.
  await say('user/t20', 'finished')
  expect(await told()).toEqual([users.slice(1, 21)])
  clock.advance(1_000)
  expect(await told()).toEqual([])
})

test('T4 nobody is sent his own typing, also who types in one session and watches in another', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation, clock, stage } = room
  const [phone, third] = [await stage.connect(bob), room.guests[1] as Session]
  const watchers = [room.bob, phone, third, room.alice]
  for (const session of watchers) await session.command('subscribe_typing', { conversation })
  const told = () => Promise.all(watchers.map((session) => typingTold(session, conversation)))

  await type(room.bob, conversation, 'begin')
  expect(await told()).toEqual([[], [], [{ [bob]: begin() }], [{ [bob]: begin() }]])
  clock.advance(300)
  await type(third, conversation, 'begin')
  const both = { [bob]: begin(), [carol]: begin(300) }
  expect(await told()).toEqual([[{ [carol]: begin(300) }], [{ [carol]: begin(300) }], [{ [bob]: begin() }], [both]])

  expect(await phone.command('subscribe_typing', { conversation })).toEqual({ typing: { [carol]: begin(300) } })
  clock.advance(300)
  await type(phone, conversation, 'finished')
  await stage.settle()
  const own = watchers.slice(0, 2).flatMap(({ texts }) => texts.filter((text) => text.includes('"typing"')))
  expect(own.length).toBeGreaterThan(0)
  expect(own.join()).not.toContain(bob)
})

test('T4 a push goes to the sessions that watch and to no other, however many take part', async () => {
  await using stage = await openStage()
  const users = Array.from({ length: 30 }, (_, index): UserId => `user/p${index}`)
  const [host, ...others] = await Promise.all(users.map((user) => stage.connect(user)))
  const { conversation } = await (host as Session).command('create_conversation', { participants: users })
  const { conversation: other } = await (host as Session).command('create_conversation', { participants: users })
  const typist = others.pop() as Session
  const watching = [others[3], others[17]] as Session[]
  // Watching another conversation, or no longer, is not watching this one.
  for (const session of others.slice(4, 9)) await session.command('subscribe_typing', { conversation: other.id })
  for (const session of others.slice(9, 12)) {
    await session.command('subscribe_typing', { conversation: conversation.id })
    expect(await session.command('unsubscribe_typing', { conversation: conversation.id })).toEqual({})
  }
  for (const session of watching) await session.command('subscribe_typing', { conversation: conversation.id })
  await stage.settle()
  const before = new Map(stage.sessions.map((session) => [session, session.frames.length]))

  for (const event of ['begin', 'pause', 'begin', 'finished'] as const) {
    await type(typist, conversation.id, event)
    stage.clock.advance(300)
  }
  await stage.settle()
  // Each has the reply to its ping; the typist his four replies; who watches the four pushes.
  const frames = stage.sessions.map((session) => session.frames.length - (before.get(session) ?? 0) - 1)
  const expected = stage.sessions.map((session) => (session === typist || watching.includes(session) ? 4 : 0))
  expect(frames).toEqual(expected)
})

test('T4 who no longer watches is pushed nothing, and unsubscribing again, or from anything, is no fault', async () => {
  await using room = await openWatchedRoom()
  const { conversation } = room
  await type(room.bob, conversation, 'begin')
  expect((await typingTold(room.alice, conversation)).length).toBe(1)
  // This change would be told in 250 ms.
  await type(room.bob, conversation, 'pause')
  for (const one of [conversation, conversation, noConversation]) {
    expect(await room.alice.command('unsubscribe_typing', { conversation: one })).toEqual({})
  }
  room.clock.advance(300)
  await type(room.bob, conversation, 'finished')
  expect(await typingTold(room.alice, conversation)).toEqual([])
})

test('T4 where subscribing and unsubscribing come in one turn the last one counts, also of a conversation this server has not heard of', async () => {
  await using room = await openRoom()
  const { conversation, clock, stage } = room
  for (const restarted of [false, true]) {
    for (const commands of [
      ['subscribe_typing', 'unsubscribe_typing'],
      ['subscribe_typing', 'unsubscribe_typing', 'subscribe_typing'],
      ['subscribe_typing', 'unsubscribe_typing', 'subscribe_typing', 'unsubscribe_typing'],
    ] as const) {
      if (restarted) {
        await stage.server.stop()
        await stage.server.start()
      }
      const session = await stage.connect(alice)
      await Promise.all(commands.map((command) => session.command(command, { conversation })))
      await stage.server.call('typing', { conversation, event: 'begin' }, bob)
      const told = (await typingTold(session, conversation)).length
      expect({ restarted, commands, told }).toEqual({ restarted, commands, told: commands.length % 2 })
      await stage.server.call('typing', { conversation, event: 'finished' }, bob)
      clock.advance(300)
      await session.end()
    }
  }
})

test('T4 a session watches 100 conversations at most: the next is conflict until one is given up', async () => {
  await using stage = await openStage()
  const [session, second] = [await stage.connect(alice), await stage.connect(alice)]
  const ids = await Promise.all(
    Array.from({ length: 101 }, async () => {
      const { conversation } = await session.command('create_conversation', { participants: [bob] })
      return conversation.id
    }),
  )
  const [first, ...others] = ids as [ConversationId, ...ConversationId[]]
  const watch = (conversation: ConversationId) => session.command('subscribe_typing', { conversation })
  await Promise.all(others.map(watch))
  expect(await refusal(watch(first))).toMatchObject({ code: 'conflict', retryable: false, details: { limit: 100 } })
  // What it watches already it may ask for again, and another session counts apart.
  expect(await watch(others[0] as ConversationId)).toEqual({ typing: {} })
  await second.command('subscribe_typing', { conversation: first })
  await stage.server.call('typing', { conversation: first, event: 'begin' }, bob)
  expect(await typingTold(session, first)).toEqual([])

  await session.command('unsubscribe_typing', { conversation: others[7] as ConversationId })
  expect(await watch(first)).toEqual({ typing: { [bob]: begin() } })
  expect((await refusal(watch(others[7] as ConversationId))).code).toBe('conflict')
  // Whoever is removed, or sees it deleted, watches no longer, and that counts too.
  await session.command('delete_conversation', { conversation: others[9] as ConversationId })
  await session.command('leave_conversation', { conversation: others[10] as ConversationId })
  await watch(others[7] as ConversationId)
})

test('T5 a change is told at once, and those of the next 250 ms together when they are over', async () => {
  await using room = await openWatchedRoom([bob, carol])
  const { conversation, clock } = room
  await type(room.bob, conversation, 'begin')
  expect(await typingTold(room.alice, conversation)).toEqual([{ [bob]: begin() }])
  clock.advance(100)
  await type(room.bob, conversation, 'pause')
  clock.advance(100)
  await type(room.guests[1] as Session, conversation, 'begin')
  clock.advance(49)
  expect(await typingTold(room.alice, conversation)).toEqual([])
  clock.advance(1)
  expect(await typingTold(room.alice, conversation)).toEqual([{ [bob]: pause(100), [carol]: begin(200) }])
  // The pace counts from each push.
  clock.advance(249)
  await type(room.bob, conversation, 'finished')
  expect(await typingTold(room.alice, conversation)).toEqual([])
  clock.advance(1)
  expect((await typingTold(room.alice, conversation)).length).toBe(1)
  // After a quiet time the next change is told at once.
  clock.advance(10_000)
  await room.alice.rest()
  await type(room.bob, conversation, 'begin')
  expect((await typingTold(room.alice, conversation)).length).toBe(1)
})

test('T5 what comes faster is merged: a thousand changes in a second make five pushes', async () => {
  await using room = await openWatchedRoom()
  const { conversation, clock } = room
  const states = ['begin', 'pause', 'begin', 'finished'] as const
  for (let tenth = 0; tenth < 10; tenth++) {
    await Promise.all(Array.from({ length: 100 }, (_, index) => type(room.bob, conversation, states[index % 4]!)))
    clock.advance(100)
  }
  const told = await typingTold(room.alice, conversation)
  expect(told.length).toBe(5)
  expect(told.at(-1)).toEqual({ [bob]: finished(900) })
})

test('T5 each conversation has a pace of its own', async () => {
  await using room = await openWatchedRoom()
  const { conversation: other } = await room.alice.command('create_conversation', { participants: [bob] })
  await room.alice.command('subscribe_typing', { conversation: other.id })
  await room.alice.rest()
  await type(room.bob, room.conversation, 'begin')
  expect(await typingTold(room.alice, room.conversation)).toEqual([{ [bob]: begin() }])
  await type(room.bob, other.id, 'begin')
  expect(await typingTold(room.alice, other.id)).toEqual([{ [bob]: begin() }])
})

test('T5 a lease that is only refreshed is told again every 2.5 s, and not more often', async () => {
  await using room = await openWatchedRoom()
  const { conversation, clock } = room
  const told: [ms: number, at: string | undefined][] = []
  for (let ms = 0; ms < 10_000; ms += 500) {
    // Once a second, as clients do; what falls due at the same time goes first.
    if (ms % 1_000 === 0) await type(room.bob, conversation, 'begin')
    for (const set of await typingTold(room.alice, conversation)) told.push([ms, set[bob]?.at])
    clock.advance(500)
  }
  expect(told).toEqual([
    [0, after(0)],
    [2_500, after(2_000)],
    [5_000, after(4_000)],
    [7_500, after(7_000)],
  ])
})

test('T6 of typing nothing is written to the disk, and no event tells of it', async () => {
  await using room = await openWatchedRoom()
  const { conversation, clock, stage } = room
  await say(room.alice, conversation, 'hello')
  const before = await onDisk(stage.server.folder)
  for (const event of ['begin', 'pause', 'begin', 'finished', 'begin'] as const) {
    await type(room.bob, conversation, event)
    await stage.server.call('typing', { conversation, event }, alice)
    clock.advance(300)
  }
  clock.advance(5_000)
  expect((await typingTold(room.alice, conversation)).at(-1)).toEqual({ [bob]: finished(6_200) })
  expect(await onDisk(stage.server.folder)).toEqual(before)
  const { events } = await room.bob.command('get_events', { conversation, after_seq: 0 })
  expect(events.map(({ event, data }) => [event, data.record_type])).toEqual([
    ['create', 'conversation'],
    ['create', 'message'],
  ])
})

test('T6 who connects again is told nothing of the typing that he missed, and watches nothing', async () => {
  await using room = await openWatchedRoom([bob, carol])
  const { conversation, clock, stage } = room
  await room.alice.end()
  await type(room.bob, conversation, 'begin')
  const again = await stage.connect(alice)
  await type(room.guests[1] as Session, conversation, 'begin')
  clock.advance(300)
  expect(await again.rest()).toEqual([])
  expect(again.pushes.filter((push) => !isEvent(push))).toEqual([])
})

/** The bytes of the database and of its write-ahead log. The index of that log, `-shm`, also moves by reading. */
async function onDisk(folder: string): Promise<Record<string, string>> {
  const files = (await readdir(folder)).filter((name) => !name.endsWith('-shm'))
  const contents = await Promise.all(files.map((name) => readFile(join(folder, name), 'base64')))
  return Object.fromEntries(files.map((name, index) => [name, contents[index] as string]))
}
