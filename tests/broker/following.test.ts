/** What it costs a node that an entry did not come to it. */
import { expect, it, vi } from 'vitest'
import type { UserId } from '../../src/protocol/ids.ts'
import { startNodes } from '../../src/testing/start-nodes.ts'
import { PumpedSession } from '../chat/pumped-session.ts'
import { alice, bob } from '../chat/stage.ts'

/** More than are named to the broker. */
const crowd = Array.from({ length: 6 }, (_, index): UserId => `user/crowd-${index}`)

async function openRoom() {
  const nodes = await startNodes(2)
  const [here, there] = nodes.nodes as [(typeof nodes.nodes)[0], (typeof nodes.nodes)[0]]
  const ours = await PumpedSession.connect(here, alice)
  const theirs = await PumpedSession.connect(there, bob)
  const { conversation } = await ours.command('create_conversation', { participants: [bob, ...crowd] })
  const say = async (body: string) => {
    await ours.command('create_message', { conversation: conversation.id, body })
    nodes.link.carry()
    await nodes.quiet()
  }
  const lookAgain = async () => {
    nodes.clock.advance(1_000)
    await nodes.quiet()
  }
  const taken = () =>
    theirs.take().map(({ data }) => ('record_type' in data && data.record_type === 'message' ? data.record.body : null))
  await lookAgain()
  await say('the first is read, and makes known who takes part')
  await lookAgain()
  taken()
  const { conversations, events } = there.engine.storage
  return {
    link: nodes.link,
    say,
    lookAgain,
    taken,
    /** What the other node asks about entries from now on. */
    asked: { membership: vi.spyOn(conversations, 'membership'), tellings: vi.spyOn(events, 'tellings') },
    [Symbol.asyncDispose]: () => nodes[Symbol.asyncDispose](),
  }
}

it('R1 a message that was lost is read from the log, and those behind it come by the broker again', async () => {
  await using room = await openRoom()
  room.link.loses = () => true
  await room.say('lost')
  room.link.loses = () => false
  await room.lookAgain()
  expect(room.taken()).toEqual(['lost'])
  expect(room.asked.tellings).toHaveBeenCalledTimes(1)
  for (const body of ['one', 'two', 'three']) {
    await room.say(body)
    expect(room.taken()).toEqual([body])
  }
  expect(room.asked.tellings).toHaveBeenCalledTimes(1)
  expect(room.asked.membership).not.toHaveBeenCalled()
})
