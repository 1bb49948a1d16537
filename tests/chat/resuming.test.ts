/** Resuming from a cursor (R), over real sockets and a real database. */
import { expect, it } from 'vitest'
import type { EventFrame } from '../../src/protocol/frames.ts'
import { connect, isEvent, open, type RawSession } from '../../src/testing/raw-session.ts'
import { alice, bob, carol, openRoom, type openStage, say } from './stage.ts'

/** A session of `user` that goes on from `cursor`. */
async function resume(stage: Awaited<ReturnType<typeof openStage>>, user: string, cursor: string) {
  const session = await open(stage.server)
  const greeting = await session.command('connect', { token: await stage.server.token(user.slice(5)), cursor })
  return Object.assign(session, { greeting })
}

const bodies = (events: readonly EventFrame[]) =>
  events.map(({ data }) =>
    data.record_type === 'message' ? data.record.body : `${data.event_type} ${data.record_type}`,
  )

async function restOfEvents(session: RawSession): Promise<EventFrame[]> {
  return (await session.rest()).filter(isEvent)
}

it('R2 what was missed comes first, in the order of the log, then what happens live', async () => {
  await using room = await openRoom()
  const { cursor } = await room.bob.command('ping')
  await room.bob.end()
  await say(room.alice, room.conversation, 'one')
  const { conversation: other } = await room.alice.command('create_conversation', { participants: [bob] })
  await say(room.alice, other.id, 'two')
  await say(room.alice, room.conversation, 'three')
  await using back = await resume(room.stage, bob, cursor)
  expect(back.greeting).toMatchObject({ resumed: true, cursor })
  await say(room.alice, room.conversation, 'live')
  const events = await restOfEvents(back)
  expect(bodies(events)).toEqual(['one', 'create conversation', 'two', 'three', 'live'])
})

it('R2 user events are among what was missed', async () => {
  await using room = await openRoom()
  const { cursor } = await room.bob.command('ping')
  const message = await say(room.alice, room.conversation, 'read me')
  await room.bob.command('mark_as_last_message_read', { conversation: room.conversation, message: message.id })
  await using back = await resume(room.stage, bob, cursor)
  expect(bodies(await restOfEvents(back))).toEqual(['read me', 'update user_conversation'])
})

it('E5 who was removed while away is told that alone', async () => {
  await using room = await openRoom({}, [bob, carol])
  const { cursor } = await room.bob.command('ping')
  await room.bob.end()
  await say(room.alice, room.conversation, 'before')
  await room.alice.command('remove_participants', { conversation: room.conversation, participants: [bob] })
  await say(room.alice, room.conversation, 'after')
  await using back = await resume(room.stage, bob, cursor)
  const events = await restOfEvents(back)
  expect(events.map(({ data }) => data)).toEqual([
    {
      record_type: 'conversation',
      event_type: 'delete',
      record: { id: room.conversation },
      original_record: { id: room.conversation },
    },
  ])
})

it('R5 a cursor of another database, of another form, or from the future is not gone on from', async () => {
  await using room = await openRoom()
  await using elsewhere = await openRoom()
  const { cursor } = await room.bob.command('ping')
  const foreign = (await elsewhere.bob.command('ping')).cursor
  for (const bad of [foreign, '', 'nonsense', `${cursor}zzz`, `${cursor}.1`]) {
    await using back = await resume(room.stage, bob, bad)
    expect(back.greeting.resumed).toBe(false)
    expect(await back.rest()).toEqual([])
  }
})

it('R3 a cursor holds across a restart of the server', async () => {
  await using room = await openRoom()
  const { cursor } = await room.bob.command('ping')
  await say(room.alice, room.conversation, 'before')
  await room.stage.server.stop()
  await room.stage.server.start()
  await using sender = await connect(room.stage.server, alice)
  await say(sender, room.conversation, 'after')
  await using back = await resume(room.stage, bob, cursor)
  expect(bodies(await restOfEvents(back))).toEqual(['before', 'after'])
})

it('R4 of a conversation with more than 500 missed events come a gap and the latest 500', async () => {
  await using room = await openRoom()
  const { cursor } = await room.bob.command('ping')
  await room.bob.end()
  await Promise.all(Array.from({ length: 612 }, (_, index) => say(room.alice, room.conversation, `${index}`)))
  await using back = await resume(room.stage, bob, cursor)
  const pushes = await back.restWithGaps()
  await expect.poll(() => back.pushes.length).toBe(501)
  expect(pushes[0]).toEqual({ gap: { conversation: room.conversation, after_seq: 1, before_seq: 114 } })
  expect(back.events.map(({ seq }) => seq)).toEqual(Array.from({ length: 500 }, (_, index) => 114 + index))
})
