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
    nodes,
    link: nodes.link,
    ours,
    conversation: conversation.id,
    say,
    lookAgain,
    taken,
    /** What the other node asks about entries from now on. */
    asked: {
      membership: vi.spyOn(conversations, 'membership'),
      tellings: vi.spyOn(events, 'tellings'),
      since: vi.spyOn(events, 'since'),
    },
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

it('R1 what came before what it follows is told as soon as the log is whole, and not after a second', async () => {
  await using room = await openRoom()
  const { link, nodes } = room
  const { position: wholeTo } = nodes.nodes[1]!.engine.fanout
  link.loses = () => true
  await room.say('lost')
  link.loses = () => false
  // Somebody else's transaction is open, so the log is not whole yet.
  room.asked.since.mockResolvedValueOnce({ upTo: wholeTo, entries: [] })
  await room.say('early')
  expect(room.taken()).toEqual([])
  nodes.clock.advance(20)
  await nodes.quiet()
  expect(room.taken()).toEqual(['lost', 'early'])
})

it('R1 a node that is more entries behind than it reads at once reads on until it has all', async () => {
  await using room = await openRoom()
  const { conversation, link, ours } = room
  const [bodies, { pair }] = [Array.from({ length: 1_001 }, (_, index) => `${index}`), ours]
  link.loses = () => true
  for (const body of bodies) {
    pair.say(JSON.stringify({ command: 'create_message', args: { conversation, body } }))
  }
  pair.pumpToServer()
  await room.nodes.quiet()
  expect(room.taken()).toEqual([])
  await room.lookAgain()
  expect(room.taken()).toEqual(bodies)
})
