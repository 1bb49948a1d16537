/** What ends typing: each state is a lease, and none is left behind (T2). */
import { expect, test } from 'vitest'
import type { ConversationId } from '../../src/protocol/ids.ts'
import type { TypingState } from '../../src/protocol/typing.ts'
import { alice, bob, carol, isEvent, messageOf, openRoom, type Session, say, typingTold } from './stage.ts'

const type = (session: Session, conversation: ConversationId, event: TypingState) =>
  session.command('typing', { conversation, event })

/** A room of alice, who watches, and of bob and carol, of whom bob types; what that has pushed is taken, and its pace is over. */
async function openTypingRoom() {
  const room = await openRoom({}, [bob, carol])
  const { conversation, clock, stage } = room
  await room.alice.command('subscribe_typing', { conversation })
  await type(room.bob, conversation, 'begin')
  clock.advance(1_000)
  for (const session of stage.sessions) await session.rest()
  const carolHere = room.guests[1] as Session
  /** What alice is told since she was asked last: the state of each who types or has just ended. */
  const told = async () =>
    (await typingTold(room.alice, conversation)).map((set) =>
      Object.fromEntries(Object.entries(set).map(([user, { event }]) => [user, event])),
    )
  return { ...room, carol: carolHere, told }
}

/** Ends the session in such a way that the server has forgotten it when this resolves. */
function closeByServer(session: Session): Promise<unknown> {
  session.send('no command')
  return session.closed
}

const ended = [{ [bob]: 'finished' }]

test('T2 begin and pause hold for 5 s after the last one', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock } = room
  // It began a second ago.
  clock.advance(3_999)
  expect(await room.told()).toEqual([])
  clock.advance(1)
  expect(await room.told()).toEqual(ended)

  await type(room.bob, conversation, 'begin')
  clock.advance(4_999)
  await type(room.bob, conversation, 'pause')
  clock.advance(4_999)
  expect((await room.told()).flatMap((set) => Object.values(set))).not.toContain('finished')
  clock.advance(1)
  expect(await room.told()).toEqual(ended)
  clock.advance(5_000)
  expect(await room.told()).toEqual([])
  expect(await room.alice.command('subscribe_typing', { conversation })).toEqual({ typing: {} })
})

test('T2 leases of several end each at its own time', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock } = room
  await type(room.carol, conversation, 'begin')
  clock.advance(1_000)
  // Bob's was older than carol's, and is younger from now on.
  await type(room.bob, conversation, 'begin')
  clock.advance(3_999)
  await room.told()
  clock.advance(1)
  expect(await room.told()).toEqual([{ [bob]: 'begin', [carol]: 'finished' }])
  clock.advance(999)
  expect(await room.told()).toEqual([])
  clock.advance(1)
  expect(await room.told()).toEqual(ended)
})

test('T2 finished ends it at once, from whichever of the user’s sessions, and again it changes nothing', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock, stage } = room
  const phone = await stage.connect(bob)
  await type(phone, conversation, 'finished')
  expect(await room.told()).toEqual(ended)
  clock.advance(1_000)
  await type(room.bob, conversation, 'finished')
  await type(room.carol, conversation, 'finished')
  clock.advance(5_000)
  expect(await room.told()).toEqual([])
})

test('T2 the end of the session that holds it ends it: by goodbye, by a cut, or closed by the server', async () => {
  const ends: ((session: Session) => unknown)[] = [
    (session) => session.end(),
    (session) => session.webSocket.terminate(),
    (session) => session.send('no command'),
  ]
  for (const end of ends) {
    await using room = await openTypingRoom()
    await end(room.bob)
    const { data } = await room.alice.nextTyping()
    expect(data[room.conversation]).toMatchObject({ [bob]: { event: 'finished' } })
    await room.bob.closed
    expect(await room.alice.command('subscribe_typing', { conversation: room.conversation })).toEqual({ typing: {} })
  }
})

test('T2, M8 whose sessions the application closes types no more', async () => {
  await using room = await openTypingRoom()
  const { result } = await room.stage.server.call('disconnect_user', { user: bob })
  expect(result).toEqual({ sessions: 1 })
  expect(await room.told()).toEqual(ended)
})

test('T2 the session that typed last holds it: the end of an earlier one ends nothing', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock, stage } = room
  const phone = await stage.connect(bob)
  await type(phone, conversation, 'begin')
  await closeByServer(room.bob)
  clock.advance(3_000)
  expect((await room.told()).flatMap((set) => Object.values(set))).not.toContain('finished')
  await phone.end()
  await room.alice.nextTyping(({ data }) => data[conversation]?.[bob]?.event === 'finished')
})

test('T2 a message ends its author’s typing and nobody else’s', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock } = room
  await type(room.carol, conversation, 'begin')
  expect(await room.told()).toEqual([{ [bob]: 'begin', [carol]: 'begin' }])
  clock.advance(1_000)
  await say(room.bob, conversation, 'hello')
  expect(await room.told()).toEqual([{ [bob]: 'finished', [carol]: 'begin' }])
  clock.advance(1_000)
  await say(room.bob, conversation, 'hello again')
  expect(await room.told()).toEqual([])
})

test('T2 a message that is refused, or known by its client_id, or an edit, ends no typing', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock } = room
  const { id: message } = await say(room.bob, conversation, 'hello', { client_id: 'c' })
  clock.advance(1_000)
  await type(room.bob, conversation, 'begin')
  await room.told()
  clock.advance(1_000)
  await say(room.bob, conversation, 'x'.repeat(16_385)).catch(() => {})
  await say(room.bob, conversation, 'hello', { client_id: 'c' })
  await room.bob.command('edit_message', { message, body: 'hello!' })
  await room.bob.command('delete_message', { message })
  expect(await room.told()).toEqual([])
})

