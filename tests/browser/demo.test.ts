import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Locator } from 'playwright-core'
import { expect } from 'vitest'
import type { ConversationId } from '../../src/protocol/ids.ts'
import { FakeClock } from '../../src/testing/clock.ts'
import { startServer, type TestServer } from '../../src/testing/start-server.ts'
import { browserTest, eventually, openWindow } from './chromium.ts'
import { openSideBySide, Side, ways } from './demo-page.ts'

/** More than the server lets pass between two pushes of typing (T5). */
const nextPushMs = 250

for (const [way, open] of ways) {
  browserTest(`PAGE what one writes, edits and deletes is at once so with the other, ${way}`, async () => {
    await using server = await startServer({ demo: true })
    await using window = await openWindow()
    const [alice, bob] = await open(window, server)

    await alice.write('Hello, Bob!')
    await eventually(() => bob.lines()).toEqual(['Hello, Bob!'])
    await bob.write('Hello, Alice! Did you…')
    await eventually(() => alice.lines()).toEqual(['Hello, Bob!', 'Hello, Alice! Did you…'])
    await alice.write('Did I what?')
    await eventually(() => bob.line().innerText()).toContain('Did I what?')

    await bob.change('Did you', 'Hello, Alice!')
    await eventually(() => alice.lines()).toEqual(['Hello, Bob!', 'Hello, Alice!', 'Did I what?'])
    await eventually(() => alice.line('Hello, Alice!').innerText()).toContain('edited')

    await alice.remove('Did I what?')
    await eventually(() => bob.lines()).toEqual(['Hello, Bob!', 'Hello, Alice!', 'Message deleted'])
    expect(await bob.section.innerText()).not.toContain('Did I what?')
    await eventually(() => alice.lines()).toEqual(['Hello, Bob!', 'Hello, Alice!', 'Message deleted'])
  })

  browserTest(
    `PAGE who types is told of to the other alone, rests after 3 s, and is done with the message, ${way}`,
    async () => {
      // Both clocks stand: no lease runs out because a machine is slow.
      const clock = new FakeClock(Date.now())
      await using server = await startServer({ demo: true, clock })
      await using window = await openWindow()
      await window.context.clock.install()
      const [alice, bob] = await open(window, server)
      await bob.page.clock.pauseAt(new Date(Date.now() + 5_000))

      await bob.input.pressSequentially('Well')
      await eventually(() => alice.typing.innerText()).toBe('Bob is typing…')
      await bob.page.clock.runFor(2_900)
      clock.advance(nextPushMs)
      await bob.input.press('!')
      await bob.page.clock.runFor(2_900)
      expect(await alice.typing.innerText()).toBe('Bob is typing…')
      await bob.page.clock.runFor(100)
      await eventually(() => alice.typing.innerText()).toBe('Bob has stopped for a moment')
      expect(await bob.typing.innerText()).toBe('')

      clock.advance(nextPushMs)
      await bob.input.press('!')
      await eventually(() => alice.typing.innerText()).toBe('Bob is typing…')
      await bob.input.press('Enter')
      await eventually(() => alice.typing.innerText()).toBe('')
      await eventually(() => alice.lines()).toEqual(['Well!!'])
      expect(await bob.typing.innerText()).toBe('')
    },
  )
}

browserTest('PAGE what is written as HTML is shown as text and does nothing', async () => {
  await using server = await startServer({ demo: true })
  await using window = await openWindow()
  const [alice, bob] = await openSideBySide(window, server)
  const bodies = [
    '<script>document.title = "taken"; alert(1)</script>',
    '<img src="/nothing" onerror="document.title = \'taken\'; alert(2)">',
    '<a href="javascript:alert(3)">a link</a> &lt;b&gt; <style>body { display: none }</style>',
  ]
  for (const body of bodies) await alice.write(body)
  await eventually(() => bob.lines()).toEqual(bodies)
  await alice.change('a link', bodies[1]!)
  await eventually(() => bob.lines()).toEqual([bodies[0], bodies[1], bodies[1]])
  expect(await alice.lines()).toEqual([bodies[0], bodies[1], bodies[1]])
  expect(await alice.page.locator('.body > *').count()).toBe(0)
  expect(await alice.page.title()).toBe('Fanfare')
})

browserTest(
  'PAGE a script that got into the page all the same would not run, nor be fetched from elsewhere',
  async () => {
    await using server = await startServer({ demo: true })
    await using window = await openWindow({ allowed: /violates the following Content Security Policy directive/ })
    const page = await window.open(server.url)
    await page.evaluate(`new Promise((done) => {
    const script = Object.assign(document.createElement('script'), { src: 'data:text/javascript,taken = 1', onerror: done, onload: done })
    document.body.append(Object.assign(document.createElement('script'), { textContent: 'taken = 2' }), script)
  })`)
    expect(await page.evaluate('typeof taken')).toBe('undefined')
  },
)

