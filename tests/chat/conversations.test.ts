/** Making conversations, finding them again and listing them (M1, M2). Who may do what is in rights.test.ts. */
import { expect, test } from 'vitest'
import type { ConversationView } from '../../src/protocol/commands.ts'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import { alice, bob, carol, codeOf, conversationOf, dave, openRoom, openStage, type Session, say } from './stage.ts'

const distinct = { distinct_by_participants: true }

const idsOf = ({ conversations }: { conversations: ConversationView[] }) =>
  conversations.map(({ conversation }) => conversation.id)

/** Alice has made `count` conversations with bob, a second apart; their ids, the oldest first. */
async function makeRow(host: Session, count: number, advance: (ms: number) => void): Promise<ConversationId[]> {
  const ids: ConversationId[] = []
  for (let index = 0; index < count; index++) {
    const { conversation } = await host.command('create_conversation', { participants: [bob], title: `${index}` })
    ids.push(conversation.id)
    advance(1_000)
  }
  return ids
}

test('M1 the same participants have one distinct conversation, whoever asks, in whatever order and however often', async () => {
  await using stage = await openStage()
  const [host, guest, third] = [await stage.connect(alice), await stage.connect(bob), await stage.connect(carol)]
  const { conversation, created } = await host.command('create_conversation', {
    participants: [bob, carol],
    title: 'Three',
    ...distinct,
  })
  expect([created, conversation.distinct_by_participants]).toEqual([true, true])
  const asked: [Session, UserId[]][] = [
    [host, [carol, bob]],
    [host, [alice, bob, bob, carol]],
    [guest, [alice, carol]],
    [third, [carol, bob, alice]],
  ]
  for (const [session, participants] of asked) {
    const again = await session.command('create_conversation', { participants, title: 'Other', ...distinct })
    expect(again).toEqual({ conversation, created: false })
  }
  const overHttp = await stage.server.call('create_conversation', { participants: [alice, bob], ...distinct }, carol)
  expect(overHttp.result).toEqual({ conversation, created: false })
  for (const session of stage.sessions) expect((await session.rest()).length).toBe(1)
})

test('M1 other participants, or one that is not distinct, are another conversation', async () => {
  await using stage = await openStage()
  const host = await stage.connect(alice)
  const made = []
  for (const args of [
    { participants: [bob] },
    { participants: [bob], ...distinct },
    { participants: [bob, carol], ...distinct },
    { participants: [], ...distinct },
    { participants: [bob] },
  ]) {
    made.push(await host.command('create_conversation', args))
  }
  expect(made.map(({ created }) => created)).toEqual(Array(5).fill(true))
  expect(new Set(made.map(({ conversation }) => conversation.id)).size).toBe(5)
})

test('M1 a distinct conversation asked for at once from several sessions is made once, and told once', async () => {
  await using stage = await openStage()
  const hosts = [await stage.connect(alice), await stage.connect(alice)]
  const guests = [await stage.connect(bob), await stage.connect(bob)]
  for (let round = 0; round < 10; round++) {
    const third: UserId = `user/third${round}`
    const asked = await Promise.all([
      ...hosts.map((host) => host.command('create_conversation', { participants: [bob, third], ...distinct })),
      ...guests.map((guest) => guest.command('create_conversation', { participants: [third, alice], ...distinct })),
    ])
    expect(new Set(asked.map(({ conversation }) => conversation.id)).size).toBe(1)
    expect(asked.filter(({ created }) => created).length).toBe(1)
    for (const session of stage.sessions) {
      expect((await session.rest()).map(({ event }) => event)).toEqual(['create'])
    }
  }
})

test('M1 nobody new can be added to a distinct conversation, and who is there can', async () => {
  await using stage = await openStage()
  const host = await stage.connect(alice)
  const { conversation } = await host.command('create_conversation', { participants: [bob], ...distinct })
  const { id } = conversation
  expect(await codeOf(host.command('add_participants', { conversation: id, participants: [carol] }))).toBe('conflict')
  expect(await codeOf(host.command('add_participants', { conversation: id, participants: [bob, carol] }))).toBe(
    'conflict',
  )
  expect(await host.command('add_participants', { conversation: id, participants: [bob] })).toEqual({ conversation })
  expect((await host.rest()).length).toBe(1)
})

