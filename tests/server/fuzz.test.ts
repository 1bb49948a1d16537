/** Frames that chance made: each is answered, or costs its own session alone, and none is a fault (W1, W3, W9). */
import { expect, it, vi } from 'vitest'
import { closeCodes, errorCodes } from '../../src/protocol/codes.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { connect, type RawSession } from '../../src/testing/raw-session.ts'
import { startServer } from '../../src/testing/start-server.ts'
import { say } from '../chat/stage.ts'
import { command, mutilated } from '../hostile/frames-by-chance.ts'
import { nobodys } from './sample-args.ts'

/** How many: each is one of a client's, as it is, or with something of it changed. */
const frames = 600

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
