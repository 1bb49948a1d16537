/** Who may do what, and what an outsider may know (M2, M4, E5): forbidden tells that a thing exists, not_found doesn't. */
import { describe, expect, it } from 'vitest'
import type { ConversationId, MessageId, UserId } from '../../protocol/ids.ts'
import { alice, bob, carol, codeOf, dave, newId, type OpenStorage, openStage, refusal, type Stage } from './stage.ts'

type Try = (stage: Stage, actor: UserId, conversation: ConversationId, message: MessageId) => Promise<unknown>

/** Alice is the conversation's admin, Bob a participant who wrote the message, Carol another; Dave was there. */
const commands: readonly (readonly [name: string, forbidden: readonly UserId[], run: Try])[] = [
  ['reading it', [], (stage, actor, conversation) => stage.get(actor, conversation)],
  ['reading its messages', [], (stage, actor, conversation) => stage.messages(actor, conversation)],
  ['reading its events', [], (stage, actor, conversation) => stage.events(actor, conversation)],
  [
    'reading its participants',
    [],
    (stage, actor, conversation) => stage.storage.conversations.participants(actor, conversation, 10, null),
  ],
  ['marking it read', [], (stage, actor, conversation, message) => stage.read(actor, conversation, message)],
  ['writing a message', [], (stage, actor, conversation) => stage.say(actor, conversation, 'hello')],
  ['leaving', [], (stage, actor, conversation) => stage.leave(actor, conversation)],
  ['changing it', [bob, carol], (stage, actor, conversation) => stage.update(actor, conversation, 'Mine')],
  ['deleting it', [bob, carol], (stage, actor, conversation) => stage.end(actor, conversation)],
  ['adding somebody', [bob, carol], (stage, actor, conversation) => stage.add(actor, conversation, 'user/eve')],
  ['adding who is there', [bob, carol], (stage, actor, conversation) => stage.add(actor, conversation, bob)],
  [
    'removing somebody besides oneself',
    [bob, carol],
    (stage, actor, conversation) => stage.remove(actor, conversation, actor, alice, bob),
  ],
  [
    'removing somebody who is not there',
    [bob, carol],
    (stage, actor, conversation) => stage.remove(actor, conversation, 'user/eve'),
  ],
  [
    'making an admin',
    [bob, carol],
    (stage, actor, conversation) =>
      stage.storage.conversations.setAdmins(stage.act(actor), conversation, [actor], true),
  ],
  [
    'taking an admin’s rights',
    [bob, carol],
    (stage, actor, conversation) =>
      stage.storage.conversations.setAdmins(stage.act(actor), conversation, [alice], false),
  ],
  ['editing the message', [alice, carol], (stage, actor, _, message) => stage.edit(actor, message, { body: 'x' })],
  ['deleting the message', [carol], (stage, actor, _, message) => stage.delete(actor, message)],
]

async function play(stage: Stage) {
  const room = await stage.conversation(alice, [bob, carol, dave])
  const message = await stage.message(bob, room, 'hello')
  await stage.leave(dave, room)
  const look = async () => ({
    view: await stage.get(alice, room),
    messages: await stage.messages(alice, room),
    events: await stage.events(alice, room),
    markers: await Promise.all([bob, carol].map(async (user) => (await stage.get(user, room)).user_conversation)),
  })
  return { room, message: message.id, look }
}

export function rightsContract(open: OpenStorage): void {
  describe('rights', () => {
    it.each(commands)(
      'M2, M4 %s is forbidden to whom the rules say, and changes nothing then',
      async (_, cases, run) => {
        await using stage = await openStage(open)
        const { room, message, look } = await play(stage)
        const before = await look()
        for (const actor of cases) {
          expect([actor, await codeOf(run(stage, actor, room, message))]).toEqual([actor, 'forbidden'])
        }
        expect(await look()).toEqual(before)
      },
    )

    it.each(commands)('M2, M4 %s is open to all others who take part', async (_, cases, run) => {
      await using stage = await openStage(open)
      for (const actor of [alice, bob, carol].filter((user) => !cases.includes(user))) {
        const { room, message } = await play(stage)
        await run(stage, actor, room, message)
      }
    })

    it.each(commands)(
      'M2, E5 %s is not_found to outsiders, in the same words as if nothing were there',
      async (_, __, run) => {
        await using stage = await openStage(open)
        const { room, message, look } = await play(stage)
        const before = await look()
        const nowhere = { room: newId('conversation'), message: newId('message') }
        const words = async (actor: UserId, place: { room: ConversationId; message: MessageId }) => {
          const error = await refusal(run(stage, actor, place.room, place.message))
          return { ...error, message: error.message.replace(place.room, 'room').replace(place.message, 'message') }
        }
        const expected = await words(alice, nowhere)
        expect(expected.code).toBe('not_found')
        for (const outsider of [dave, 'user/eve'] as const) {
          expect(await words(outsider, { room, message })).toEqual(expected)
        }
        expect(await look()).toEqual(before)
        await stage.end(alice, room)
        for (const former of [alice, bob]) expect(await words(former, { room, message })).toEqual(expected)
      },
    )

    it('M6 a message of another conversation is not_found where it is marked read', async () => {
      await using stage = await openStage(open)
      const { room } = await play(stage)
      const other = await stage.conversation(alice, [])
      const message = await stage.message(alice, other, 'elsewhere')
      expect(await codeOf(stage.read(alice, room, message.id))).toBe('not_found')
      expect(await codeOf(stage.read(alice, room, newId('message')))).toBe('not_found')
    })

    it('M4 an author who was removed can neither edit nor delete, and can when he is back', async () => {
      await using stage = await openStage(open)
      const { room, message } = await play(stage)
      await stage.remove(alice, room, bob)
      expect(await codeOf(stage.edit(bob, message, { body: 'x' }))).toBe('not_found')
      expect(await codeOf(stage.delete(bob, message))).toBe('not_found')
      await stage.add(alice, room, bob)
      expect((await stage.edit(bob, message, { body: 'back' })).result.message.body).toBe('back')
    })

    it('M2 who comes back is no admin any more', async () => {
      await using stage = await openStage(open)
      const { room } = await play(stage)
      await stage.storage.conversations.setAdmins(stage.act(alice), room, [bob], true)
      await stage.leave(bob, room)
      await stage.add(alice, room, bob)
      expect((await stage.get(bob, room)).user_conversation.is_admin).toBe(false)
      expect(await codeOf(stage.update(bob, room, 'Mine'))).toBe('forbidden')
    })

    it('M1 the membership of a conversation that is not there is not_found', async () => {
      await using stage = await openStage(open)
      expect(await codeOf(stage.storage.conversations.membership(newId('conversation')))).toBe('not_found')
    })
  })
}
