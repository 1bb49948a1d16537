/**
 * Chromium for tests: one for each test file, and in it a window of each test's own. A page that complains (by an error, on the console,
 * of what its policy forbids, or by a dialog) fails its test.
 *
 *     FANFARE_SCREENSHOTS=/tmp/pages npx vitest run tests/browser    # keeps a picture of each page as its test leaves it
 */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from 'playwright-core'
import { afterAll, expect, onTestFinished, test } from 'vitest'

const howToInstall = 'on Debian: apt-get install chromium'
const path = findInPath('chromium')
let browser: Promise<Browser> | null = null
let skipped = 0

afterAll(async () => {
  await (await browser)?.close()
})

/** A test that needs Chromium. Where there is none it is skipped, and says so; where `CI` is set it fails. */
export const browserTest: (title: string, run: () => Promise<void>) => void = path || process.env.CI ? test : skip

function skip(title: string, run: () => Promise<void>): void {
  if (skipped++ === 0)
    process.stderr.write(`NO CHROMIUM in PATH, so tests are skipped; install it (${howToInstall}):\n`)
  process.stderr.write(`  SKIPPED ${title}\n`)
  test.skip(title, run)
}

/** Pages that share a profile, an empty one. */
export class Window implements AsyncDisposable {
  readonly context: BrowserContext
  /** What the pages complained of so far, without what the test allows. */
  readonly complaints: string[] = []

  constructor(context: BrowserContext, allowed: RegExp | null) {
    this.context = context
    const complain = (complaint: string) => {
      if (!allowed?.test(complaint)) this.complaints.push(complaint)
    }
    context.on('weberror', (event) => complain(`uncaught: ${event.error().stack}`))
    context.on('console', (line) => {
      if (line.type() === 'error' || line.type() === 'warning') complain(`${line.type()}: ${line.text()}`)
    })
    context.on('dialog', async (dialog) => {
      complain(`${dialog.type()}: ${dialog.message()}`)
      await dialog.dismiss()
    })
  }

  async open(url: string): Promise<Page> {
    const page = await this.context.newPage()
    page.on('crash', () => this.complaints.push(`${url} has crashed`))
    await page.goto(url)
    return page
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const folder = process.env.FANFARE_SCREENSHOTS
    for (const [index, page] of this.context.pages().entries()) {
      const name = `${expect.getState().currentTestName} ${index + 1}`.replaceAll(/[^\w,.?]+/g, '-')
      if (folder) await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true })
    }
    await this.context.close()
  }
}

export interface WindowOptions extends BrowserContextOptions {
  /** What pages may complain of in this test. */
  readonly allowed?: RegExp
}

/** Opens a window that ends with its scope: `await using window = await openWindow()`. Phones have `isMobile` and `hasTouch`. */
export async function openWindow({ allowed, ...options }: WindowOptions = {}): Promise<Window> {
  browser ??= launch()
  const window = new Window(await (await browser).newContext({ reducedMotion: 'reduce', ...options }), allowed ?? null)
  // Not when the window closes: an error there would hide the test's own.
  onTestFinished(() => expect(window.complaints, 'what the pages complained of').toEqual([]))
  return window
}

async function launch(): Promise<Browser> {
  if (!path)
    throw new Error(`there is no chromium in PATH, which the browser tests drive; install it (${howToInstall})`)
  return await chromium.launch({
    executablePath: path,
    args: [
      '--headless',
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
}

function findInPath(program: string): string | undefined {
  return (process.env.PATH ?? '')
    .split(delimiter)
    .map((folder) => join(folder, program))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** Looks again and again until what it reads is what is expected: a page shows things when it has come to them. */
export function eventually<T>(read: () => T | Promise<T>) {
  return expect.poll(read, { timeout: 15_000, interval: 20 })
}
