/** What storage has read is overtaken, before it is answered, by what the session is told: where each operation has a connection of its own. */
import { expect, it, vi } from 'vitest'
import type { CommandName } from '../../src/protocol/commands.ts'
import { startNodes } from '../../src/testing/start-nodes.ts'
import { PumpedSession } from '../chat/pumped-session.ts'
import { alice, bob, carol } from '../chat/stage.ts'

/** Alice and Carol at one node, Bob at another, which is told what happens when the test says so. */
async function openRoom() {
  const nodes = await startNodes(2)
  const [here, there] = nodes.nodes as [(typeof nodes.nodes)[0], (typeof nodes.nodes)[0]]
  const one = await PumpedSession.connect(here, alice)
  const three = await PumpedSession.connect(here, carol)
  const two = await PumpedSession.connect(there, bob)
  const { conversation } = await one.command('create_conversation', { participants: [bob, carol] })
  const meet = async () => {
    nodes.link.carry()
    await nodes.quiet()
    nodes.clock.advance(1_000)
    await nodes.quiet()
  }
  await meet()
  two.take()
  return {
    nodes,
    there,
    one,
    two,
    three,
    id: conversation.id,
    meet,
    say: async (body: string) => (await one.command('create_message', { conversation: conversation.id, body })).message,
    /** The next answer to this operation is kept back, with what was read by then. */
    keepBack(noun: 'conversations' | 'messages', verb: string) {
      const group = there.engine.storage[noun] as unknown as Record<string, (...args: unknown[]) => Promise<unknown>>
      const asked = Promise.withResolvers<void>()
      const arrival = Promise.withResolvers<void>()
      const ask = group[verb]!
      vi.spyOn(group, verb).mockImplementationOnce(async (...args) => {
        const said = await ask(...args).finally(asked.resolve)
        await arrival.promise
        return said
      })
      return { asked: asked.promise, arrive: arrival.resolve }
    },
    /** This node knows no more who takes part. */
    forget: () => there.engine.memberships.outdate(conversation.id, Number.POSITIVE_INFINITY),
    [Symbol.asyncDispose]: async () => {
      vi.restoreAllMocks()
      expect(nodes.faults).toEqual([])
      await nodes[Symbol.asyncDispose]()
    },
  }
}

/** All that the session was sent. */
function wire(session: PumpedSession): string {
  session.pair.pumpToPeer()
  return session.pair.texts.join('\n')
}

it('E4 a page that was read before a deletion is not answered behind it, nor is a record for its client_id', async () => {
  for (const [verb, command, more] of [
    ['list', 'get_messages', {}],
    ['create', 'create_message', { body: 'secret', client_id: 'mine' }],
  ] as const) {
    await using room = await openRoom()
    const { two, id } = room
    const { message } = await two.command('create_message', { conversation: id, body: 'secret', client_id: 'mine' })
    await room.meet()
    const answer = room.keepBack('messages', verb)
    const reply = two.command(command as CommandName, { conversation: id, ...more } as never) as Promise<unknown>
    await answer.asked
    await (await PumpedSession.connect(room.nodes.nodes[0]!, bob)).command('delete_message', { message: message.id })
    await room.meet()
    expect(wire(two)).toContain('{"event":"delete"')
    answer.arrive()
    expect(JSON.stringify(await reply)).toContain('"deleted":true')
    expect(JSON.stringify(await reply)).not.toContain('secret')
  }
})

it('E5 a page that was read before a removal is not answered behind it', async () => {
  await using room = await openRoom()
  await room.say('secret')
  await room.meet()
  const answer = room.keepBack('messages', 'list')
  const reply = room.two.command('get_messages', { conversation: room.id })
  await answer.asked
  await room.one.command('remove_participants', { conversation: room.id, participants: [bob] })
  await room.meet()
  answer.arrive()
  await expect(reply).rejects.toThrow('there is no')
})