test('T2 the finished that a message causes comes before the message’s own push, whatever the pace would delay', async () => {
  await using room = await openTypingRoom()
  const { conversation } = room
  const phone = await room.stage.connect(bob)
  // The first push of these is at once and the second 250 ms later; the message is in time for neither.
  await type(room.carol, conversation, 'begin')
  await type(room.bob, conversation, 'pause')
  for (const [index, author] of [room.bob, phone].entries()) {
    await say(author, conversation, `from session ${index}`)
    const pushes = await room.alice.rest()
    expect(pushes.map(({ event }) => event).slice(-2)).toEqual(['typing', 'create'])
    expect(pushes.at(-2)?.data).toMatchObject({ [conversation]: { [bob]: { event: 'finished' } } })
    await type(room.bob, conversation, 'begin')
  }
})

test('T2 where the author says finished just before his message, that too comes before the message’s push', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock } = room
  for (let round = 0; round < 2; round++) {
    // Its push is the one that makes the next wait.
    await type(room.bob, conversation, round === 0 ? 'pause' : 'begin')
    await Promise.all([type(room.bob, conversation, 'finished'), say(room.bob, conversation, `round ${round}`)])
    const pushes = await room.alice.rest()
    expect(pushes.map(({ event }) => event).slice(-2)).toEqual(['typing', 'create'])
    expect(pushes.at(-2)?.data).toMatchObject({ [conversation]: { [bob]: { event: 'finished' } } })
    clock.advance(300)
    expect(await room.told(), 'it is told once').toEqual([])
  }
})

test('T2 who leaves or is removed types no more, and watches no more', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock } = room
  await room.bob.command('subscribe_typing', { conversation })
  await room.bob.command('leave_conversation', { conversation })
  expect(await room.told()).toEqual(ended)
  clock.advance(1_000)
  await type(room.carol, conversation, 'begin')
  expect(await room.told()).toEqual([{ [carol]: 'begin' }])
  expect((await room.bob.rest()).filter((push) => !isEvent(push))).toEqual([])

  // Whatever the pace would delay, it comes before the push that tells of the removal.
  await room.alice.command('remove_participants', { conversation, participants: [carol] })
  const pushes = await room.alice.rest()
  expect(pushes.map(({ event }) => event)).toEqual(['typing', 'update'])
  expect(pushes[0]?.data).toMatchObject({ [conversation]: { [carol]: { event: 'finished' } } })
})

test('T2 who is added again neither types nor watches from before', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock } = room
  await room.carol.command('subscribe_typing', { conversation })
  const participants = [bob, carol]
  await room.alice.command('remove_participants', { conversation, participants })
  await room.alice.command('add_participants', { conversation, participants })
  clock.advance(1_000)
  expect(await room.alice.command('subscribe_typing', { conversation })).toEqual({ typing: {} })
  await type(room.bob, conversation, 'begin')
  expect((await room.carol.rest()).filter((push) => !isEvent(push))).toEqual([])
})

test('T2 when a conversation is deleted nobody types there, and nobody watches', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock } = room
  await type(room.carol, conversation, 'begin')
  await room.told()
  await room.alice.command('delete_conversation', { conversation })
  const kinds = (await room.alice.rest()).map(({ event }) => event)
  expect(kinds.slice(kinds.indexOf('delete'))).toEqual(['delete'])
  clock.advance(5_000)
  expect(await room.alice.rest()).toEqual([])
})

test('T2 a lease begun over HTTP is ended by time, by finished and by a message, and by no session’s end', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock, stage } = room
  const overHttp = async (event: TypingState) => {
    const { status } = await stage.server.call('typing', { conversation, event }, bob)
    expect(status).toBe(200)
  }
  // It takes over the lease that bob's session has held.
  await overHttp('begin')
  await closeByServer(room.bob)
  clock.advance(4_999)
  expect((await room.told()).flatMap((set) => Object.values(set))).not.toContain('finished')
  clock.advance(1)
  expect(await room.told()).toEqual(ended)

  clock.advance(1_000)
  await overHttp('begin')
  clock.advance(1_000)
  await room.told()
  await overHttp('finished')
  expect(await room.told()).toEqual(ended)

  clock.advance(1_000)
  await overHttp('begin')
  await stage.server.call('create_message', { conversation, body: 'hello' }, bob)
  const pushes = await room.alice.rest()
  expect(pushes.map(({ event }) => event)).toEqual(['typing', 'typing', 'create'])
  const [message] = pushes.filter(isEvent)
  expect(message && messageOf(message).created_by).toBe(bob)
})

test('T2 by a clock that was set back no lease lasts the longer, and what changes is told all the same', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock } = room
  clock.advance(-3_600_000)
  await type(room.carol, conversation, 'begin')
  await room.told()
  clock.advance(1_000)
  await type(room.carol, conversation, 'pause')
  expect((await room.told()).at(-1)).toMatchObject({ [carol]: 'pause' })
  clock.advance(5_000)
  await room.told()
  expect(await room.alice.command('subscribe_typing', { conversation })).toEqual({ typing: {} })
})

test('T2 when the server stops no lease keeps its clock waiting', async () => {
  await using room = await openTypingRoom()
  const { conversation, clock, stage } = room
  await stage.server.call('typing', { conversation, event: 'begin' }, alice)
  await stage.server.stop()
  expect(clock.waiting).toBe(0)
})