test('M1 leaving and removal end a conversation’s distinctness: asked for again it is another, and anyone can be added', async () => {
  await using stage = await openStage()
  const [host, guest] = [await stage.connect(alice), await stage.connect(bob)]
  const ask = () => host.command('create_conversation', { participants: [bob], ...distinct })
  const ends = [
    (conversation: ConversationId) => guest.command('leave_conversation', { conversation }),
    (conversation: ConversationId) => host.command('remove_participants', { conversation, participants: [bob] }),
  ]
  const seen = new Set<ConversationId>()
  for (const end of ends) {
    const { conversation } = await ask()
    seen.add(conversation.id)
    await host.rest()
    await end(conversation.id)
    expect(conversationOf(await host.next())).toMatchObject({ distinct_by_participants: false, participants: [alice] })
    const added = await host.command('add_participants', { conversation: conversation.id, participants: [bob, dave] })
    expect(added.conversation).toMatchObject({ distinct_by_participants: false, participant_count: 3 })
  }
  // Those two are there again, with their first participants; but they are not these participants' own any more.
  const { conversation, created } = await ask()
  expect([created, seen.size, seen.has(conversation.id)]).toEqual([true, 2, false])

  await host.command('delete_conversation', { conversation: conversation.id })
  expect((await ask()).created).toBe(true)
})

test('M1 the creator takes part and is an admin, also alone, named or not; admins are those it names', async () => {
  await using stage = await openStage()
  const host = await stage.connect(alice)
  const make = async (participants: UserId[], admins?: UserId[]) =>
    (await host.command('create_conversation', { participants, ...(admins && { admins }) })).conversation
  expect(await make([])).toMatchObject({ participants: [alice], admins: [alice], participant_count: 1 })
  expect(await make([alice, alice])).toMatchObject({ participants: [alice], admins: [alice], participant_count: 1 })
  expect(await make([bob, carol], [carol, alice])).toMatchObject({
    participants: [alice, bob, carol],
    admins: [alice, carol],
  })
})

test('M2 get_conversations gives the latest activity first: messages and changes count, edits and reading don’t', async () => {
  await using stage = await openStage()
  const [host, guest] = [await stage.connect(alice), await stage.connect(bob)]
  const [first, second, third] = (await makeRow(host, 3, (ms) => stage.clock.advance(ms))) as [
    ConversationId,
    ConversationId,
    ConversationId,
  ]
  expect(idsOf(await guest.command('get_conversations'))).toEqual([third, second, first])
  const message = await say(guest, first, 'hello')
  stage.clock.advance(1_000)
  await host.command('update_conversation', { conversation: second, title: 'Up' })
  stage.clock.advance(1_000)
  const order = [second, first, third]
  expect(idsOf(await host.command('get_conversations'))).toEqual(order)
  await guest.command('edit_message', { message: message.id, body: 'Hello' })
  await host.command('mark_as_last_message_read', { conversation: first, message: message.id })
  await guest.command('typing', { conversation: third, event: 'begin' })
  expect(idsOf(await host.command('get_conversations'))).toEqual(order)

  // Each is what get_conversation gives.
  const { conversations } = await guest.command('get_conversations')
  for (const view of conversations) {
    expect(await guest.command('get_conversation', { conversation: view.conversation.id })).toEqual(view)
  }
  expect(conversations[1]?.last_message).toMatchObject({ id: message.id, body: 'Hello' })
  await guest.command('leave_conversation', { conversation: first })
  expect(idsOf(await guest.command('get_conversations'))).toEqual([second, third])
})

test('M2 pages of get_conversations go on after a conversation, also of those active in one millisecond', async () => {
  await using stage = await openStage()
  const [host, guest] = [await stage.connect(alice), await stage.connect(bob)]
  for (const apart of [1_000, 0]) {
    await makeRow(host, 7, () => stage.clock.advance(apart))
    const { conversations: all } = await guest.command('get_conversations', { limit: 200 })
    const paged: ConversationView[] = []
    for (;;) {
      const before = paged.at(-1)?.conversation.id
      const page = await guest.command('get_conversations', { limit: 3, before })
      expect(page.conversations.length).toBeLessThanOrEqual(3)
      if (page.conversations.length === 0) break
      paged.push(...page.conversations)
    }
    expect(paged).toEqual(all)
  }
})

