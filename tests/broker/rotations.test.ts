/** A rotation through one node, and sessions that begin on another in that moment (U6, U7). */
import { expect, it, vi } from 'vitest'
import { startNodes } from '../../src/testing/start-nodes.ts'
import { PumpedSession } from '../chat/pumped-session.ts'
import { bob } from '../chat/stage.ts'

/** Bob on one node; and on another what storage says of who wants to come is on its way for as long as the test likes. */
async function openBob() {
  const nodes = await startNodes(2)
  const [here, there] = nodes.nodes as [(typeof nodes.nodes)[0], (typeof nodes.nodes)[0]]
  const ours = await PumpedSession.connect(here, bob)
  const come = async (args: object) => {
    const answered = vi.fn()
    const arrival = Promise.withResolvers<void>()
    const { userChannels } = there.engine.storage
    for (const verb of ['admit', 'admitListener'] as const) {
      const ask = userChannels[verb] as (...args: unknown[]) => Promise<never>
      vi.spyOn(userChannels, verb).mockImplementationOnce(async (...asked: unknown[]) => {
        const admitted = await ask(...asked)
        answered()
        await arrival.promise
        return admitted
      })
    }
    const pair = there.open()
    pair.say(JSON.stringify({ id: 1, command: 'connect', args }))
    pair.pumpToServer()
    await vi.waitFor(() => expect(answered).toHaveBeenCalled())
    return {
      /** How it ends when the answer has arrived. */
      async ending() {
        arrival.resolve()
        await nodes.quiet()
        pair.pumpToPeer()
        return pair.ending
      },
    }
  }
  return { ...nodes, ours, there, come, [Symbol.asyncDispose]: () => nodes[Symbol.asyncDispose]() }
}

it.each([
  ['comes by the broker', true],
  ['is found in the log', false],
])('U7 who was let in before a rotation that %s before he begins does not begin', async (_how, isCarried) => {
  await using stage = await openBob()
  const { ours, there, link } = stage
  if (isCarried) await PumpedSession.connect(there, bob)
  link.loses = () => !isCarried
  const { position } = there.engine.fanout
  const thief = await stage.come({ token: await there.token(bob) })
  await ours.command('rotate_user_channel', { revoke: true })
  link.carry()
  stage.clock.advance(1_000)
  await vi.waitFor(() => expect(there.engine.fanout.position).toBeGreaterThan(position))
  expect(await thief.ending()).toMatchObject({ code: 4403 })
  expect(there.engine.hub.sessions(bob)).toEqual([])
})

it('U6 who was let in by a name before the rotation that his node hears of before he begins does not listen', async () => {
  await using stage = await openBob()
  const { ours, there, link } = stage
  await PumpedSession.connect(there, bob)
  const { user_channel } = await ours.command('get_user_channel', {})
  const listener = await stage.come({ channel: user_channel.name })
  await ours.command('rotate_user_channel', {})
  link.carry()
  expect(await listener.ending()).toMatchObject({ code: 4410 })
  expect(there.engine.hub.sessions(bob)).toHaveLength(1)
})

it.each([
  ['comes by the broker', true],
  ['is found in the log', false],
])(
  'U6 who listens by the new name before a rotation that %s goes on, and is never told of it',
  async (_how, isCarried) => {
    await using stage = await openBob()
    const { ours, there, link } = stage
    const theirs = await PumpedSession.connect(there, bob)
    link.loses = () => !isCarried
    const { user_channel } = await ours.command('rotate_user_channel', {})
    const listener = there.open()
    listener.say(JSON.stringify({ id: 1, command: 'connect', args: { channel: user_channel.name } }))
    listener.pumpToServer()
    await stage.quiet()
    link.carry()
    stage.clock.advance(1_000)
    await stage.quiet()
    expect(theirs.take().map(({ data }) => 'record_type' in data && data.record_type)).toEqual(['user_channel'])
    listener.pumpToPeer()
    expect(listener.texts).toEqual([expect.stringContaining('"result"')])
    expect(listener.ending).toBe(null)
  },
)

it('U7 who has logged out all others stays, though his node finds the next rotation in the log', async () => {
  await using stage = await openBob()
  const { ours, there, link, clock } = stage
  await ours.command('rotate_user_channel', { revoke: true })
  link.carry()
  clock.advance(10_000)
  await stage.quiet()
  const later = await PumpedSession.connect(there, bob)
  ours.take()
  link.loses = () => true
  await later.command('rotate_user_channel', {})
  clock.advance(1_000)
  await stage.quiet()
  expect(ours.take()).toHaveLength(1)
  expect(ours.pair.ending).toBe(null)
})

it('U7 a revocation ends the sessions of before it, though the next rotation has come there first', async () => {
  for (const isLost of [true, false]) {
    await using stage = await openBob()
    const { ours, there, link, clock } = stage
    const theirs = await PumpedSession.connect(there, bob)
    link.loses = () => isLost
    await ours.command('rotate_user_channel', { revoke: true })
    link.loses = () => false
    clock.advance(10)
    await ours.command('rotate_user_channel', {})
    link.carry(true)
    clock.advance(990)
    await stage.quiet()
    theirs.pair.pumpToPeer()
    expect(theirs.pair.ending).toMatchObject({ code: 4403 })
  }
})
