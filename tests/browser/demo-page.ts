/** The demo page as the people on it use it: by what they see. */
import type { Locator, Page } from 'playwright-core'
import type { TestServer } from '../../src/testing/start-server.ts'
import { eventually, type Window } from './chromium.ts'

/** One person's side of the conversation. */
export class Side {
  readonly page: Page
  readonly section: Locator
  readonly input: Locator
  readonly log: Locator
  readonly typing: Locator
  readonly connection: Locator

  constructor(page: Page, name: string) {
    this.page = page
    this.section = page.getByRole('region', { name: `${name}’s side` })
    this.input = this.section.getByRole('textbox')
    this.log = this.section.getByRole('log')
    this.typing = this.section.locator('.typing')
    this.connection = this.section.locator('.connection')
  }

  /** The latest line, or the one with this text. */
  line(text?: string): Locator {
    const lines = this.log.getByRole('listitem')
    return text === undefined ? lines.last() : lines.filter({ hasText: text })
  }

  /** What the lines say, without their times. */
  lines(): Promise<string[]> {
    return this.log.locator('.body').allInnerTexts()
  }

  async isReady(): Promise<void> {
    await eventually(() => this.log.getAttribute('aria-busy')).toBe('false')
  }

  async write(text: string): Promise<void> {
    await this.input.fill(text)
    await this.input.press('Enter')
  }

  async change(text: string, changed: string): Promise<void> {
    await this.line(text).getByRole('button', { name: /^Edit/ }).click()
    await this.write(changed)
  }

  async remove(text: string): Promise<void> {
    await this.line(text)
      .getByRole('button', { name: /^Delete/ })
      .click()
  }
}

/** The ways in which the page shows two people: what a way is called, and how it is opened. */
export const ways: readonly [name: string, open: typeof openSideBySide][] = [
  ['side by side', openSideBySide],
  ['in two tabs', openTabs],
]

/** Alice's side and Bob's on one page. */
export async function openSideBySide(window: Window, server: TestServer): Promise<[Side, Side]> {
  const page = await window.open(server.url)
  return await ready([new Side(page, 'Alice'), new Side(page, 'Bob')])
}

/** Alice's side and Bob's, each in a tab. */
async function openTabs(window: Window, server: TestServer): Promise<[Side, Side]> {
  const alice = await window.open(`${server.url}/?user=alice&with=bob`)
  const bob = await window.open(`${server.url}/?user=bob&with=alice`)
  return await ready([new Side(alice, 'Alice'), new Side(bob, 'Bob')])
}

async function ready(sides: [Side, Side]): Promise<[Side, Side]> {
  for (const side of sides) await side.isReady()
  return sides
}
