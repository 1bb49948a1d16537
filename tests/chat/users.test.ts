/** Profiles: who changes them, who is told, and who sees them (M7). */
import { expect, test } from 'vitest'
import type { UserId } from '../../src/protocol/ids.ts'
import type { User } from '../../src/protocol/records.ts'
import { alice, bob, carol, codeOf, dave, openRoom, openStage, refusal } from './stage.ts'

const nobody = (id: UserId): User => ({ id, name: null, avatar_url: null, metadata: {}, updated_at: null })

test('M7 update_user changes what it names, leaves the rest, and is told to one’s own sessions alone', async () => {
  await using room = await openRoom()
  const { stage, clock } = room
  const phone = await stage.connect(bob)
  const { user: first } = await room.bob.command('update_user', {
    name: 'Bob',
    avatar_url: 'https://example.org/bob.png',
    metadata: { team: 'blue' },
  })
  expect(first).toEqual({
    id: bob,
    name: 'Bob',
    avatar_url: 'https://example.org/bob.png',
    metadata: { team: 'blue' },
    updated_at: '2026-01-01T00:00:00.000Z',
  })
  clock.advance(1_000)
  const { user: second } = await room.bob.command('update_user', { avatar_url: null })
  expect(second).toEqual({ ...first, avatar_url: null, updated_at: '2026-01-01T00:00:01.000Z' })
  const { user: third } = await phone.command('update_user', { metadata: {} })
  expect(third).toMatchObject({ name: 'Bob', avatar_url: null, metadata: {} })

  const told = [nobody(bob), first, second].map((original, index) => ({
    event: 'update',
    data: {
      record_type: 'user',
      event_type: 'update',
      record: [first, second, third][index],
      original_record: original,
    },
    cursor: expect.any(String),
  }))
  expect(await room.bob.rest()).toEqual(told)
  expect(await phone.rest()).toEqual(told)
  expect(await room.alice.rest()).toEqual([])
})

test('M7 a change that leaves out everything is invalid_argument, and so is another’s profile', async () => {
  await using stage = await openStage()
  const session = await stage.connect(alice)
  const wrong: object[] = [
    {},
    { user: bob, name: 'Bob' },
    { name: 7 },
    { metadata: null },
    { metadata: [] },
    { id: bob },
  ]
  for (const args of wrong) {
    const code = await codeOf(session.commandOf({ command: 'update_user', args }))
    expect({ args, code }).toEqual({ args, code: 'invalid_argument' })
  }
  expect(await codeOf(session.commandOf({ command: 'put_user', args: { user: alice, name: 'A' } }))).toBe('forbidden')
  expect(await session.command('get_users', { users: [alice] })).toEqual({ users: [nobody(alice)] })
  expect(await session.rest()).toEqual([])
})

test('M7 one sees oneself and those one shares a conversation with; all others are as if unknown', async () => {
  await using room = await openRoom()
  const { stage, conversation } = room
  const outsider = await stage.connect(carol)
  const profiles = new Map<UserId, User>()
  for (const session of [room.alice, room.bob, outsider]) {
    const { user } = await session.command('update_user', { name: session.greeting.user, metadata: { seen: true } })
    profiles.set(user.id, user)
  }
  const users = [dave, carol, bob, alice, bob]
  const seen = (...visible: UserId[]) => ({
    users: users.map((id) => (visible.includes(id) ? profiles.get(id) : nobody(id))),
  })
  expect(await room.alice.command('get_users', { users })).toEqual(seen(alice, bob))
  expect(await outsider.command('get_users', { users })).toEqual(seen(carol))

  await room.alice.command('add_participants', { conversation, participants: [carol] })
  expect(await outsider.command('get_users', { users })).toEqual(seen(alice, bob, carol))
  await room.bob.command('leave_conversation', { conversation })
  expect(await outsider.command('get_users', { users })).toEqual(seen(alice, carol))
  expect(await room.bob.command('get_users', { users })).toEqual(seen(bob))
  await room.alice.command('delete_conversation', { conversation })
  expect(await room.alice.command('get_users', { users })).toEqual(seen(alice))
  // Over HTTP one sees no more.
  expect((await stage.server.call('get_users', { users }, alice)).result).toEqual(seen(alice))
})

test('M7, L2 get_users takes 100 users, and none at all', async () => {
  await using stage = await openStage()
  const session = await stage.connect(alice)
  const users = Array.from({ length: 101 }, (_, index): UserId => `user/u${index}`)
  expect(await codeOf(session.command('get_users', { users }))).toBe('too_large')
  expect(await session.command('get_users', { users: users.slice(1) })).toEqual({ users: users.slice(1).map(nobody) })
  expect(await session.command('get_users', { users: [] })).toEqual({ users: [] })
})

test('M7 who is named exists: whoever connects first later finds the conversation that he is in', async () => {
  await using room = await openRoom()
  const { conversation } = await room.alice.command('create_conversation', { participants: ['user/new.comer@x.org'] })
  const late = await room.stage.connect('user/new.comer@x.org')
  const { conversations } = await late.command('get_conversations')
  expect(conversations.map((view) => view.conversation)).toEqual([conversation])
})

test('M7, M8 what the application puts is told to the user, and seen by those he talks with', async () => {
  await using room = await openRoom()
  const { server } = room.stage
  const { result } = await server.call('put_user', { user: bob, name: 'Robert' })
  expect((await room.bob.next()).data.record).toEqual(result.user)
  expect(await room.alice.rest()).toEqual([])
  expect(await room.alice.command('get_users', { users: [bob] })).toEqual({ users: [result.user] })
  const { error } = await server.call('put_user', { user: bob })
  expect(error.code).toBe('invalid_argument')
})

test('M7, L1 a name of more than 1 KiB, an avatar_url of more than 2 KiB and metadata of more than 8 KiB are too_large', async () => {
  await using stage = await openStage()
  const session = await stage.connect(alice)
  const fitting = { name: 'é'.repeat(512), avatar_url: 'u'.repeat(2_048), metadata: { a: 'x'.repeat(8_184) } }
  expect((await session.command('update_user', fitting)).user).toMatchObject(fitting)
  const larger = { name: `${fitting.name}x`, avatar_url: `${fitting.avatar_url}x`, metadata: { a: 'x'.repeat(8_185) } }
  for (const [key, value] of Object.entries(larger)) {
    const told = await refusal(session.command('update_user', { [key]: value }))
    expect({ key, code: told.code }).toEqual({ key, code: 'too_large' })
  }
  const { users } = await session.command('get_users', { users: [alice] })
  expect(users[0]).toMatchObject(fitting)
})
