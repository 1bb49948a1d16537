import type { Page } from 'playwright-core'
import { expect } from 'vitest'
import type { TypingFrame } from '../../src/protocol/frames.ts'
import { connect } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { startApplication } from './application.ts'
import { browserTest, eventually, openWindow } from './chromium.ts'
import type { ChatPage } from './page/chat-page.ts'
import { connected, Room, stateOf } from './room.ts'

/** In the page. */
declare const chatPage: ChatPage

/** What is written in an element, whatever its kind. */
function textIn(page: Page, element: string): Promise<unknown> {
  return page.evaluate(`(({ value, textContent }) => value ?? textContent)(document.getElementById('${element}'))`)
}

/** Long after every pause, and not so long that the SDK would miss a ping's answer, which takes real time (C7). */
const longAfterMs = 12_000

for (const element of ['input', 'textarea', 'editable']) {
  browserTest(
    `C2 what is typed is begin, a rest of 3 s pause, and leaving the element finished: ${element}`,
    async () => {
      await using room = await Room.open()
      const { keyboard, clock } = room.page
      await room.bind(element)
      await keyboard.type('Hello')
      expect(await room.told()).toBe('begin')
      await clock.runFor(2_900)
      expect(await room.rest()).toEqual([])
      await clock.runFor(100)
      expect(await room.told()).toBe('pause')
      await keyboard.type('!')
      expect(await room.told()).toBe('begin')
      await keyboard.press('Tab')
      expect(await room.told()).toBe('finished')
      await clock.runFor(longAfterMs)
      expect(await room.rest()).toEqual([])
      expect(room.sent).toEqual(['begin', 'pause', 'begin', 'finished'])
      expect(await textIn(room.page, element)).toBe('Hello!')
    },
  )

  browserTest(
    `C2 what is pasted is begin, and what is cut or deleted to the last letter finished: ${element}`,
    async () => {
      await using room = await Room.open()
      const { keyboard } = room.page
      await room.page.locator('#source').focus()
      await keyboard.press('Control+A')
      await keyboard.press('Control+C')
      await room.bind(element)
      await keyboard.press('Control+V')
      expect(await room.told()).toBe('begin')
      expect(await textIn(room.page, element)).toBe('from elsewhere')
      await keyboard.press('Control+A')
      await keyboard.press('Control+X')
      expect(await room.told()).toBe('finished')
      await keyboard.type('x')
      expect(await room.told()).toBe('begin')
      await keyboard.press('Backspace')
      expect(await room.told()).toBe('finished')
      expect(await room.rest()).toEqual([])
    },
  )

  browserTest(`C2 what an IME composes is begin before it is done, as what is dictated is: ${element}`, async () => {
    await using room = await Room.open()
    const { clock } = room.page
    await room.bind(element)
    const devTools = await room.page.context().newCDPSession(room.page)
    await devTools.send('Input.imeSetComposition', { text: 'に', selectionStart: 1, selectionEnd: 1 })
    expect(await room.told()).toBe('begin')
    await clock.runFor(3_000)
    expect(await room.told()).toBe('pause')
    await devTools.send('Input.imeSetComposition', { text: 'にほん', selectionStart: 3, selectionEnd: 3 })
    expect(await room.told()).toBe('begin')
    await clock.runFor(3_000)
    expect(await room.told()).toBe('pause')
    // The IME's choice comes as a text that nobody typed, like dictation's.
    await devTools.send('Input.insertText', { text: '日本' })
    expect(await room.told()).toBe('begin')
    expect(await textIn(room.page, element)).toBe('日本')
    expect(await room.rest()).toEqual([])
  })
}

browserTest(
  'C2 a picture in a contenteditable element is begin, and the element is not empty until it is gone',
  async () => {
    await using room = await Room.open()
    const { keyboard } = room.page
    await room.bind('editable')
    await room.page.evaluate(`document.execCommand('insertHTML', false, '<img alt="" src="data:,">')`)
    expect(await room.told()).toBe('begin')
    await keyboard.type('x')
    await keyboard.press('Backspace')
    expect(await room.rest()).toEqual([])
    await keyboard.press('Backspace')
    expect(await room.told()).toBe('finished')
    expect(room.sent).toEqual(['begin', 'finished'])
  },
)