browserTest('PAGE a name that is HTML is shown as text, and that nobody may have it is told', async () => {
  await using server = await startServer({ demo: true })
  await using window = await openWindow({ allowed: /status of 400/ })
  const name = '<img src=x onerror=alert(1)>'
  const page = await window.open(`${server.url}/?${new URLSearchParams({ user: name, with: 'bob' })}`)
  const side = new Side(page, name)
  await eventually(() => side.connection.innerText()).toContain('Not connected')
  expect(await side.section.locator('.error').innerText()).toContain('1–128 of A–Z a–z 0–9')
  expect(await page.locator('h2').innerText()).toBe(name)
  expect(await page.locator('img').count(), 'the logo alone').toBe(1)
})

browserTest(
  'PAGE the server may stop and start again: the page tells of it, comes back by itself, and nothing is lost',
  async () => {
    await using server = await startServer({ demo: true })
    await using window = await openWindow({ allowed: /^error: WebSocket connection to .* failed/ })
    const [alice, bob] = await openSideBySide(window, server)
    await alice.write('kept')
    await alice.write('change me')
    await alice.write('delete me')
    await eventually(() => bob.lines()).toEqual(['kept', 'change me', 'delete me'])
    await alice.change('change me', 'changed')
    await alice.remove('delete me')
    await eventually(() => bob.lines()).toEqual(['kept', 'changed', 'Message deleted'])
    expect(await bob.connection.innerText()).toBe('Connected')
    await bob.input.pressSequentially('I wanted to')
    await eventually(() => alice.typing.innerText()).toBe('Bob is typing…')

    await server.stop()
    for (const { connection } of [alice, bob]) {
      await eventually(() => connection.innerText()).toBe('Connection lost, trying again…')
    }
    expect(await alice.typing.innerText(), 'who may have stopped since').toBe('')
    await alice.write('written meanwhile')
    await eventually(() => alice.line().innerText()).toContain('Sending…')

    await server.start()
    for (const { connection } of [alice, bob]) await eventually(() => connection.innerText()).toBe('Connected')
    const lines = ['kept', 'changed', 'Message deleted', 'written meanwhile']
    for (const side of [alice, bob]) await eventually(() => side.lines()).toEqual(lines)
    expect(await alice.line().innerText()).not.toContain('Sending…')
    expect(await bob.input.inputValue(), 'the draft').toBe('I wanted to')
    await bob.write('and back')
    await eventually(() => alice.lines()).toEqual([...lines, 'and back'])

    const again = new Side(await window.open(`${server.url}/?user=bob&with=alice`), 'Bob')
    await eventually(() => again.lines()).toEqual([...lines, 'and back'])
  },
)

browserTest('PAGE a message that is not taken is kept, says why, and can be tried again', async () => {
  await using server = await startServer({ demo: true, limits: { bodyBytes: 10 } })
  await using window = await openWindow()
  const [alice, bob] = await openSideBySide(window, server)
  await alice.write('longer than ten bytes')
  await eventually(() => alice.line().innerText()).toContain('Not sent.')
  expect(await alice.lines()).toEqual(['longer than ten bytes'])
  await alice.line().getByRole('button', { name: 'Try again' }).click()
  await eventually(() => alice.line().innerText()).toContain('Not sent.')
  await alice.write('short')
  await eventually(() => bob.lines()).toEqual(['short'])
})

browserTest('PAGE what the other has not looked at is counted as unread, until he is there', async () => {
  await using server = await startServer({ demo: true })
  await using window = await openWindow()
  const [alice, bob] = await openSideBySide(window, server)
  const unread = bob.section.locator('.unread')
  await alice.write('one')
  await alice.write('two')
  await eventually(() => unread.innerText()).toBe('2 unread')
  await bob.input.focus()
  await eventually(() => unread.isVisible()).toBe(false)
  const count = async () => (await server.call('get_unread_count', {}, 'user/bob')).result
  await eventually(count).toEqual({ conversation: 0, message: 0 })
  await alice.page.reload()
  await bob.isReady()
  expect(await unread.isVisible()).toBe(false)
})

