/** Who does too much of anything pays for it himself: everybody else's chat goes on (L2, L3, S6). */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { Server } from 'node:http'
import { expect, it } from 'vitest'
import { defaultLimits } from '../../src/engine/config.ts'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { connect, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { say } from '../chat/stage.ts'
import { closeCode, frameBytes, shakeHandsAs } from './raw-frames.ts'

/** Sends so many messages, each of which the other has before the next one. */
async function chat(from: RawSession, to: RawSession, conversation: ConversationId, rounds: number): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    const { id } = await say(from, conversation, `${round}`)
    await to.next(({ data }) => data.record_type === 'message' && data.record.id === id)
  }
}

const text = (command: string, args: object, id?: number) =>
  frameBytes({ opcode: 1, payload: JSON.stringify({ ...(id !== undefined && { id }), command, args }) })

it('L3 floods of commands end with 4429 for who sends them, and others’ messages go through meanwhile, none refused or lost', async () => {
  await using server = await startServer({ limits: defaultLimits })
  await using alice = await connect(server, 'user/alice')
  await using bob = await connect(server, 'user/bob')
  const { conversation } = await alice.command('create_conversation', { participants: ['user/bob', 'user/mallory'] })
  const nowhere = 'conversation/018f0000-0000-7000-8000-000000000000'
  const floods: Uint8Array[] = [
    text('ping', {}, 1),
    text('get_messages', { conversation: conversation.id, limit: 200 }, 1),
    text('create_message', { conversation: conversation.id, body: 'flood' }),
    text('create_message', { conversation: nowhere, body: 'x'.repeat(10_000) }, 1),
    text('typing', { conversation: conversation.id, event: 'begin' }),
    text('typing', { conversation: nowhere, event: 'finished' }),
    text('subscribe_typing', { conversation: nowhere }, 1),
    text('connect', { token: 'none' }, 1),
    text('refresh_token', { token: 'a.b.c' }, 1),
    text('no_such_command', {}, 1),
    text('rotate_user_channel', { revoke: false }),
    text('create_conversation', { participants: ['user/mallory2'] }),
  ]
  await using attack = new AsyncDisposableStack()
  const attackers = []
  for (const [index, frame] of floods.entries()) {
    const tcp = attack.use(await shakeHandsAs(server, `mallory${index % 3 || ''}`))
    for (let part = 0; part < 30; part++) tcp.socket.write(Buffer.concat(Array(100).fill(frame)))
    attackers.push(tcp)
  }
  await chat(alice, bob, conversation.id, 15)
  await chat(bob, alice, conversation.id, 15)
  for (const [index, tcp] of attackers.entries()) expect([index, await closeCode(tcp)]).toEqual([index, 4429])
  await chat(alice, bob, conversation.id, 5)
  // Of the messages of the flood as many were done as a user may send, and not one more than a second's worth or two.
  const flooded = bob.events.filter(({ data }) => JSON.stringify(data.record).includes('"flood"')).length
  expect(flooded).toBeLessThanOrEqual(defaultLimits.messagesBurst + 20 * 60)
  expect((await alice.command('get_unread_count')).conversation).toBeLessThanOrEqual(1)
  expect(server.logged.filter(({ level }) => level === 'error' || level === 'fatal')).toEqual([])
}, 60_000)

it('T4, L3 of a thousand subscriptions a hundred are taken, and when their session has gone nothing is left of them', async () => {
  await using server = await startServer({ limits: { ...defaultLimits, commandsPerSecond: 0, messagesPerSecond: 0 } })
  await using mallory = await connect(server, 'user/mallory')
  const conversations: ConversationId[] = []
  for (let count = 0; count < 200; count++) {
    conversations.push((await mallory.command('create_conversation', { participants: ['user/bob'] })).conversation.id)
  }
  const subscribing = Array.from({ length: 1_000 }, (_, index) =>
    mallory.command('subscribe_typing', { conversation: conversations[index % 200]! }).then(
      () => 'taken',
      ({ code }) => code as string,
    ),
  )
  const outcomes = await Promise.all(subscribing)
  expect(outcomes.slice(0, 100)).toEqual(Array(100).fill('taken'))
  expect(outcomes.slice(100, 200)).toEqual(Array(100).fill('conflict'))
  // What is watched already may be asked for again, and is one all the same.
  expect(outcomes.slice(200, 300)).toEqual(Array(100).fill('taken'))
  await using bob = await connect(server, 'user/bob')
  for (const conversation of conversations.slice(98, 102)) {
    await bob.command('typing', { conversation, event: 'begin' })
  }
  await mallory.nextTyping(({ data }) => conversations[99]! in data)
  const told = (await mallory.rest()).flatMap((push) => ('data' in push ? Object.keys(push.data) : []))
  expect(told).not.toContain(conversations[100])
})

it('OPERATOR a connection that can not be taken is told of, and ends nothing', async () => {
  // Where the process may open no more files Node tells the listening server so; which one that is, it tells with a request.
  const seen: { server: Server }[] = []
  const see = (message: unknown) => seen.push(message as { server: Server })
  subscribe('http.server.request.start', see)
  await using server = await startServer()
  await fetch(`${server.url}/livez`)
  unsubscribe('http.server.request.start', see)
  const error = Object.assign(new Error('accept EMFILE'), { code: 'EMFILE', syscall: 'accept' })
  for (let again = 0; again < 3; again++) seen[0]!.server.emit('error', error)
  expect((await fetch(`${server.url}/livez`)).status).toBe(200)
  expect(server.logged.filter(({ event }) => event === 'fault')).toEqual(
    Array(3).fill(
      expect.objectContaining({ doing: 'taking a connection', error: expect.stringContaining('accept EMFILE') }),
    ),
  )
})