browserTest(
  'C2 what is typed into a contenteditable list item is begin, though the item has a value of its own',
  async () => {
    await using room = await Room.open()
    const { keyboard } = room.page
    await room.bind('item')
    await keyboard.type('x')
    expect(await room.told()).toBe('begin')
    await keyboard.press('Backspace')
    expect(await room.told()).toBe('finished')
    expect(room.sent).toEqual(['begin', 'finished'])
  },
)

browserTest('C2 begin is sent at most once a second while one types', async () => {
  await using room = await Room.open()
  await room.bind('input')
  for (let ms = 0; ms < 3_000; ms += 100) {
    await room.page.keyboard.type('x')
    await room.page.clock.runFor(100)
  }
  await room.rest()
  expect(room.sent).toEqual(['begin', 'begin', 'begin'])
})

browserTest('C2, T2 finished is sent with the message and told before it, however soon after begin', async () => {
  await using room = await Room.open()
  await room.bind('textarea')
  await room.page.keyboard.type('Hello')
  await room.alice.nextTyping()
  await room.page.evaluate((conversation) => chatPage.chat.createMessage(conversation, 'Hello'), room.conversation)
  const pushes = await room.alice.rest()
  expect(pushes.map(({ event }) => event)).toEqual(['typing', 'create'])
  expect(stateOf(pushes[0] as TypingFrame, room.conversation)).toBe('finished')
  await room.page.keyboard.type('!')
  await room.rest()
  expect(room.sent, 'the element stays bound').toEqual(['begin', 'finished', 'begin'])
})

browserTest('C2 finished is sent when the page is left', async () => {
  await using room = await Room.open()
  await room.bind('input')
  await room.page.keyboard.type('Hello')
  expect(await room.told()).toBe('begin')
  // Another session of Bob's takes over his typing, so that the end of the page's own does not end it.
  await using bob = await connect(room.server, 'user/bob')
  await bob.command('typing', { conversation: room.conversation, event: 'begin' })
  await room.page.goto('about:blank')
  expect(await room.told()).toBe('finished')
})

browserTest('C2 finished is sent when the element is unbound, and nothing is after it', async () => {
  await using room = await Room.open()
  await room.bind('editable')
  await room.page.keyboard.type('Hello')
  expect(await room.told()).toBe('begin')
  await room.page.evaluate('unbind()')
  expect(await room.told()).toBe('finished')
  await room.page.keyboard.type('Hello')
  await room.page.keyboard.press('Tab')
  await room.page.clock.runFor(longAfterMs)
  expect(await room.rest()).toEqual([])
  expect(room.sent).toEqual(['begin', 'finished'])
})

