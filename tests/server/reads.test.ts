/** How many reads one has under way (L2): what waits behind them, in which order it is done, and who goes on meanwhile. */
import { describe, expect, it } from 'vitest'
import type { Limits } from '../../src/engine/config.ts'
import type { ConversationId } from '../../src/protocol/ids.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { startEngine, type TestEngine } from '../../src/testing/start-engine.ts'
import { connectPumped, Pumped } from '../chat/pumped.ts'
import { callAs } from '../chat/pumped-session.ts'
import { alice, bob, codeOf } from '../chat/stage.ts'

interface Room extends AsyncDisposable {
  readonly started: TestEngine
  readonly host: Pumped
  readonly guest: Pumped
  readonly conversation: ConversationId
  /** The pages of messages that storage was asked for and has not given. */
  readonly held: (() => void)[]
  /** Asks for so many pages. */
  read(peer: Pumped, count: number): number[]
}

/** A conversation of alice and bob, on an engine whose storage gives a page of messages when the test says so. */
async function openRoom(limits: Partial<Limits> = {}, page?: object): Promise<Room> {
  const held: (() => void)[] = []
  const observe = (storage: Storage): Storage => {
    const list: Storage['messages']['list'] = (...asked) =>
      new Promise((resolve, reject) => {
        held.push(() => (page ? resolve(page as never) : storage.messages.list(...asked).then(resolve, reject)))
      })
    return { ...storage, messages: { ...storage.messages, list } }
  }
  const started = await startEngine({ limits, observe })
  const [host, guest] = [await connectPumped(started, alice), await connectPumped(started, bob)]
  const { conversation } = await host.command('create_conversation', { participants: [bob] })
  await guest.takeEvents(1)
  return {
    started,
    host,
    guest,
    conversation: conversation.id,
    held,
    read: (peer, count) =>
      Array.from({ length: count }, () => peer.give('get_messages', { conversation: conversation.id })),
    async [Symbol.asyncDispose]() {
      await giveUntil(held, started[Symbol.asyncDispose]())
    },
  }
}

function giveAll(held: (() => void)[]): void {
  for (const give of held.splice(0)) give()
}

/** Gives all pages that are asked for until `done` is. */
async function giveUntil<T>(held: (() => void)[], done: PromiseLike<T>): Promise<T> {
  let goesOn = true
  const end = () => {
    goesOn = false
  }
  done.then(end, end)
  while (goesOn) {
    giveAll(held)
    await new Promise((resolve) => setImmediate(resolve))
  }
  return done
}

/** The ids of the replies that came, in their order. */
function repliesTo(peer: Pumped): number[] {
  peer.pair.pumpToPeer()
  return peer.frames.flatMap((frame) => ('id' in frame ? [frame.id] : []))
}

