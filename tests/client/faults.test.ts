import { afterEach, expect, test, vi } from 'vitest'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { conversations, FaultyServer } from './faulty-server.ts'
import { cutAndReturn, holdTime, openSession, reached, recorder } from './open-chat.ts'
import { ScriptedServer } from './scripted-server.ts'

afterEach(() => {
  vi.useRealTimers()
  vi.restoreAllMocks()
})

test('C4 whatever is doubled, dropped, overtaken and cut on the way, a callback gets the log, once and in order', async () => {
  const seed = seedOfTest()
  for (let run = 0; run < 20; run++) {
    const random = new Random(seed + run)
    await using server = await ScriptedServer.start()
    holdTime()
    using opened = await openSession(server, { cursor: '0' })
    const { chat } = opened
    const faulty = new FaultyServer(random, opened.session)
    const events = recorder<string>()
    const ahead: string[] = []
    chat.subscribe(({ record }) => {
      events.callback(record.id)
      const given = new Set(events.got)
      for (const entry of faulty.log.slice(0, Number(chat.cursor))) {
        if (!given.has(faulty.nameOf(entry)) && !faulty.dropped.has(entry.position)) {
          ahead.push(`${chat.cursor} is ahead of ${faulty.nameOf(entry)}`)
        }
      }
    })
    const lost = vi.fn()
    chat.onGap(lost)

    // The first event of each conversation begins its counting.
    for (const conversation of conversations) faulty.append(conversation)
    faulty.pushAll()
    for (let step = 0; step < 150; step++) {
      const lot = random.below(20)
      if (lot < 8) faulty.append(random.pick(conversations))
      else if (lot < 16) faulty.push()
      else if (lot < 19) faulty.drop()
      else {
        await faulty.resume(await cutAndReturn(server, chat, faulty.session))
        await reached(chat, 'connected')
      }
      if (random.below(4) === 0) await chat.getUnreadCount()
    }
    // What is dropped last is only noticed with the next event.
    faulty.pushAll()
    for (const conversation of conversations) faulty.append(conversation)
    faulty.pushAll()
    while (events.got.length < faulty.log.length) await events.next()
    await chat.getUnreadCount()

    for (const conversation of conversations) {
      const given = events.got.filter((name) => name.startsWith(conversation))
      const log = faulty.log.filter((entry) => entry.conversation === conversation)
      expect(given, `run ${run}`).toEqual(log.map((entry) => faulty.nameOf(entry)))
    }
    expect(ahead, `run ${run}`).toEqual([])
    expect(lost).not.toHaveBeenCalled()
    expect(chat.cursor).toBe(String(faulty.log.length))
    vi.useRealTimers()
    vi.restoreAllMocks()
  }
})
