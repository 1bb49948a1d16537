/** Frames that chance made: each is answered, or costs its own session alone, and none is a fault (W1, W3, W9). */
import { expect, it, vi } from 'vitest'
import { closeCodes, errorCodes } from '../../src/protocol/codes.ts'
import type { CommandName } from '../../src/protocol/commands.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { connect, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { say } from '../chat/stage.ts'
import { commandNames, nobodys, sampleArgs } from './sample-args.ts'

/** How many: each is one of a client's, as it is, or with something of it changed. */
const frames = 600

const oddTexts = [
  '',
  '\0',
  '\ud800',
  '__proto__',
  'constructor',
  '😀',
  'null',
  '-1',
  "';--",
  '%00',
  '../..',
  'x'.repeat(20_000),
]
const oddNumbers = [0, -0, -1, 0.5, 1, 2, 200, 201, 2 ** 31, 2 ** 53, -(2 ** 53), 1e300, Number.MIN_VALUE]

/** Any JSON; `known` are texts that mean something here. */
function anything(random: Random, known: readonly string[], depth = 0): unknown {
  switch (random.below(depth > 4 ? 5 : 7)) {
    case 0:
      return random.pick([null, true, false])
    case 1:
      return random.pick(oddNumbers)
    case 2:
      return random.pick(oddTexts)
    case 3:
    case 4:
      return random.pick(known)
    case 5:
      return Array.from({ length: random.below(4) }, () => anything(random, known, depth + 1))
    default: {
      const keys = Array.from({ length: random.below(4) }, () => random.pick([...oddTexts, ...known, 'a']))
      return Object.fromEntries(keys.map((key) => [key, anything(random, known, depth + 1)]))
    }
  }
}

/** The arguments with some of them left out, changed, or added to. */
function changed(random: Random, known: readonly string[], args: object): { [key: string]: unknown } {
  const now: { [key: string]: unknown } = {}
  for (const [key, value] of Object.entries(args)) {
    const chance = random.below(10)
    if (chance > 0) now[key] = chance < 3 ? anything(random, known) : value
  }
  const names = ['limit', 'before', 'metadata', 'attachment', 'client_id', 'title', 'admins', 'after_seq', 'revision']
  while (random.below(3) === 0) now[random.pick([...names, 'surprise'])] = anything(random, known)
  return now
}

/** Deeper than a stack, in a frame that is not too large. */
const deep = (random: Random) => {
  const levels = 100 + random.below(8_000)
  return random.pick([`${'['.repeat(levels)}${']'.repeat(levels)}`, `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`])
}

/** A command with that id, as text: a third as a client would send it, the others with arguments changed or another's. */
function command(random: Random, known: readonly string[], id: number): string {
  if (random.below(20) === 0) {
    return `{"id":${id},"command":"create_conversation","args":{"participants":[],"metadata":{"a":${deep(random)}}}}`
  }
  const name = random.below(20) === 0 ? random.pick(oddTexts) : random.pick(commandNames)
  const own = sampleArgs[name as CommandName] ?? {}
  const args = random.pick([
    own,
    changed(random, known, own),
    changed(random, known, sampleArgs[random.pick(commandNames)]),
  ])
  return JSON.stringify({ id, command: name, args })
}

/** The same text with some of its characters gone, doubled or replaced. */
function mutilated(random: Random, text: string): string {
  let now = text
  for (let times = 1 + random.below(4); times > 0; times--) {
    const at = random.below(now.length + 1)
    const kept = now.slice(at + random.below(3))
    now =
      now.slice(0, at) +
      random.pick(['', '"', '{', '}', '[', ',', ':', '\\', '0', '\u2028', now.slice(at, at + 9)]) +
      kept
  }
  return now
}

it('W1, W3, W9 whatever frame comes is answered or closes its session with a code of the contract, and none is a fault', async () => {
  const random = new Random(seedOfTest())
  const faults = vi.spyOn(console, 'error').mockImplementation(() => {})
  try {
    await using server = await startServer({ listeners: true })
    await using bob = await connect(server, 'user/bob')
    const { conversation } = await bob.command('create_conversation', { participants: ['user/alice'] })
    const message = await say(bob, conversation.id, 'hello')
    const known = [
      conversation.id,
      message.id,
      nobodys.message,
      'user/alice',
      'user/bob',
      'begin',
      'a',
      message.created_at,
    ]
    // So that half of what the frames name is there.
    const real = (text: string) =>
      random.below(2) === 0
        ? text.replaceAll(nobodys.conversation, conversation.id).replaceAll(nobodys.message, message.id)
        : text

    const outcomes = new Map<string, number>()
    let alice: RawSession | null = null
    let seen = 0
    for (let id = 1_000; id < 1_000 + frames; id++) {
      if (!alice) {
        alice = await connect(server, 'user/alice')
        seen = 0
        // She may have left.
        await bob.command('add_participants', { conversation: conversation.id, participants: ['user/alice'] })
      }
      const session: RawSession = alice
      const text = real(command(random, known, id))
      const whole = random.below(10) >= 4
      if (whole) session.send(text)
      else if (random.below(4) === 0) session.send(Buffer.from(text.slice(0, random.below(99))))
      else session.send(mutilated(random, text))
      // What is left of a command may want no reply; the ping behind it does.
      if (!whole) session.send(`{"id":${id + frames},"command":"ping"}`)
      const answer = await session.reply(whole ? id : id + frames).catch(() => session.closed)
      const outcome = 'error' in answer ? answer.error.code : 'code' in answer ? `${answer.code}` : 'result'
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      if ('code' in answer) {
        expect(whole, `closed with ${outcome} for ${text}`).toBe(false)
        expect(closeCodes).toHaveProperty(outcome)
        alice = null
      }
      for (const frame of session.frames.slice(seen)) {
        if (!('error' in frame)) continue
        expect(errorCodes).toHaveProperty(frame.error.code)
        expect(frame.error.code, `of the frame ${text}`).not.toBe('internal')
      }
      seen = session.frames.length
    }
    await alice?.end()

    // Chance was at work: there was something of everything.
    for (const outcome of ['result', 'invalid_argument', 'not_found', 'forbidden', 'conflict', '4400']) {
      expect([outcome, outcomes.get(outcome) ?? 0]).toEqual([outcome, expect.toSatisfy((count) => count > 0)])
    }
    expect((await bob.command('get_conversations')).conversations.length).toBeGreaterThan(0)
    await server.stop()
    await server.start()
    expect((await server.call('get_conversations', {}, 'user/bob')).status).toBe(200)
    expect(faults.mock.calls).toEqual([])
  } finally {
    faults.mockRestore()
  }
})
