/** Who guesses ids learns nothing: not by the answer, not by its order or time, and not by what the server does for it (M2). */
import { expect, it } from 'vitest'
import type { CommandName } from '../../src/protocol/commands.ts'
import type { ConversationId, MessageId } from '../../src/protocol/ids.ts'
import type { Storage } from '../../src/storage/storage.ts'
import { startEngine } from '../../src/testing/start-engine.ts'
import { alice, bob, carol, noConversation, noMessage, openRoom, refusal, say } from '../chat/stage.ts'
import { sampleArgs } from '../server/sample-args.ts'

/** Every command that names a conversation or a message, naming these. */
function commandsOn(conversation: ConversationId, message: MessageId): [CommandName, object][] {
  return Object.entries(sampleArgs).flatMap(([name, args]): [CommandName, object][] => {
    const named = { ...args, ...('conversation' in args && { conversation }), ...('message' in args && { message }) }
    return 'conversation' in args || 'message' in args ? [[name as CommandName, named]] : []
  })
}

it('M2, W3 the reply to a guess stands at the same place among other replies, be it something of others or nothing at all', async () => {
  await using room = await openRoom()
  const { id } = await say(room.alice, room.conversation, 'hello')
  const outsider = await room.stage.connect(carol)
  for (const [index, [command, args]] of commandsOn(room.conversation, id).entries()) {
    const [, missing] = commandsOn(noConversation, noMessage)[index]!
    const order = []
    for (const guess of [args, missing]) {
      const from = outsider.frames.length
      await Promise.allSettled([
        outsider.command('ping'),
        outsider.commandOf({ command, args: guess }),
        outsider.command('ping'),
        outsider.command('get_user_channel'),
      ])
      const ids = outsider.frames.slice(from).map((frame) => ('id' in frame ? frame.id : 0))
      order.push(ids.map((one) => one - Math.min(...ids)))
    }
    expect([command, order[0]]).toEqual([command, order[1]])
  }
})

it('M2, T1, T4 storage is asked as much for a guess that hits as for one that does not, and reads no participants for it', async () => {
  const asked: string[] = []
  await using started = await startEngine({ observe: (storage) => watched(storage, asked) })
  const { engine } = started
  const settle = async (pair: ReturnType<typeof started.open>, count: number) => {
    pair.pumpToServer()
    while (pair.texts.length < count) {
      await new Promise(setImmediate)
      pair.pumpToPeer()
    }
    return pair.texts.splice(0).map((text) => JSON.parse(text))
  }
  const connected = async (user: typeof alice) => {
    const pair = started.open()
    pair.say(JSON.stringify({ id: 0, command: 'connect', args: { token: await started.token(user) } }))
    await settle(pair, 1)
    return pair
  }
  const host = await connected(alice)
  host.say(JSON.stringify({ id: 1, command: 'create_conversation', args: { participants: [bob] } }))
  const { id: conversation } = (await settle(host, 2))[0].result.conversation
  host.say(JSON.stringify({ id: 2, command: 'create_message', args: { conversation, body: 'b' } }))
  const { id: message } = (await settle(host, 2))[0].result.message
  expect(engine.memberships.get(conversation)).toBeDefined()

  const outsider = await connected(carol)
  for (const [index, [command, args]] of commandsOn(conversation, message).entries()) {
    const [, missing] = commandsOn(noConversation, noMessage)[index]!
    const work = []
    for (const guess of [args, missing]) {
      asked.length = 0
      outsider.say(JSON.stringify({ id: 3, command, args: guess }))
      await settle(outsider, 1)
      work.push(asked.splice(0))
    }
    expect([command, work[0]]).toEqual([command, work[1]])
  }
  expect(started.faults).toEqual([])
})

it('M7, M8, U5 a user’s id that is nobody’s is answered as one of somebody with whom one shares nothing', async () => {
  await using room = await openRoom()
  await room.alice.command('update_user', { name: 'Alice', metadata: { secret: 1 } })
  const outsider = await room.stage.connect(carol)
  const { users } = await outsider.command('get_users', { users: [alice, 'user/nobody'] })
  expect({ ...users[0], id: 0 }).toEqual({ ...users[1], id: 0 })
  const refused = []
  for (const user of [alice, 'user/nobody'] as const) {
    refused.push(await refusal(outsider.commandOf({ command: 'rotate_user_channel', args: { user, revoke: true } })))
    refused.push(await refusal(outsider.commandOf({ command: 'disconnect_user', args: { user } })))
  }
  expect(refused.slice(2)).toEqual(refused.slice(0, 2))
})

/** The storage, of which each call is written down. */
function watched(storage: Storage, asked: string[]): Storage {
  const noun = <Noun extends object>(name: string, operations: Noun): Noun =>
    new Proxy(operations, {
      get(target, key) {
        const operation = Reflect.get(target, key)
        if (typeof operation !== 'function') return operation
        return (...args: unknown[]) => {
          asked.push(`${name}.${String(key)}`)
          return operation.apply(target, args)
        }
      },
    })
  return new Proxy(storage, {
    get(target, key) {
      const value = Reflect.get(target, key)
      return typeof value === 'object' && value !== null ? noun(String(key), value) : value
    },
  })
}
