/** Arguments that are right, and all that may be wrong with them (W8, W9). */
import { describe, expect, it } from 'vitest'
import type { Args, CommandName } from '../../src/protocol/commands.ts'
import type { ConversationId, MessageId } from '../../src/protocol/ids.ts'
import { connect, open, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { alice, bob, codeOf, openRoom, refusal, say } from '../chat/stage.ts'
import { backendOnly, commandNames, nobodys, sampleArgs } from './sample-args.ts'

const { conversation, message } = nobodys
const time = '2026-01-01T00:00:00.000Z'

/** For each command every argument that it has, each of a kind that is taken. */
const fullArgs: { readonly [N in CommandName]: Required<Args<N>> } = {
  connect: { token: 'none', channel: 'none', cursor: 'none' },
  refresh_token: { token: 'none' },
  ping: {},
  get_user_channel: {},
  rotate_user_channel: { user: bob, revoke: false },
  create_conversation: {
    participants: [bob],
    title: 'title',
    metadata: {},
    admins: [bob],
    distinct_by_participants: true,
    client_id: 'c',
  },
  get_conversation: { conversation },
  get_conversations: { limit: 1, before: conversation },
  update_conversation: { conversation, title: 'title', metadata: {} },
  leave_conversation: { conversation },
  delete_conversation: { conversation },
  add_participants: { conversation, participants: [bob] },
  remove_participants: { conversation, participants: [bob] },
  add_admins: { conversation, admins: [bob] },
  remove_admins: { conversation, admins: [bob] },
  get_participants: { conversation, limit: 1, after: bob },
  create_message: { conversation, body: 'body', metadata: {}, attachment: {}, client_id: 'c' },
  edit_message: { message, body: 'body', metadata: {}, attachment: {}, revision: 1, client_id: 'c' },
  delete_message: { message },
  get_messages: { conversation, limit: 1, before_seq: 1, after_seq: 1, before_time: time },
  get_events: { conversation, after_seq: 0, limit: 1 },
  mark_as_last_message_read: { conversation, message },
  get_unread_count: {},
  update_user: { name: 'name', avatar_url: 'https://example.com/a.png', metadata: {} },
  get_users: { users: [bob] },
  typing: { conversation, event: 'begin' },
  subscribe_typing: { conversation },
  unsubscribe_typing: { conversation },
  create_token: { user: bob, ttl_seconds: 60 },
  put_user: { user: bob, name: 'name', avatar_url: 'https://example.com/a.png', metadata: {} },
  disconnect_user: { user: bob },
}

type ArgName = { [N in CommandName]: string extends keyof Args<N> ? never : keyof Args<N> }[CommandName]

const notStorable = ['\0', 'a\0b', '\ud800', 'a\udfff', '\udc00\ud800']
const notString = [true, 7, [], {}, ['text']]
const notText = [...notString, ...notStorable]
const noUuids = ['', '018f0000-0000-4000-8000-000000000000', '018f0000-0000-7000-c000-000000000000', 'x'.repeat(36)]
const notIds = [null, true, 7, [], {}, '', 'alice', '018f0000-0000-7000-8000-000000000000']
const notUsers = [
  ...notIds,
  'user/',
  'User/bob',
  'user/a b',
  'user/bob\n',
  '/user/bob',
  'user/user/bob',
  'user/é',
  'user/\0',
  'user/bob,user/carol',
  `user/${'x'.repeat(129)}`,
  conversation,
]
const typed = (type: string) => [
  ...notIds,
  ...noUuids.map((uuid) => `${type}/${uuid}`),
  `${type}/018F0000-0000-7000-8000-000000000000`,
  `${type}/018f0000-0000-7000-8000-000000000000\n`,
  `${type}/018f0000-0000-7000-8000-0000000000000`,
  ` ${type}/018f0000-0000-7000-8000-000000000000`,
  `${type.toUpperCase()}/018f0000-0000-7000-8000-000000000000`,
  `user_${type}/018f0000-0000-7000-8000-000000000000`,
  bob,
]
const lists = [null, true, 7, bob, {}, { 0: bob, length: 1 }, [[bob]], [bob, null], ...notUsers.map((one) => [one])]
const metadata = [
  true,
  7,
  '{}',
  [],
  [{}],
  ...notStorable.flatMap((text) => [{ a: text }, { [text]: 1 }, { a: [{ b: text }] }]),
]
const numbers = [null, true, '1', [], {}, -1, 0.5, 2 ** 53, 1e300, '']
const times = [null, true, 7, [], {}, '', 'now', '2026-01-01', '20260101T000000Z', '2026-02-30T00:00:00Z', `${time}\n`]

/** What is wrong for each argument, in whatever command. */
const wrong: { readonly [Name in ArgName]: readonly unknown[] } = {
  token: [null, ...notString],
  channel: [null, ...notText],
  cursor: [null, ...notString],
  participants: lists,
  admins: lists,
  users: lists,
  user: notUsers,
  after: notUsers,
  conversation: [...typed('conversation'), message],
  message: [...typed('message'), conversation],
  title: notText,
  name: notText,
  avatar_url: notText,
  body: [null, ...notText],
  metadata: [null, ...metadata],
  attachment: metadata,
  distinct_by_participants: [null, 0, 1, '', 'true', [], {}],
  revoke: [null, 0, 1, '', 'true', [], {}],
  client_id: [null, '', 'x'.repeat(129), ...notText],
  limit: [...numbers, 0],
  before: [...times, message, 'conversation/'],
  before_seq: numbers,
  after_seq: numbers,
  before_time: times,
  revision: [...numbers, 0],
  event: [null, true, 7, [], {}, '', 'Begin', 'begin ', 'end', 'constructor'],
  ttl_seconds: [...numbers, 0, 365 * 86_400 + 1],
}

/** The error that a command is answered with, wherever such a command is given. */
type Refuse = (command: CommandName, args: object) => Promise<{ code: string; message: string }>

function refusing(server: TestServer, session: RawSession, unconnected: RawSession): Refuse {
  return async (command, args) => {
    if (command === 'connect') return refusal(unconnected.commandOf({ command, args }))
    if (!backendOnly.includes(command as (typeof backendOnly)[number])) {
      return refusal(session.commandOf({ command, args }))
    }
    const { result, error } = await server.call(command, args)
    return error ?? expect.fail(`it was not refused: ${JSON.stringify(result)}`)
  }
}

/** The same arguments, naming what exists in place of what doesn't. */
function naming<A extends object>(args: A, real: { conversation: ConversationId; message: MessageId }): A {
  const text = JSON.stringify(args).replaceAll(conversation, real.conversation).replaceAll(message, real.message)
  return JSON.parse(text) as A
}

describe('arguments', () => {
  it('W9 of each argument of each command what is wrong is invalid_argument, names it, and changes nothing', async () => {
    await using room = await openRoom()
    const { server } = room.stage
    await using unconnected = await open(server)
    const refuse = refusing(server, room.alice, unconnected)
    const real = { conversation: room.conversation, message: (await say(room.alice, room.conversation, 'hello')).id }
    const state = async () => ({
      view: await room.alice.command('get_conversation', { conversation: room.conversation }),
      conversations: await room.alice.command('get_conversations'),
      events: await room.alice.command('get_events', { conversation: room.conversation, after_seq: 0 }),
      unread: await room.bob.command('get_unread_count'),
      users: await room.alice.command('get_users', { users: [alice, bob] }),
    })
    for (const session of [room.alice, room.bob]) await session.rest()
    const before = await state()
    let tried = 0
    for (const command of commandNames) {
      for (const key of Object.keys(fullArgs[command]) as ArgName[]) {
        const right = naming(
          { ...sampleArgs[command], [key]: (fullArgs[command] as { [key: string]: unknown })[key] },
          real,
        )
        const refused = await Promise.all(
          wrong[key].map(async (value) => ({ value, error: await refuse(command, { ...right, [key]: value }) })),
        )
        for (const { value, error } of refused) {
          expect([command, key, value, error.code]).toEqual([command, key, value, 'invalid_argument'])
          expect([command, key, value, error.message]).toEqual([command, key, value, expect.stringContaining(key)])
        }
        tried += refused.length
      }
    }
    expect(tried).toBeGreaterThan(900)
    expect(await state()).toEqual(before)
    for (const session of [room.alice, room.bob]) expect(await session.rest()).toEqual([])
    expect(await unconnected.command('connect', { token: await server.token('carol') })).toBeDefined()
  })

  it('W9 an argument that a command needs and does not get is invalid_argument, and names it', async () => {
    await using server = await startServer()
    await using session = await connect(server, alice)
    await using unconnected = await open(server)
    const refuse = refusing(server, session, unconnected)
    const optional = ['connect', 'update_conversation', 'edit_message', 'update_user', 'put_user']
    for (const command of commandNames) {
      for (const key of Object.keys(sampleArgs[command])) {
        const { [key as never]: _, ...args } = sampleArgs[command] as { [key: string]: unknown }
        const error = await refuse(command, args)
        expect([command, key, error.code]).toEqual([command, key, 'invalid_argument'])
        // Of these one of several is needed.
        if (!optional.includes(command)) expect(error.message).toContain(key)
      }
    }
  })

  it('W9 an unknown key is invalid_argument and named, in every command, whatever its name is', async () => {
    await using room = await openRoom()
    const { server } = room.stage
    await using unconnected = await open(server)
    const refuse = refusing(server, room.alice, unconnected)
    const keys = ['surprise', 'clientId', 'Conversation', 'id', '', ' ', 'constructor', 'toString', '__proto__', 'é\n"']
    for (const command of commandNames) {
      for (const key of keys) {
        const { code, message } = await refuse(command, { ...sampleArgs[command], [key]: {} })
        expect([command, key, code]).toEqual([command, key, 'invalid_argument'])
        expect([command, message]).toEqual([command, expect.stringContaining(JSON.stringify(key))])
        // So it is where it was meant for one that is needed, and where others are wrong.
        for (const args of [{}, Object.fromEntries(Object.keys(fullArgs[command]).map((one) => [one, 0.5]))]) {
          expect((await refuse(command, { ...args, [key]: {} })).message).toBe(message)
        }
      }
    }
    const { message } = await refuse('ping', { ['x'.repeat(60_000)]: 1 })
    expect(message).toContain('xxx')
    expect(message.length).toBeLessThan(200)
  })

  it('W9 text of all other characters is taken as it is, everywhere', async () => {
    await using room = await openRoom()
    const { alice: session, conversation } = room
    for (const text of [
      '',
      ' ',
      '\x01\x1f\x7f\n\r\t',
      '\\u0000',
      '\\ud800',
      '😀',
      '\uffff\ufdd0',
      '\u202e',
      "'; --",
      '{"',
    ]) {
      const data = { [`k${text}`]: text, list: [text, { [`k${text}`]: null }] }
      const titled = await session.command('update_conversation', { conversation, title: text, metadata: data })
      expect(titled.conversation).toMatchObject({ title: text, metadata: data })
      const sent = { conversation, body: text, metadata: data, attachment: data, client_id: `c${text}` }
      const { message } = await session.command('create_message', sent)
      expect(message).toMatchObject(sent)
      const profile = { name: text, avatar_url: text, metadata: data }
      expect((await session.command('update_user', profile)).user).toMatchObject(profile)
      const { data: pushed } = await room.bob.next(({ data }) => data.record.id === message.id)
      expect(pushed.record).toEqual(message)
      expect((await session.command('get_messages', { conversation, limit: 1 })).messages).toEqual([message])
    }
  })
})

describe('ids and times', () => {
  it('W8 a user’s id is user/ and 1–128 of its characters, and stands for that user alone', async () => {
    await using server = await startServer()
    await using session = await connect(server, alice)
    const users = ['user/0', 'user/-', 'user/..', 'user/~', 'user/a@b.c:1_2-3~4', `user/${'Z'.repeat(128)}`] as const
    for (const user of [...users, 'user/BOB', 'user/__proto__', 'user/constructor'] as const) {
      const { conversation } = await session.command('create_conversation', { participants: [user] })
      expect(conversation.participants).toEqual([alice, user].sort())
      expect((await server.call('get_conversations', {}, user)).result.conversations).toHaveLength(1)
      await using theirs = await connect(server, user)
      expect(theirs.greeting.user).toBe(user)
    }
    expect((await server.call('get_conversations', {}, 'user/bob')).result.conversations).toEqual([])
  })

  it('W8 ids that the server makes are of their type with a UUID of version 7, and times have milliseconds and Z', async () => {
    await using room = await openRoom()
    const { alice: session, conversation } = room
    const { id } = await say(session, conversation, 'one')
    await session.command('edit_message', { message: id, body: 'two' })
    await session.command('subscribe_typing', { conversation })
    await room.bob.command('typing', { conversation, event: 'begin' })
    await session.command('get_user_channel')
    await session.command('update_user', { name: 'Alice' })
    await session.command('delete_message', { message: id })
    await session.rest()
    await room.bob.command('mark_as_last_message_read', { conversation, message: id })
    const told = [...session.texts, ...room.bob.texts].join()
    const uuid = '[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}'
    const shapes: { readonly [type: string]: string } = {
      user: '(alice|bob)',
      user_conversation: `${uuid}:(alice|bob)`,
    }
    const types = new Set<string>()
    for (const [id, type = ''] of told.matchAll(/"([a-z_]+)\/[^"]*"/g)) {
      expect(id).toMatch(new RegExp(`^"${type}/${shapes[type] ?? uuid}"$`))
      types.add(type)
    }
    expect([...types].sort()).toEqual([
      'conversation',
      'message',
      'session',
      'user',
      'user_channel',
      'user_conversation',
    ])
    const times = [...told.matchAll(/"(?:\w+_at|at)":("[^"]*")/g)].map(([, time]) => time)
    expect(times.length).toBeGreaterThan(15)
    for (const time of times) expect(time).toMatch(/^"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"$/)
  })

  it('W8 a time may be told with another offset or precision, and means the same', async () => {
    await using room = await openRoom()
    const { alice: session, conversation } = room
    await say(session, conversation, 'one')
    room.clock.advance(1_000)
    await say(session, conversation, 'two')
    const now = new Date(room.clock.now()).toISOString()
    for (const before_time of [now, now.replace('.000Z', 'Z'), now.replace('T00:', 'T02:').replace('Z', '+02:00')]) {
      const { messages } = await session.command('get_messages', { conversation, before_time })
      expect([before_time, messages.map(({ body }) => body)]).toEqual([before_time, ['one']])
    }
    expect(await codeOf(session.command('get_messages', { conversation, before_time: 'now' }))).toBe('invalid_argument')
  })
})