browserTest(
  'PAGE a long conversation shows its end, keeps it in sight while one writes, and gives its beginning on demand',
  async () => {
    await using server = await startServer({ demo: true })
    await fill(server, 70)
    await using window = await openWindow()
    const [alice] = await openSideBySide(window, server)
    const [first, last] = [alice.line('line 1 of 70'), alice.line('line 70 of 70')]
    await eventually(() => isInSight(alice.log, last)).toBe(true)
    await alice.input.fill('a draft\nof\nseveral\nlines')
    await eventually(() => isInSight(alice.log, last)).toBe(true)
    expect(
      await alice.page.evaluate('document.documentElement.scrollHeight <= innerHeight'),
      'the page is no longer',
    ).toBe(true)

    await alice.log.getByRole('button', { name: 'Earlier messages' }).click()
    await eventually(() => first.count()).toBe(1)
    expect(await alice.lines()).toEqual(Array.from({ length: 70 }, (_, index) => `line ${index + 1} of 70`))
    expect(await isInSight(alice.log, alice.line('line 21 of 70')), 'what was being read').toBe(true)
    await alice.input.fill('')
    expect(await isInSight(alice.log, last), 'who reads earlier lines is not taken away').toBe(false)
  },
)

browserTest(
  'C4 PAGE who reads earlier lines stays there when the connection breaks, and what came meanwhile is there',
  async () => {
    await using server = await startServer({ demo: true })
    const conversation = await fill(server, 130)
    await using window = await openWindow()
    const asked: string[] = []
    await window.context.routeWebSocket('**', (page) => {
      const sent = page.connectToServer()
      page.onMessage((frame) => {
        asked.push(JSON.parse(String(frame)).command)
        sent.send(frame)
      })
    })
    const alice = new Side(await window.open(`${server.url}/?user=alice&with=bob`), 'Alice')
    await alice.isReady()
    await alice.log.getByRole('button', { name: 'Earlier messages' }).click()
    await eventually(async () => (await alice.lines()).length).toBe(100)
    await alice.line('line 40 of 130').evaluate((line) => line.scrollIntoView())
    const place = await alice.log.evaluate(({ scrollTop }) => scrollTop)
    const asksForPages = () => asked.filter((command) => command === 'get_messages').length

    await server.call('disconnect_user', { user: 'user/alice' })
    await server.call('create_message', { conversation, body: 'meanwhile' }, 'user/bob')
    await eventually(() => asked.filter((command) => command === 'connect').length).toBe(2)
    await eventually(() => alice.connection.innerText()).toBe('Connected')
    await server.call('create_message', { conversation, body: 'and then' }, 'user/bob')
    await eventually(async () => (await alice.lines()).slice(-2)).toEqual(['meanwhile', 'and then'])
    expect((await alice.lines()).length).toBe(102)
    expect(await alice.log.evaluate(({ scrollTop }) => scrollTop)).toBe(place)
    expect(asksForPages(), 'nothing is loaded anew').toBe(2)
  },
)

browserTest('R5 PAGE a server with other data is believed: what it does not have is shown no more', async () => {
  await using server = await startServer({ demo: true })
  await fill(server, 3)
  await server.stop()
  const database = join(server.folder, 'fanfare.db')
  copyFileSync(database, `${database}.kept`)
  await server.start()
  await using window = await openWindow({ allowed: /^error: WebSocket connection to .* failed/ })
  const [alice] = await openSideBySide(window, server)
  await alice.write('not in the backup')
  await eventually(() => alice.line().innerText()).not.toContain('Sending…')
  await server.stop()
  copyFileSync(`${database}.kept`, database)
  await server.start()
  await eventually(() => alice.lines()).toEqual(['line 1 of 3', 'line 2 of 3', 'line 3 of 3'])
})

browserTest('PAGE a connection that breaks while the conversation is made has it made once', async () => {
  await using server = await startServer({ demo: true })
  await using window = await openWindow()
  const asked: { command: string; args?: { client_id?: string; event?: string } }[] = []
  const allOf = (name: string) => asked.flatMap(({ command, args }) => (command === name ? [args] : []))
  await window.context.routeWebSocket('**', (page) => {
    const sent = page.connectToServer()
    page.onMessage(async (frame) => {
      const command = JSON.parse(String(frame))
      asked.push(command)
      const isFirst = command.command === 'create_conversation' && allOf('create_conversation').length === 1
      if (isFirst) await page.close({ code: 4503, reason: 'draining 0' })
      else sent.send(frame)
    })
  })
  const alice = new Side(await window.open(`${server.url}/?user=alice&with=bob`), 'Alice')
  await alice.isReady()
  await alice.input.press('x')
  await alice.write('Hello')
  await eventually(() => alice.line().innerText()).not.toContain('Sending…')
  const made = allOf('create_conversation').map((args) => args?.client_id)
  expect([made.length, new Set(made).size]).toEqual([2, 1])
  const told = allOf('typing').map((args) => args?.event)
  expect(told, 'one listens to the input').toEqual(['begin', 'finished'])
})