browserTest(
  'C1, C3 pages of an application chat: each call gives its record, and each callback gets its event',
  async () => {
    await using app = await startApplication((user) => server.token(user))
    await using server: TestServer = await startServer({ origins: [app.url] })
    await using window = await openWindow()
    const alice = await app.open(window, 'alice', server.url)
    const bob = await app.open(window, 'bob', server.url)
    for (const page of [alice, bob]) await connected(page)

    const { conversation, created, user } = await alice.evaluate(async () => {
      const { chat } = chatPage
      return { ...(await chat.createDirectConversation('user/bob', 'Two')), user: chat.user }
    })
    expect({ created, user, title: conversation.title }).toEqual({ created: true, user: 'user/alice', title: 'Two' })
    const [sent, edited, deleted] = await alice.evaluate(async (conversation) => {
      const { chat } = chatPage
      const sent = await chat.createMessage(conversation, 'Hello', { mood: 'fine' })
      return [sent, await chat.editMessage(sent, 'Hello, Bob'), await chat.deleteMessage(sent)]
    }, conversation)
    expect([sent?.body, edited?.body, deleted?.body]).toEqual(['Hello', 'Hello, Bob', ''])

    const events = () => bob.evaluate(() => chatPage.events)
    await eventually(async () => (await events()).length).toBe(4)
    expect(await events()).toEqual([
      { record_type: 'conversation', event_type: 'create', record: conversation, original_record: null },
      { record_type: 'message', event_type: 'create', record: sent, original_record: null },
      { record_type: 'message', event_type: 'update', record: edited, original_record: sent },
      {
        record_type: 'message',
        event_type: 'delete',
        record: deleted,
        original_record: { ...edited, body: '', metadata: {} },
      },
    ])

    const answer = await bob.evaluate(async (conversation) => {
      const { chat, typing } = chatPage
      chat.subscribeTypingIndicator(conversation, (set) => typing.push(set))
      const message = await chat.createMessage(conversation, 'Hello, Alice')
      const unread = await chat.getUnreadCount()
      return { message, unread, messages: await chat.getMessages(conversation) }
    }, conversation)
    expect(answer.messages).toEqual([answer.message, deleted])
    expect(answer.unread).toEqual({ conversation: 0, message: 0 })
    expect(await alice.evaluate(() => chatPage.chat.getUnreadCount())).toEqual({ conversation: 1, message: 1 })

    await alice.evaluate((conversation) => chatPage.chat.sendTypingIndicator(conversation, 'begin'), conversation)
    await eventually(() => bob.evaluate(() => chatPage.typing.at(-1)?.['user/alice']?.event)).toBe('begin')
    await bob.evaluate(async (conversation) => {
      chatPage.chat.unsubscribe()
      chatPage.chat.unsubscribeTypingIndicator(conversation)
      await chatPage.chat.getUnreadCount()
      chatPage.typing.length = 0
    }, conversation)
    await alice.evaluate((conversation) => chatPage.chat.createMessage(conversation, 'Are you there?'), conversation)
    await bob.evaluate(() => chatPage.chat.getUnreadCount())
    expect([(await events()).length, await bob.evaluate(() => chatPage.typing)]).toEqual([5, []])
  },
)

browserTest('S1 the token is in no URL that a page asks for', async () => {
  const urls: string[] = []
  const tokens: string[] = []
  await using app = await startApplication(async (user) => {
    tokens.push(await server.token(user))
    return tokens.at(-1)!
  })
  await using server: TestServer = await startServer({ origins: [app.url] })
  await using window = await openWindow()
  window.context.on('request', (request) => urls.push(request.url()))
  window.context.on('page', (page) => page.on('websocket', (socket) => urls.push(socket.url())))
  await connected(await app.open(window, 'bob', server.url))
  expect(urls).toContain(server.socketUrl)
  expect(tokens).toHaveLength(1)
  expect(urls.filter((url) => url.includes(tokens[0]!))).toEqual([])
})

browserTest(
  'S8 a page of another origin connects and calls where that origin is allowed, exactly, and else not',
  async () => {
    await using app = await startApplication((user) => server.token(user))
    await using server: TestServer = await startServer({ origins: [app.url] })
    await using window = await openWindow({ allowed: /WebSocket connection to|CORS policy|net::ERR_FAILED/ })
    const token = await server.token('bob')
    const called = (page: Page) =>
      page.evaluate(
        async ([url, token]) => {
          const headers = { authorization: `Bearer ${token}` }
          const answer = await fetch(`${url}/v2/get_unread_count`, { method: 'POST', headers }).catch(() => null)
          return answer && (await answer.json())
        },
        [server.url, token] as const,
      )

    const allowed = await app.open(window, 'bob', server.url)
    await connected(allowed)
    expect(await called(allowed)).toEqual({ result: { conversation: 0, message: 0 } })
    expect(window.complaints).toEqual([])

    // The same host by another name is another origin, and so is another port.
    await using stranger = await startApplication((user) => server.token(user))
    for (const origin of [app.url.replace('127.0.0.1', 'localhost'), stranger.url]) {
      const page = await app.open(window, 'bob', server.url, origin)
      await eventually(() => page.evaluate(() => chatPage.chat.state.status)).toBe('waiting')
      expect(await page.evaluate(() => chatPage.states)).not.toContain('connected')
      expect(await called(page)).toBeNull()
    }
  },
)
