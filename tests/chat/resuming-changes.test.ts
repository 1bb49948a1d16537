/** Resuming where something was taken away or given meanwhile (E4, E5), and where the server was not there (R3). */
import { expect, it } from 'vitest'
import { connect } from '../../src/testing/raw-session.ts'
import { caughtUp, missedSince, restOfEvents, resume, said } from './resume.ts'
import { alice, bob, carol, codeOf, dave, isEvent, openRoom, say } from './stage.ts'

const gone = (id: string) => ({
  record_type: 'conversation',
  event_type: 'delete',
  record: { id },
  original_record: { id },
})

it('E5 who was removed while away is told that alone', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { conversation } = room
  const { cursor } = await room.bob.command('ping')
  const { id } = await say(room.alice, conversation, 'before')
  await room.bob.command('mark_as_last_message_read', { conversation, message: id })
  await room.bob.end()
  await room.alice.command('remove_participants', { conversation, participants: [bob] })
  await say(room.alice, conversation, 'after')
  await using back = await resume(room.stage, bob, cursor)
  expect((await restOfEvents(back)).map(({ data }) => data)).toEqual([gone(conversation)])
  expect(await codeOf(back.command('get_events', { conversation, after_seq: 0 }))).toBe('not_found')
})

it('E5 who was removed and added again while away is told both, and nothing of between', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { cursor } = await room.bob.command('ping')
  await room.bob.end()
  await say(room.alice, conversation, 'before')
  await room.alice.command('remove_participants', { conversation, participants: [bob] })
  await say(room.alice, conversation, 'between')
  await room.alice.command('add_participants', { conversation, participants: [bob] })
  await say(room.alice, conversation, 'since')
  await using back = await resume(room.stage, bob, cursor)
  const events = await restOfEvents(back)
  expect(events.map(said)).toEqual(['before', 'delete conversation', 'create conversation', 'since'])
  expect(events.map(({ seq }) => seq)).toEqual([2, 3, 5, 6])
  expect(back.texts.join()).not.toContain('between')
})

it('E5 of a conversation that was deleted while away each is told how it ended for him', async () => {
  await using room = await openRoom({}, [bob, carol, dave])
  const { conversation } = room
  const { cursor } = await room.alice.command('ping')
  await say(room.alice, conversation, 'the-secret-word')
  // Carol has heard that she left, dave was away when he was removed.
  await room.guests[1]!.command('leave_conversation', { conversation })
  const left = (await room.guests[1]!.command('ping')).cursor
  await room.alice.command('remove_participants', { conversation, participants: [dave] })
  await room.alice.command('delete_conversation', { conversation })
  const missed = async (user: `user/${string}`, since: string) => {
    const pushes = await missedSince(room.stage, user, since, room.alice)
    expect(JSON.stringify(pushes)).not.toContain('secret')
    return pushes.filter(isEvent).map(({ data }) => data)
  }
  const deleted = { id: conversation, deleted: true }
  for (const user of [alice, bob] as const) {
    expect(await missed(user, cursor)).toEqual([
      { record_type: 'conversation', event_type: 'delete', record: deleted, original_record: deleted },
    ])
  }
  expect(await missed(dave, cursor)).toEqual([gone(conversation)])
  expect(await missed(carol, cursor)).toEqual([gone(conversation)])
  expect(await missed(carol, left)).toEqual([])
})

it('E4 what was deleted while away comes without content, in every event of it', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const secret = 'the-secret-word'
  const { cursor } = await room.bob.command('ping')
  await room.bob.end()
  const { id } = await say(room.alice, conversation, secret, { metadata: { secret }, attachment: { secret } })
  await room.alice.command('edit_message', { message: id, body: `${secret} edited` })
  await say(room.alice, conversation, 'kept')
  const { cursor: between } = await room.alice.command('ping')
  await room.alice.command('edit_message', { message: id, metadata: { more: secret } })
  await room.alice.command('delete_message', { message: id })
  for (const [since, expected] of [
    [cursor, ['create', 'update', 'create', 'update', 'delete']],
    [between, ['update', 'delete']],
  ] as const) {
    const missed = await missedSince(room.stage, bob, since, room.alice)
    expect(missed.map((push) => 'event' in push && push.event)).toEqual(expected)
    expect(JSON.stringify(missed)).not.toContain(secret)
  }
})

it('R2, R3 every cursor on the way holds, of the connect reply and of each push, also those of after a restart', async () => {
  await using room = await openRoom()
  const { stage, conversation } = room
  const { cursor } = await room.bob.command('ping')
  await room.bob.end()
  const { id } = await say(room.alice, conversation, 'one')
  const { conversation: second } = await room.alice.command('create_conversation', { participants: [bob] })
  await say(room.alice, second.id, 'two')
  await room.alice.command('edit_message', { message: id, body: 'three' })
  const http = await stage.server.call('update_user', { name: 'Bob' }, bob)
  expect(http.status).toBe(200)
  await stage.server.stop()
  await stage.server.start()
  const host = await stage.connect(alice)
  await room.alice.closed
  await say(host, conversation, 'four')
  await stage.server.call('mark_as_last_message_read', { conversation, message: id }, bob)
  await host.command('remove_participants', { conversation: second.id, participants: [bob] })
  await say(host, conversation, 'five')

  const all = (await missedSince(stage, bob, cursor, host)).filter(isEvent)
  expect(all.map(said)).toEqual([
    'one',
    'three',
    'update user',
    'four',
    'update user_conversation',
    'delete conversation',
    'five',
  ])
  const told = all.map(({ cursor: _, ...event }) => event)
  for (const [index, { cursor: place }] of all.entries()) {
    await using back = await resume(stage, bob, place)
    await using again = await resume(stage, bob, back.greeting.cursor)
    for (const session of [back, again]) {
      expect(session.greeting.resumed).toBe(true)
      await caughtUp(session, host)
      expect(session.events.map(({ cursor: _, ...event }) => event)).toEqual(told.slice(index + 1))
    }
  }
})

it('R3 a session that the server’s end has cut off goes on behind what it got, whatever it was told of by which server', async () => {
  await using room = await openRoom()
  const { stage, conversation } = room
  let { cursor } = await room.bob.command('ping')
  await room.bob.end()
  await Promise.all(Array.from({ length: 30 }, (_, index) => say(room.alice, conversation, `${index}`)))
  const got: string[] = []
  for (let round = 0; got.length < 30; round++) {
    if (round % 2 === 1) {
      await stage.server.stop()
      await stage.server.start()
    }
    const back = await resume(stage, bob, cursor)
    expect(back.greeting.resumed).toBe(true)
    // Of what came in this round it has seen a few only: their cursors stand far before the server's start.
    const seen = []
    while (seen.length < 8 && got.length + seen.length < 30) seen.push(await back.next())
    got.push(...seen.map(said))
    cursor = seen.at(-1)?.cursor as string
    await back[Symbol.asyncDispose]()
    // So does the reply to connect, whose place is the one that was given.
    await using again = await resume(stage, bob, cursor)
    await using oncemore = await resume(stage, bob, again.greeting.cursor)
    expect(oncemore.greeting).toMatchObject({ resumed: true })
  }
  expect(got).toEqual(Array.from({ length: 30 }, (_, index) => `${index}`))
  await using live = await connect(stage.server, alice)
  expect((await missedSince(stage, bob, cursor, live)).length).toBe(0)
})