it('M5, E4 a page has what its session was told before the reply, and is answered though more comes each time', async () => {
  await using room = await openRoom()
  const answer = room.keepBack('messages', 'list')
  const reply = room.two.command('get_messages', { conversation: room.id })
  await answer.asked
  await room.say('told meanwhile')
  await room.meet()
  answer.arrive()
  expect((await reply).messages).toMatchObject([{ body: 'told meanwhile' }])

  vi.restoreAllMocks()
  const { messages } = room.there.engine.storage
  const list = messages.list
  const asked = vi.spyOn(messages, 'list').mockImplementation(async (...args) => {
    const said = await list(...args)
    await room.say('more')
    await room.meet()
    return said
  })
  await room.two.command('get_messages', { conversation: room.id })
  const times = asked.mock.calls.length
  expect(times).toBeGreaterThan(1)

  // However often it was read, what is gone is gone.
  const secret = await room.say('secret')
  await room.meet()
  asked.mockClear().mockImplementation(async (...args) => {
    const said = await list(...args)
    if (asked.mock.calls.length < times) await room.say('more')
    else if (asked.mock.calls.length === times) await room.one.command('delete_message', { message: secret.id })
    await room.meet()
    return said
  })
  expect(JSON.stringify(await room.two.command('get_messages', { conversation: room.id }))).not.toContain('secret')
})

it('E5, T4 who is removed while it is asked who takes part neither watches typing nor types', async () => {
  for (const [command, more] of [
    ['subscribe_typing', {}],
    ['typing', { event: 'begin' }],
  ] as const) {
    await using room = await openRoom()
    const { one, two, three, id } = room
    await three.command('subscribe_typing', { conversation: id })
    room.forget()
    const answer = room.keepBack('conversations', 'membership')
    const reply = two.command(command, { conversation: id, ...more } as never)
    await answer.asked
    await one.command('remove_participants', { conversation: id, participants: [bob] })
    room.nodes.link.carry()
    expect(wire(two)).toContain('{"event":"delete"')
    answer.arrive()
    await expect(reply).rejects.toThrow('there is no')
    three.take()
    await one.command('typing', { conversation: id, event: 'begin' })
    await room.meet()
    expect(wire(two)).not.toContain('"event":"typing"')
    // What was overtaken is not remembered either.
    await expect(two.command('typing', { conversation: id, event: 'begin' })).rejects.toThrow('there is no')
    await room.meet()
    expect(JSON.stringify(three.take())).not.toContain(bob)
  }
})

it('T1, T4 what is given while it is asked who takes part comes in its order', async () => {
  await using room = await openRoom()
  const { one, two, id } = room
  room.forget()
  const answer = room.keepBack('conversations', 'membership')
  const before = [
    two.command('subscribe_typing', { conversation: id }),
    two.command('typing', { conversation: id, event: 'begin' }),
  ]
  await answer.asked
  // By this the node learns who takes part.
  await two.command('create_message', { conversation: id, body: 'known' })
  const behind = [
    two.command('unsubscribe_typing', { conversation: id }),
    two.command('typing', { conversation: id, event: 'finished' }),
  ]
  answer.arrive()
  await Promise.all([...before, ...behind])
  expect(room.there.engine.typing.leases).toBe(0)
  await one.command('typing', { conversation: id, event: 'begin' })
  await room.meet()
  expect(wire(two)).not.toContain('"event":"typing"')
})

it('T2, T4 a session that ends while it is asked who takes part neither watches nor types', async () => {
  await using room = await openRoom()
  const { two, id } = room
  room.forget()
  const answer = room.keepBack('conversations', 'membership')
  for (const [command, more] of [
    ['subscribe_typing', {}],
    ['typing', { event: 'begin' }],
  ] as const) {
    two.pair.say(JSON.stringify({ command, args: { conversation: id, ...more } }))
  }
  two.pair.pumpToServer()
  await answer.asked
  two.pair.cut()
  answer.arrive()
  await room.nodes.quiet()
  expect(room.there.engine.typing.size).toBe(0)
})