browserTest('PAGE the names that are given are those that somebody can have', async () => {
  await using server = await startServer({ demo: true })
  await using window = await openWindow()
  const page = await window.open(server.url)
  await page.getByText('Change the names').click()
  const [one, other] = [page.getByLabel('One person'), page.getByLabel('The other')]
  const isTaken = () =>
    page.locator('#names').evaluate((form) => (form as { checkValidity?(): boolean }).checkValidity?.())
  for (const name of ['Ann Lee', '', 'Zoë', 'user/ann', 'a'.repeat(129)]) {
    await one.fill(name)
    expect(await isTaken(), name).toBe(false)
  }
  for (const name of ['Ann', 'ann-lee_1.2@example:~', 'a'.repeat(128)]) {
    await one.fill(name)
    expect(await isTaken(), name).toBe(true)
  }
  await one.fill('Ann-Lee')
  await other.fill('Bob')
  await page.getByRole('button', { name: 'Open' }).click()
  await new Side(page, 'Ann-lee').isReady()
})

browserTest('PAGE where the system gives the colours, messages have an edge and the connection its sign', async () => {
  await using server = await startServer({ demo: true })
  await fill(server, 1)
  await using window = await openWindow({ forcedColors: 'active' })
  const [alice] = await openSideBySide(window, server)
  const style = (of: Locator, name: string, part = '') =>
    of.evaluate(
      (element, [name, part]) => {
        // @ts-expect-error The page's, whose types are not the tests'.
        return getComputedStyle(element, part)[name]
      },
      [name, part],
    )
  expect(await style(alice.log.locator('.body'), 'borderTopWidth')).toBe('1px')
  const ground = await style(alice.section.locator('.top'), 'backgroundColor')
  expect(await style(alice.connection, 'backgroundColor', '::before')).not.toBe(ground)
})

const looks = [
  ['a wide window', { viewport: { width: 1280, height: 800 } }],
  ['a phone', { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }],
  ['a small phone', { viewport: { width: 320, height: 568 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 }],
] as const

for (const [device, options] of looks) {
  browserTest(`PAGE everything fits on ${device}, by day and by night, also what is long`, async () => {
    await using server = await startServer({ demo: true })
    await fill(server, 3)
    await using window = await openWindow(options)
    const long = 'averylongname'.repeat(9)
    for (const query of ['', '?user=bob&with=alice', `?user=${long}&user=bob`]) {
      const page = await window.open(`${server.url}/${query}`)
      await eventually(() => page.getByText('Connected', { exact: true }).count()).toBe(
        query.startsWith('?user=bob') ? 1 : 2,
      )
      await page.getByRole('textbox').last().fill(long)
      await page.getByRole('textbox').last().press('Enter')
      await eventually(() => page.getByText(long).last().isVisible()).toBe(true)
      const sticksOut = `[...document.querySelectorAll('body *')].filter((element) => element.getBoundingClientRect().right > innerWidth)
        .map(({ outerHTML }) => outerHTML)`
      expect(await page.evaluate(sticksOut)).toEqual([])
      expect(await page.evaluate('document.documentElement.scrollWidth'), 'nothing to scroll sideways').toBe(
        options.viewport.width,
      )
      const backgrounds: unknown[] = []
      for (const colorScheme of ['light', 'dark'] as const) {
        await page.emulateMedia({ colorScheme })
        backgrounds.push(await page.evaluate('getComputedStyle(document.documentElement).backgroundColor'))
      }
      expect(new Set(backgrounds).size, 'night looks different').toBe(2)
    }
  })
}

/** Lets Alice write so many lines to Bob, and gives the conversation. */
async function fill(server: TestServer, lines: number): Promise<ConversationId> {
  const args = { participants: ['user/bob'], distinct_by_participants: true }
  const { conversation } = (await server.call('create_conversation', args, 'user/alice')).result
  for (let line = 1; line <= lines; line++) {
    const body = `line ${line} of ${lines}`
    await server.call('create_message', { conversation: conversation.id, body }, 'user/alice')
  }
  return conversation.id
}

/** Whether all of `line` is within what one sees of `log`. */
async function isInSight(log: Locator, line: Locator): Promise<boolean> {
  const [outer, inner] = [await log.boundingBox(), await line.boundingBox()]
  return outer !== null && inner !== null && inner.y >= outer.y && inner.y + inner.height <= outer.y + outer.height
}