test('M2 pages of get_conversations stay below a time', async () => {
  await using stage = await openStage()
  const host = await stage.connect(alice)
  const ids = (await makeRow(host, 5, (ms) => stage.clock.advance(ms))).reverse()
  const below = async (before: string, limit?: number) =>
    idsOf(await host.command('get_conversations', { before, limit }))
  expect(await below('2026-01-01T00:00:03.000Z')).toEqual(ids.slice(2))
  expect(await below('2026-01-01T00:00:03.001Z')).toEqual(ids.slice(1))
  expect(await below('2026-01-01T01:00:03+01:00', 2)).toEqual(ids.slice(2, 4))
  expect(await below('2026-01-01T00:00:00Z')).toEqual([])
  expect(await below('2030-01-01T00:00:00Z')).toEqual(ids)
  // As an application would: below the updated_at of the last one it has.
  const { conversations } = await host.command('get_conversations', { limit: 2 })
  expect(await below(conversations[1]?.conversation.updated_at as string)).toEqual(ids.slice(2))
  for (const before of ['yesterday', '', bob, 7]) {
    const asked = host.commandOf({ command: 'get_conversations', args: { before } })
    expect({ before, code: await codeOf(asked) }).toEqual({ before, code: 'invalid_argument' })
  }
})

test('M2 get_participants pages by user id, byte by byte, with the admins of each page', async () => {
  await using stage = await openStage()
  const host = await stage.connect(alice)
  const users: UserId[] = [
    'user/Z',
    'user/z',
    'user/a-b',
    'user/a.b',
    'user/a:b',
    'user/a',
    'user/0',
    'user/~',
    'user/_',
  ]
  const { conversation } = await host.command('create_conversation', {
    participants: users,
    admins: ['user/z', 'user/0'],
  })
  const everyone = [alice, ...users].sort()
  const found: UserId[] = []
  const admins: UserId[] = []
  for (let after: UserId | undefined; ; after = found.at(-1)) {
    const page = await host.command('get_participants', { conversation: conversation.id, limit: 4, after })
    if (page.participants.length === 0) break
    expect(page.participants).toEqual(everyone.slice(found.length, found.length + 4))
    found.push(...page.participants)
    admins.push(...page.admins)
  }
  expect(found).toEqual(everyone)
  expect(admins).toEqual(['user/0', alice, 'user/z'])
  // `after` need be nobody who takes part.
  const rest = await host.command('get_participants', { conversation: conversation.id, after: 'user/n' })
  expect(rest.participants).toEqual(everyone.filter((user) => user > 'user/n'))
})

test('M2 update_conversation changes what it names and leaves the rest, and null takes the title away', async () => {
  await using room = await openRoom()
  const { conversation: id, clock } = room
  clock.advance(1_000)
  const update = async (changes: object) =>
    (
      await room.alice.commandOf<{ conversation: object }>({
        command: 'update_conversation',
        args: { conversation: id, ...changes },
      })
    ).conversation
  expect(await update({ title: 'Us', metadata: { a: 1 } })).toMatchObject({
    title: 'Us',
    metadata: { a: 1 },
    last_seq: 2,
  })
  expect(await update({ metadata: { b: 2 } })).toMatchObject({ title: 'Us', metadata: { b: 2 }, last_seq: 3 })
  expect(await update({ title: null })).toMatchObject({ title: null, metadata: { b: 2 }, last_seq: 4 })
  expect(await codeOf(update({}))).toBe('invalid_argument')
  expect(await codeOf(update({ metadata: null }))).toBe('invalid_argument')
  const told = (await room.bob.rest()).map(({ event, data }) => [event, 'record' in data && data.record])
  const { conversation } = await room.bob.command('get_conversation', { conversation: id })
  expect(told.length).toBe(3)
  expect(told.at(-1)).toEqual(['update', conversation])
})
