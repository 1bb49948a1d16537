/** Where the SDK's typing is tested: Bob's page in a browser, and Alice, who watches from elsewhere. */
import type { Page } from 'playwright-core'
import type { TypingFrame } from '../../src/protocol/frames.ts'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { typingPushIntervalMs } from '../../src/protocol/typing.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { connect, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { startApplication } from './application.ts'
import { eventually, openWindow, type Window } from './chromium.ts'
import type { ChatPage } from './page/chat-page.ts'

/** In the page. */
declare const chatPage: ChatPage

/** The clocks of the page and of the server stand until the test moves them. */
export class Room implements AsyncDisposable {
  readonly server: TestServer
  readonly alice: RawSession
  readonly page: Page
  readonly conversation: ConversationId
  /** What Bob's page has sent of his typing. */
  readonly sent: string[]
  readonly #clock: FakeClock
  readonly #ending: AsyncDisposableStack

  private constructor(
    parts: Pick<Room, 'server' | 'alice' | 'page' | 'conversation' | 'sent'>,
    clock: FakeClock,
    ending: AsyncDisposableStack,
  ) {
    this.server = parts.server
    this.alice = parts.alice
    this.page = parts.page
    this.conversation = parts.conversation
    this.sent = parts.sent
    this.#clock = clock
    this.#ending = ending
  }

  static async open(): Promise<Room> {
    await using ending = new AsyncDisposableStack()
    const clock = new FakeClock(Date.now())
    const app = ending.use(await startApplication((user) => server.token(user)))
    const server: TestServer = ending.use(await startServer({ origins: [app.url], clock }))
    const alice = ending.use(await connect(server, 'user/alice'))
    const { conversation } = await alice.command('create_conversation', { participants: ['user/bob'] })
    await alice.command('subscribe_typing', { conversation: conversation.id })
    await alice.rest()

    const window = ending.use(await openWindow())
    const sent = recordTyping(window)
    await window.context.clock.install()
    const page = await app.open(window, 'bob', server.url)
    await connected(page)
    await page.clock.pauseAt(new Date(Date.now() + 5_000))
    return new Room({ server, alice, page, conversation: conversation.id, sent }, clock, ending.move())
  }

  async bind(element: string): Promise<void> {
    await this.page.evaluate(
      ([id, conversation]) => {
        Object.assign(globalThis, { unbind: chatPage.bind(id, conversation) })
      },
      [element, this.conversation] as const,
    )
    await this.page.locator(`#${element}`).focus()
  }

  /** What Alice is told next of Bob's typing. */
  async told(): Promise<unknown> {
    const { data } = await this.alice.nextTyping()
    // The next change may then be told at once (T5).
    this.#clock.advance(typingPushIntervalMs)
    return stateOf({ data } as TypingFrame, this.conversation)
  }

  /** What else she was told, once all that Bob's page sent has been done. */
  async rest(): Promise<unknown[]> {
    await this.page.evaluate(() => chatPage.chat.getUnreadCount())
    return await this.alice.rest()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#ending.disposeAsync()
  }
}

/** What a push of typing says of Bob. */
export function stateOf({ data }: TypingFrame, conversation: ConversationId): unknown {
  return data[conversation]?.['user/bob']?.event
}

function recordTyping(window: Window): string[] {
  const sent: string[] = []
  window.context.on('page', (page) =>
    page.on('websocket', (socket) =>
      socket.on('framesent', ({ payload }) => {
        const { command, args } = JSON.parse(String(payload))
        if (command === 'typing') sent.push(args.event)
      }),
    ),
  )
  return sent
}

export async function connected(page: Page): Promise<void> {
  await eventually(() => page.evaluate(() => chatPage.chat.state.status)).toBe('connected')
}
