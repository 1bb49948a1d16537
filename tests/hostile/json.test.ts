/** JSON that is meant to do more than say something: keys that objects have of themselves, keys that come twice, depth and size (W2, W9, E1). */
import { describe, expect, it } from 'vitest'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { connect, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { noConversation } from '../chat/stage.ts'

/** Sends a frame as it is written here; the text of its reply. */
async function replyTo(session: RawSession, id: number, frame: string): Promise<string> {
  session.send(frame)
  await session.reply(id)
  return session.texts.findLast((text) => text.startsWith(`{"id":${id},`)) as string
}

/** What every object of the server would have, had one of these been taken for a prototype. */
const polluted = () => ({}) as { admin?: unknown; user?: unknown; polluted?: unknown; isAdmin?: unknown }

const tricks = [
  '{"__proto__":{"admin":true,"user":"user/bob","polluted":1}}',
  '{"constructor":{"prototype":{"polluted":1}}}',
  '{"a":{"__proto__":{"polluted":1}}}',
  '{"a":[{"constructor":{"prototype":{"polluted":1}}}]}',
  '{"__proto__":null}',
  '{"__proto__":[1],"toString":1,"hasOwnProperty":{},"valueOf":"x","then":{"a":1},"toJSON":"x","length":-1}',
  '{"":"","\\u0001":1,"a.b":2,"$where":"1","$ne":null}',
]

describe('keys that objects have of themselves', () => {
  it('E1 stand in metadata as any other key, come back as they were written, live, later and after a restart, and change nothing', async () => {
    await using server = await startServer()
    const { conversation } = await made(server)
    for (const [index, trick] of tricks.entries()) {
      await using alice = await connect(server, 'user/alice')
      await using bob = await connect(server, 'user/bob')
      const args = `{"conversation":"${conversation}","body":"b","metadata":${trick},"attachment":${trick}}`
      const reply = await replyTo(alice, 2_000, `{"id":2000,"command":"create_message","args":${args}}`)
      const expected = `"metadata":${trick},"attachment":${trick}`
      expect([trick, reply]).toEqual([trick, expect.stringContaining(expected)])
      await bob.next(({ data }) => data.record_type === 'message')
      expect(bob.texts.at(-1)).toContain(expected)
      const titled = `{"conversation":"${conversation}","title":"t${index}","metadata":${trick}}`
      expect(await replyTo(alice, 2_001, `{"id":2001,"command":"update_conversation","args":${titled}}`)).toContain(
        trick,
      )
      expect(await replyTo(alice, 2_002, `{"id":2002,"command":"update_user","args":{"metadata":${trick}}}`)).toContain(
        trick,
      )
    }
    expect(polluted()).toEqual({})
    expect(polluted().polluted ?? polluted().admin ?? polluted().user).toBeUndefined()

    await server.stop()
    await server.start()
    await using bob = await connect(server, 'user/bob')
    const history = await replyTo(
      bob,
      2_003,
      `{"id":2003,"command":"get_messages","args":{"conversation":"${conversation}"}}`,
    )
    for (const trick of tricks) expect(history).toContain(`"metadata":${trick},"attachment":${trick}`)
    const { conversations } = await bob.command('get_conversations')
    expect(conversations[0]?.user_conversation.is_admin).toBe(false)
  })

  it('W9 are unknown arguments, in whatever place, and nothing is done', async () => {
    await using server = await startServer()
    const { conversation } = await made(server)
    await using alice = await connect(server, 'user/alice')
    const at = `"conversation":"${conversation}"`
    const bad = [
      ['create_message', `{${at},"body":"b","__proto__":{"metadata":{}}}`],
      ['create_message', `{"__proto__":{${at},"body":"b"}}`],
      ['create_message', `{${at},"body":"b","constructor":{"prototype":{"polluted":1}}}`],
      ['update_user', '{"__proto__":{"name":"x"}}'],
      ['create_conversation', '{"participants":["user/bob"],"__proto__":{"admins":["user/bob"]}}'],
      ['create_conversation', '{"participants":{"__proto__":["user/bob"],"length":1,"0":"user/bob"}}'],
      ['get_users', '{"users":["__proto__"]}'],
      ['get_users', '{"users":{"length":1e9}}'],
      ['get_messages', `{${at},"limit":{"__proto__":{"valueOf":1}}}`],
      ['typing', `{${at},"event":"__proto__"}`],
      ['typing', `{${at},"event":"constructor"}`],
    ]
    for (const [index, [command, args]] of bad.entries()) {
      const id = 3_000 + index
      const reply = await replyTo(alice, id, `{"id":${id},"command":"${command}","args":${args}}`)
      expect([args, reply]).toEqual([args, expect.stringContaining('"code":"invalid_argument"')])
    }
    expect((await alice.command('get_messages', { conversation })).messages).toEqual([])
    expect((await alice.command('get_conversations')).conversations).toHaveLength(1)
    expect(polluted().polluted).toBeUndefined()
  })

  it('U1, T3 are users like any other, where they are user ids', async () => {
    await using server = await startServer()
    const names = ['user/__proto__', 'user/constructor', 'user/toString', 'user/hasOwnProperty'] as const
    await using host = await connect(server, names[0])
    const { conversation } = await host.command('create_conversation', { participants: [...names] })
    expect(conversation.participants).toEqual([...names].sort())
    for (const name of names.slice(1)) {
      await using guest = await connect(server, name)
      await host.command('subscribe_typing', { conversation: conversation.id })
      await guest.command('typing', { conversation: conversation.id, event: 'begin' })
      const { data } = await host.nextTyping(({ data }) => name in (data[conversation.id] ?? {}))
      expect(Object.keys(data[conversation.id] as object)).toContain(name)
      await guest.command('create_message', { conversation: conversation.id, body: 'b' })
      await host.command('unsubscribe_typing', { conversation: conversation.id })
      const channel = (await guest.command('get_user_channel')).user_channel
      expect(channel.user).toBe(name)
    }
    expect((await host.command('get_unread_count')).message).toBe(3)
  })
})

describe('odd frames', () => {
  it('W2 of a key that comes twice the last counts, for what is checked and for what is done', async () => {
    await using server = await startServer()
    const { conversation } = await made(server)
    await using alice = await connect(server, 'user/alice')
    const twice = `{"id":1,"id":4000,"command":"ping","command":"create_message","args":{},"args":{"conversation":"${noConversation}","conversation":"${conversation}","body":7,"body":"the last","metadata":7,"metadata":{"a":1,"a":2}}}`
    expect(await replyTo(alice, 4_000, twice)).toContain('"body":"the last","metadata":{"a":2}')
    const forged = `{"id":4001,"command":"get_messages","args":{"conversation":"${conversation}","conversation":"${noConversation}"}}`
    expect(await replyTo(alice, 4_001, forged)).toContain('"code":"not_found"')
  })

  it('W9 a number that no double holds is refused in metadata and attachment, however deep, and any other is taken as a double', async () => {
    await using server = await startServer()
    const { conversation } = await made(server)
    await using alice = await connect(server, 'user/alice')
    let id = 4_100
    const send = (command: string, args: string) =>
      replyTo(alice, ++id, `{"id":${id},"command":"${command}","args":{${args}}}`)
    const message = `"conversation":"${conversation}","body":"b"`
    for (const number of ['1e400', '-1e999', '9'.repeat(310)]) {
      for (const value of [`{"a":${number}}`, `{"a":[0,{"b":[${number}]}]}`]) {
        for (const [command, args, key] of [
          ['create_message', message, 'metadata'],
          ['create_message', message, 'attachment'],
          ['create_conversation', '"participants":[]', 'metadata'],
          ['update_conversation', `"conversation":"${conversation}"`, 'metadata'],
          ['update_user', '"name":"Alice"', 'metadata'],
        ] as const) {
          const reply = await send(command, `${args},"${key}":${value}`)
          expect([command, value, reply]).toEqual([command, value, expect.stringContaining('"invalid_argument"')])
          expect(reply).toContain(`"message":"${key}: `)
        }
      }
    }
    expect((await alice.command('get_messages', { conversation })).messages).toEqual([])
    expect((await alice.command('get_conversations')).conversations).toHaveLength(1)
    for (const number of ['9007199254740991', '9007199254740993', '1.7976931348623157e308', '1e-400', '0.1', '-5']) {
      const reply = await send('create_message', `${message},"metadata":{"a":${number}}`)
      expect([number, reply]).toEqual([number, expect.stringContaining(`"metadata":{"a":${Number(number)}}`)])
    }
  })

  it('W3, W9 a frame full of keys, of brackets or of one long key is answered, with a short text', async () => {
    await using server = await startServer()
    await using alice = await connect(server, 'user/alice')
    const keys = Array.from({ length: 6_000 }, (_, index) => `"${index}":0`).join()
    const deep = (open: string, close: string, levels: number) => `${open.repeat(levels)}1${close.repeat(levels)}`
    const frames: { [what: string]: string } = {
      'many keys': `{${keys}}`,
      'one long key': `{"${'k'.repeat(60_000)}":1}`,
      'lists in lists': `{"users":${deep('[', ']', 30_000)}}`,
      'objects in objects': `{"users":${deep('{"a":', '}', 10_000)}}`,
      'a long list': `{"users":[${'1,'.repeat(30_000)}1]}`,
      'a long number': `{"users":${'9'.repeat(60_000)}}`,
      'escapes alone': `{"users":"${'\\u0041'.repeat(10_000)}"}`,
      'a long user id': `{"users":["user/${'x'.repeat(60_000)}"]}`,
    }
    let id = 5_000
    for (const [what, args] of Object.entries(frames)) {
      const reply = await replyTo(alice, ++id, `{"id":${id},"command":"get_users","args":${args}}`)
      expect([what, reply]).toEqual([what, expect.stringMatching(/"code":"(invalid_argument|too_large)"/)])
      expect(reply.length).toBeLessThan(400)
    }
    expect(await alice.rest()).toEqual([])
  })
})

async function made(server: TestServer): Promise<{ conversation: ConversationId }> {
  const { result } = await server.call('create_conversation', { participants: ['user/bob'] }, 'user/alice')
  return { conversation: result.conversation.id }
}
