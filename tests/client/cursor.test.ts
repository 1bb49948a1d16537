/** A page that keeps its cursor, is closed, and comes back: the real SDK and the real server. */
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { type Chat, type ChatOptions, createChat, type Gap, type RecordEvent } from '../../src/client/index.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { reached, recorder } from './open-chat.ts'

const dayMs = 86_400_000

/** A page with all that it is told: events, gaps, and whether it must load anew. */
async function openPage(server: TestServer, name: string, options: Partial<ChatOptions> = {}) {
  const chat = createChat({ url: server.url, token: () => server.token(name), WebSocket, ...options })
  const events = recorder<RecordEvent>()
  const gaps: Gap[] = []
  let resets = 0
  chat.subscribe(events.callback)
  chat.onGap((gap) => gaps.push(gap))
  chat.onReset(() => resets++)
  await reached(chat, 'connected')
  return {
    chat,
    events,
    gaps,
    get resets() {
      return resets
    },
    [Symbol.dispose]: () => chat.close(),
  }
}

/** The bodies of the messages that were told of, once there are `count` events. */
async function bodies(page: { readonly events: ReturnType<typeof recorder<RecordEvent>> }, count: number) {
  while (page.events.got.length < count) await page.events.next()
  return page.events.got.map(({ record_type, record }) => (record_type === 'message' ? record.body : record_type))
}

/** A page of bob's that has seen what alice wrote, and was closed; its cursor was kept. */
async function openRoom(clock: FakeClock) {
  const server = await startServer({ clock })
  const alice = await openPage(server, 'alice')
  const { conversation } = await alice.chat.createDirectConversation('user/bob')
  let cursor: string | null
  {
    using bob = await openPage(server, 'bob')
    await alice.chat.createMessage(conversation, 'seen')
    expect(await bodies(bob, 1)).toEqual(['seen'])
    cursor = bob.chat.cursor
  }
  return {
    server,
    alice: alice.chat,
    conversation,
    cursor,
    async [Symbol.asyncDispose]() {
      alice.chat.close()
      await server[Symbol.asyncDispose]()
    },
  }
}

async function write(chat: Chat, conversation: { readonly id: `conversation/${string}` }, ...texts: string[]) {
  for (const text of texts) await chat.createMessage(conversation, text)
}

test('C1, R2 a page that keeps its cursor and is closed for a day comes back with what it missed, and loads nothing anew', async () => {
  const clock = new FakeClock()
  await using room = await openRoom(clock)
  await write(room.alice, room.conversation, 'one', 'two')
  clock.advance(dayMs)
  // Her token has run out meanwhile.
  await reached(room.alice, 'connected')
  await write(room.alice, room.conversation, 'three')

  using bob = await openPage(room.server, 'bob', { cursor: room.cursor })
  expect(await bodies(bob, 3)).toEqual(['one', 'two', 'three'])
  await write(room.alice, room.conversation, 'live')
  expect(await bodies(bob, 4)).toEqual(['one', 'two', 'three', 'live'])
  expect([bob.resets, bob.gaps]).toEqual([0, []])
})

test('C4, R4 a page that missed more than the server pushes has the gap filled from history, and is told everything in order', async () => {
  const clock = new FakeClock()
  await using room = await openRoom(clock)
  const count = 700
  for (let number = 0; number < count; number++) {
    await room.server.call('create_message', { conversation: room.conversation.id, body: `${number}` }, 'user/alice')
  }
  using bob = await openPage(room.server, 'bob', { cursor: room.cursor })
  expect(await bodies(bob, count)).toEqual(Array.from({ length: count }, (_, number) => `${number}`))
  expect([bob.resets, bob.gaps]).toEqual([0, []])
})

test('R5, C4 a page that comes back after the retention is told to load anew, and goes on live', async () => {
  const clock = new FakeClock()
  await using room = await openRoom(clock)
  await write(room.alice, room.conversation, 'long ago')
  clock.advance(31 * dayMs)
  await reached(room.alice, 'connected')
  await expect
    .poll(
      async () => {
        // The log is looked at every ten minutes.
        clock.advance(600_000)
        using bob = await openPage(room.server, 'bob', { cursor: room.cursor })
        return bob.resets
      },
      { timeout: 15_000 },
    )
    .toBe(1)
  using bob = await openPage(room.server, 'bob', { cursor: room.cursor })
  expect(bob.resets).toBe(1)
  await write(room.alice, room.conversation, 'now')
  expect(await bodies(bob, 1)).toEqual(['now'])
})
