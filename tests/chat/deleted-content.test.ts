/** Content that was deleted is never sent again, to anyone, by any path (E4). */
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { CommandName } from '../../src/protocol/commands.ts'
import { bob, carol, isEvent, messageOf, openRoom, type Session, say } from './stage.ts'

/** No word of it may come up again. */
const secret = 'the-secret-word'
const content = { metadata: { note: secret }, attachment: { url: `https://example.org/${secret}` } }

/** What the whole data folder holds, as text. */
async function onDisk(folder: string): Promise<string> {
  const files = await readdir(folder)
  return (await Promise.all(files.map((file) => readFile(join(folder, file), 'latin1')))).join('\n')
}

/** All that a session can read about a conversation, as text. */
async function readAll(session: Session, conversation: `conversation/${string}`): Promise<string> {
  const reads: [CommandName, object][] = [
    ['get_conversation', { conversation }],
    ['get_conversations', {}],
    ['get_messages', { conversation }],
    ['get_messages', { conversation, after_seq: 0 }],
    ['get_messages', { conversation, before_time: '2030-01-01T00:00:00Z' }],
    ['get_events', { conversation, after_seq: 0 }],
    ['get_events', { conversation, after_seq: 2 }],
  ]
  const answers: unknown[] = []
  for (const [command, args] of reads) answers.push(await session.commandOf({ command, args }))
  return JSON.stringify(answers)
}

test('E4 the tombstone and its original_record have no body, no metadata and no attachment', async () => {
  await using room = await openRoom()
  const message = await say(room.alice, room.conversation, secret, { ...content, client_id: 'c' })
  room.clock.advance(1_000)
  const { message: tombstone } = await room.alice.command('delete_message', { message: message.id })
  const emptied = { ...message, body: '', metadata: {}, attachment: null }
  expect(tombstone).toEqual({ ...emptied, deleted: true, revision: 2, updated_at: '2026-01-01T00:00:01.000Z' })
  const { event, data, seq } = await room.bob.next((push) => push.event === 'delete')
  expect({ event, data, seq }).toEqual({
    event: 'delete',
    data: { record_type: 'message', event_type: 'delete', record: tombstone, original_record: emptied },
    seq: 3,
  })
})

test('E4 deleted content comes by no path: not by history, events, views, nor by a repeated client_id', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const first = await say(room.alice, conversation, `${secret} first`, { ...content, client_id: 'c1' })
  const edit = { message: first.id, body: `${secret} edited`, client_id: 'e1' }
  await room.alice.command('edit_message', edit)
  await room.alice.command('edit_message', {
    message: first.id,
    metadata: { more: secret },
    attachment: { more: secret },
  })
  expect(await readAll(room.bob, conversation)).toContain(secret)
  const { message: tombstone } = await room.alice.command('delete_message', { message: first.id })
  const phone = await room.stage.connect(bob)

  for (const session of [room.alice, room.bob, phone]) {
    expect(await readAll(session, conversation)).not.toContain(secret)
  }
  const { last_message } = await room.bob.command('get_conversation', { conversation })
  expect(last_message).toEqual(tombstone)
  expect(await say(room.alice, conversation, `${secret} again`, { client_id: 'c1' })).toEqual(tombstone)
  expect((await room.alice.command('edit_message', edit)).message).toEqual(tombstone)
  expect((await room.alice.command('delete_message', { message: first.id })).message).toEqual(tombstone)

  // Each of its events is still told, without the content.
  const { events } = await phone.command('get_events', { conversation, after_seq: 1 })
  expect(events.map(({ event, seq }) => [event, seq])).toEqual([
    ['create', 2],
    ['update', 3],
    ['update', 4],
    ['delete', 5],
  ])
  for (const event of events) {
    for (const record of [messageOf(event), event.data.original_record ?? messageOf(event)]) {
      expect(record).toMatchObject({ body: '', metadata: {}, attachment: null })
    }
  }
  expect(phone.texts.join()).not.toContain(secret)
})

test('E4 who is added after a deletion never sees what was there', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const message = await say(room.alice, conversation, secret, content)
  await room.alice.command('edit_message', { message: message.id, body: `${secret} edited` })
  await room.alice.command('delete_message', { message: message.id })
  const late = await room.stage.connect(carol)
  await room.alice.command('add_participants', { conversation, participants: [carol] })
  await readAll(late, conversation)
  await late.rest()
  expect(late.events.length).toBe(1)
  expect(late.texts.join()).not.toContain(secret)
})

test('E4 of an edit and a deletion in one turn nothing comes after the deletion', async () => {
  await using room = await openRoom()
  const { conversation } = room
  const { id } = await say(room.alice, conversation, 'nothing yet')
  await Promise.allSettled([
    room.alice.command('edit_message', { message: id, body: `${secret} one` }),
    room.alice.command('edit_message', { message: id, body: `${secret} two` }),
    room.alice.command('delete_message', { message: id }),
    room.alice.command('edit_message', { message: id, body: `${secret} three` }),
    room.bob.command('get_messages', { conversation }),
    room.bob.command('get_events', { conversation, after_seq: 0 }),
  ])
  const events = (await room.bob.rest()).filter(isEvent)
  expect(events.map(({ event }) => event)).toEqual(['create', 'update', 'update', 'delete'])
  const end = room.bob.texts.findIndex((text) => text.startsWith('{"event":"delete"'))
  const pushedLater = room.bob.texts.slice(end).filter((text) => text.startsWith('{"event"'))
  expect(pushedLater.join()).not.toContain(secret)
  expect(await readAll(room.bob, conversation)).not.toContain(secret)
})

test('E4 deleted content is gone from the disk, also that of a deleted conversation, and stays gone after a restart', async () => {
  await using room = await openRoom()
  const { conversation, stage } = room
  const message = await say(room.alice, conversation, `${secret} first`, { ...content, client_id: 'c1' })
  await room.alice.command('edit_message', { message: message.id, body: `${secret} edited` })
  await say(room.alice, conversation, 'this one stays')
  await room.alice.command('delete_message', { message: message.id })
  const other = await room.alice.command('create_conversation', { participants: [bob], title: `${secret} title` })
  const inOther = await say(room.alice, other.conversation.id, `${secret} there`, content)
  await room.alice.command('edit_message', { message: inOther.id, body: `${secret} there, edited` })
  await room.alice.command('update_conversation', { conversation: other.conversation.id, title: 'Other' })
  await room.alice.command('delete_conversation', { conversation: other.conversation.id })

  await stage.server.stop()
  const files = await onDisk(stage.server.folder)
  expect(files).toContain('this one stays')
  expect(files).not.toContain(secret)
  await stage.server.start()
  const session = await stage.connect(bob)
  expect(await readAll(session, conversation)).not.toContain(secret)
})