describe('reads of a session', () => {
  it('L2 four are under way at once, and what comes behind them waits and is done in its order', async () => {
    await using room = await openRoom()
    const { started, host, guest, conversation, held } = room
    const before = repliesTo(host).length
    const reads = room.read(host, 4)
    const written = [1, 2].map((count) => host.give('create_message', { conversation, body: `${count}` }))
    const more = room.read(host, 5)
    const last = host.give('create_message', { conversation, body: '3' })
    expect(held).toHaveLength(4)
    // Nobody else waits, nor does another session of the same user.
    await guest.command('get_unread_count')
    await (await connectPumped(started, alice)).command('get_unread_count')
    expect(repliesTo(host)).toHaveLength(before)
    expect(guest.events).toHaveLength(1)

    held.shift()?.()
    await host.taken(written[1] as number)
    expect(held).toHaveLength(4)
    giveAll(held)
    await host.takeUntil(() => held.length === 4)
    giveAll(held)
    await host.taken(last)
    const replies = repliesTo(host).slice(before)
    expect(replies).toEqual([reads[0], ...written, ...reads.slice(1), ...more, last])
    await guest.takeEvents(4)
    expect(guest.events.slice(1).map(({ data }) => 'body' in data.record && data.record.body)).toEqual(['1', '2', '3'])
  })

  it('L2 so is what came with connect', async () => {
    await using room = await openRoom()
    const { started, conversation, held } = room
    const host = new Pumped(started)
    host.give('connect', { token: await started.token(alice) })
    room.read(host, 6)
    const written = host.give('create_message', { conversation, body: 'behind' })
    await host.takeUntil(() => held.length === 4)
    giveAll(held)
    await host.taken(written)
    expect(held).toHaveLength(2)
  })

  it('L2 a read that fails makes room for the next', async () => {
    await using room = await openRoom()
    const { host, held } = room
    const refused = Array.from({ length: 10 }, () => host.give('get_messages', { conversation: 'none' }))
    room.read(host, 3)
    const unknown = host.give('get_messages', { conversation: 'conversation/018f0000-0000-7000-8000-000000000000' })
    room.read(host, 1)
    expect(held).toHaveLength(4)
    expect(repliesTo(host).slice(-10)).toEqual(refused)
    held.pop()?.()
    await host.takeUntil(() => held.length === 4)
    await expect(host.taken(unknown)).rejects.toThrow('not_found')
  })

  it('L2 writes are not counted, and with 0 no reads are', async () => {
    await using room = await openRoom({ readsAtOnce: 0 })
    const { host, held, conversation } = room
    room.read(host, 50)
    expect(held).toHaveLength(50)
    const written = Array.from({ length: 20 }, () => host.give('create_message', { conversation, body: 'x' }))
    await host.taken(written.at(-1) as number)
    expect(held).toHaveLength(50)
  })

  it('L2 1,000 commands may wait, and the next is rate_limited and not done', async () => {
    await using room = await openRoom()
    const { host, held, conversation } = room
    const before = repliesTo(host).length
    room.read(host, 4)
    const waiting = Array.from({ length: 1_000 }, () => host.give('ping'))
    const refused = host.give('create_message', { conversation, body: 'too much' })
    expect(repliesTo(host).slice(before)).toEqual([refused])
    expect(host.frames.at(-1)).toMatchObject({ error: { code: 'rate_limited', details: { retry_after_ms: 1_000 } } })
    expect(host.pair.ending).toBeNull()
    giveAll(held)
    await host.taken(waiting.at(-1) as number)
    expect(repliesTo(host).filter((id) => waiting.includes(id))).toEqual(waiting)
    const [view] = await room.started.engine.storage.conversations.list(alice, 10, null)
    expect(view?.last_message).toBeNull()
  })

  it('L2, T5 who has finished typing has, also where it is merged while his begin waits', async () => {
    await using room = await openRoom({ typingPerSecond: 10, typingBurst: 1 })
    const { host, guest, held, conversation } = room
    await guest.command('subscribe_typing', { conversation })
    room.read(host, 4)
    host.give('typing', { conversation, event: 'begin' })
    await host.taken(host.give('typing', { conversation, event: 'finished' }))
    giveAll(held)
    const isTold = (event: string) =>
      guest.frames.some(
        (frame) => 'event' in frame && frame.event === 'typing' && JSON.stringify(frame).includes(`"${event}"`),
      )
    await guest.takeUntil(() => isTold('begin'))
    room.started.clock.advance(250)
    await guest.takeUntil(() => isTold('finished'))
    expect(room.started.engine.typing.leases).toBe(0)
  })

  it('L2 of a session that has ended nothing more is done, and nothing is made into a frame', async () => {
    let encoded = 0
    await using room = await openRoom({}, { toJSON: () => `${encoded++}` })
    const { host, guest, held, conversation, started } = room
    room.read(host, 6)
    host.give('create_message', { conversation, body: 'behind' })
    host.pair.cut()
    giveAll(held)
    await guest.command('get_unread_count')
    expect(held).toEqual([])
    await started.engine.drain()
    expect(encoded).toBe(0)
    expect(guest.events).toHaveLength(1)
  })

  it('S7 what waits was read, and is answered before the end', async () => {
    await using room = await openRoom()
    const { started, host, held, conversation } = room
    const ids = [...room.read(host, 6), host.give('create_message', { conversation, body: 'read before the end' })]
    let drained = false
    const draining = started.engine.drain().then(() => {
      drained = true
    })
    giveAll(held)
    await host.takeUntil(() => held.length === 2)
    expect(drained).toBe(false)
    giveAll(held)
    await draining
    expect((await host.takeToTheEnd()).code).toBe(4503)
    expect(
      repliesTo(host)
        .slice(-7)
        .toSorted((one, other) => one - other),
    ).toEqual(ids)
  })
})

describe('reads over HTTP', () => {
  it('L2 a user has four under way there too, apart from his sessions, and the backend as many as it likes', async () => {
    await using room = await openRoom()
    const { started, host, held, conversation } = room
    room.read(host, 4)
    const reads = Array.from({ length: 10 }, () => callAs(started, alice, 'get_messages', { conversation }))
    const written = callAs(started, alice, 'create_message', { conversation, body: 'behind' })
    expect(held).toHaveLength(8)
    await callAs(started, bob, 'get_unread_count', {})
    const caller = { user: alice, backend: true, session: null }
    for (let count = 0; count < 10; count++) {
      started.engine.call(caller, null, 'get_messages', { conversation }, { result() {}, error() {} })
    }
    expect(held).toHaveLength(18)
    const results = await giveUntil(held, Promise.all([...reads, written]))
    expect(results.slice(0, -1)).toEqual(Array(10).fill({ messages: expect.any(Array) }))
    expect(results.at(-1)).toHaveProperty('message')
  })

  it('L2, U7 what waits when its user is logged out everywhere is refused, and does nothing', async () => {
    await using room = await openRoom()
    const { started, held, conversation } = room
    const reads = Array.from({ length: 6 }, () => callAs(started, alice, 'get_messages', { conversation }))
    const written = callAs(started, alice, 'create_message', { conversation, body: 'behind' })
    const refused = [...reads.slice(4), written].map((call) => codeOf(call))
    await (await connectPumped(started, alice)).command('rotate_user_channel', { revoke: true })
    giveAll(held)
    expect(await Promise.all(refused)).toEqual(Array(3).fill('token_revoked'))
    await Promise.all(reads.slice(0, 4))
    expect(held).toEqual([])
  })

  it('L2 what is too much to wait is rate_limited', async () => {
    await using room = await openRoom()
    const { started, conversation } = room
    for (let count = 0; count < 1_004; count++)
      void callAs(started, alice, 'get_messages', { conversation }).catch(() => {})
    expect(await codeOf(callAs(started, alice, 'get_messages', { conversation }))).toBe('rate_limited')
  })
})
