/** Messages: writing, editing and deleting them, client_ids, and paging through history (M3–M5). */
import { describe, expect, it } from 'vitest'
import type { ConversationId } from '../../protocol/ids.ts'
import { alice, bob, codeOf, entryOf, newId, type OpenStorage, openStage, refusal, type Stage, time } from './stage.ts'

/** Text of every plane, and what databases and JSON trip over. */
const strings = [
  'plain',
  '',
  ' \t\r\n ',
  'Ünïcödé e\u0301 \u{1E9E}',
  '日本語 한국어 العربية עברית',
  '👩🏽‍🚀🏳️‍🌈 \u{1F600}',
  '\u{10FFFF}\u{100000}\u{F0000}\u{E0001}\u{20000}\u{1D11E}',
  '\uFFFE\uFFFF\uFEFF\u2028\u2029\u200F\u0001\u001F\u007F\u0085',
  `'; DROP TABLE message; -- " \\ \${x} %s $1 ?1 :a @b`,
  '{"$.body":"json_set"}',
  'x'.repeat(100_000),
]

async function room(stage: Stage, length: number): Promise<ConversationId> {
  const conversation = await stage.conversation(alice, [bob])
  for (let index = 1; index <= length; index++) await stage.message(index % 2 ? alice : bob, conversation, `${index}`)
  return conversation
}

export function messagesContract(open: OpenStorage): void {
  describe('writing a message', () => {
    it('M3, E1 the record is whole', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const id = newId('message')
      const at = time(stage.now)
      const content = { metadata: { a: { b: [1, 2.5, null, true] } }, attachment: { url: 'https://x.example' } }
      const { result } = await stage.say(bob, conversation, 'hello', { id, ...content, clientId: 'c' })
      expect(result.message).toEqual({
        id,
        conversation,
        created_by: bob,
        created_at: at,
        updated_at: at,
        body: 'hello',
        ...content,
        seq: 2,
        revision: 1,
        edited_at: null,
        edited_by: null,
        deleted: false,
        client_id: 'c',
      })
      expect(await stage.messages(alice, conversation)).toEqual([result.message])
    })

    it('M3 strings of all planes come back as they were, live, from history and after reopening', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const written = await Promise.all(
        strings.map((text) => {
          const metadata = Object.fromEntries([
            [text, text],
            ['__proto__', [text]],
          ])
          return stage.message(alice, conversation, text, { metadata, attachment: { text }, clientId: text })
        }),
      )
      expect(written.map(({ body }) => body)).toEqual(strings)
      expect(written.map(({ metadata }) => Object.entries(metadata))).toEqual(
        strings.map((text) => [
          [text, text],
          ['__proto__', [text]],
        ]),
      )
      const renamed = (await stage.update(alice, conversation, strings[6], { a: strings[7] })).result.conversation
      const edited = await stage.edit(alice, written[0]!.id, { body: strings[5]!, metadata: { a: strings[6] } })
      await stage.storage.users.put(stage.act(alice), { name: strings[5]!, metadata: { a: strings[7] } })
      await stage.reopen()
      const history = await stage.messages(bob, conversation, { after_seq: 0 })
      expect(history).toEqual([edited.result.message, ...written.slice(1)])
      const events = await stage.storage.events.list(bob, conversation, 1, 100)
      expect(events.slice(0, strings.length).map(({ data }) => data.record)).toEqual(written)
      expect((await stage.get(bob, conversation)).conversation).toMatchObject({
        title: strings[6],
        metadata: renamed.metadata,
      })
      expect((await stage.storage.users.get(bob, [alice])).users[0]).toMatchObject({
        name: strings[5],
        metadata: { a: strings[7] },
      })
      const retried = await stage.say(alice, conversation, 'x', { clientId: strings[6]! })
      expect(retried).toEqual({ result: { message: written[6] }, entry: null })
    })

    it('M3 the same client_id is the same message for ever, as it is now, and no second event', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const first = await stage.message(alice, conversation, 'one', { clientId: 'c' })
      const retry = () => stage.say(alice, conversation, 'another', { clientId: 'c' })
      expect(await retry()).toEqual({ result: { message: first }, entry: null })
      const edited = (await stage.edit(alice, first.id, { body: 'two' })).result.message
      expect(await retry()).toEqual({ result: { message: edited }, entry: null })
      await stage.reopen()
      expect(await retry()).toEqual({ result: { message: edited }, entry: null })
      const deleted = (await stage.delete(alice, first.id)).result.message
      expect(await retry()).toEqual({ result: { message: deleted }, entry: null })
      await stage.leave(alice, conversation)
      expect(await codeOf(retry())).toBe('not_found')
    })

    it('M3 the same client_id asked for at once makes one message', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const asked = await Promise.all(
        Array.from({ length: 10 }, (_, index) => stage.say(alice, conversation, `${index}`, { clientId: 'c' })),
      )
      expect(asked.filter(({ entry }) => entry)).toHaveLength(1)
      expect(asked.map(({ result }) => result.message)).toEqual(asked.map(() => asked[0]?.result.message))
      expect(await stage.messages(bob, conversation)).toHaveLength(1)
    })

    it('M3 a client_id belongs to its user and command, and stands for one message in all conversations', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const other = await stage.conversation(alice, [bob])
      const ours = await stage.message(alice, conversation, 'one', { clientId: 'c' })
      const theirs = await stage.say(bob, conversation, 'two', { clientId: 'c' })
      expect(theirs.entry).not.toBeNull()
      expect((await stage.edit(alice, ours.id, { body: 'three', clientId: 'c' })).entry).not.toBeNull()
      expect((await stage.say(alice, other, 'elsewhere', { clientId: 'c' })).result.message).toMatchObject({
        id: ours.id,
        conversation,
        body: 'three',
      })
    })

    it('M3 what was refused does not use its client_id up', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [])
      expect(await codeOf(stage.say(bob, conversation, 'early', { clientId: 'c' }))).toBe('not_found')
      await stage.add(alice, conversation, bob)
      const message = await stage.message(bob, conversation, 'now', { clientId: 'c' })
      expect(await codeOf(stage.edit(bob, message.id, { body: 'x', revision: 9, clientId: 'e' }))).toBe('conflict')
      expect((await stage.edit(bob, message.id, { body: 'y', clientId: 'e' })).result.message.body).toBe('y')
    })
  })

  describe('editing and deleting', () => {
    it('M4 an edit changes what it names, and leaves the rest', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const content = { metadata: { a: 1 }, attachment: { url: 'x' } }
      const message = await stage.message(bob, conversation, 'one', content)
      const at = time(stage.now)
      const edited = (await stage.edit(bob, message.id, { body: '' })).result.message
      const stamps = { updated_at: at, edited_at: at, edited_by: bob }
      expect(edited).toEqual({ ...message, body: '', revision: 2, ...stamps })
      const changes = { metadata: {}, attachment: null }
      expect((await stage.edit(bob, message.id, changes)).result.message).toMatchObject({ body: '', ...changes })
      expect((await stage.edit(bob, message.id, { attachment: { b: 2 } })).result.message).toMatchObject({
        body: '',
        metadata: {},
        attachment: { b: 2 },
        revision: 4,
      })
    })

    it('M4 a stale revision is conflict and changes nothing, the present one is taken', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const { id } = await stage.message(bob, conversation, 'one')
      const [first, second] = await Promise.allSettled([
        stage.edit(bob, id, { body: 'phone', revision: 1 }),
        stage.edit(bob, id, { body: 'desk', revision: 1 }),
      ])
      expect([first.status, second.status]).toEqual(['fulfilled', 'rejected'])
      for (const revision of [0, 1, 3]) {
        expect(await codeOf(stage.edit(bob, id, { body: 'stale', revision }))).toBe('conflict')
      }
      expect((await stage.messages(alice, conversation))[0]).toMatchObject({ body: 'phone', revision: 2 })
      const edited = await stage.edit(bob, id, { body: 'both', revision: 2 })
      expect([edited.result.message.body, entryOf(edited).place?.seq]).toEqual(['both', 4])
    })

    it('M4 a deleted message cannot be edited, and deleting it again answers the tombstone without an event', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const { id } = await stage.message(bob, conversation, 'one')
      const { message } = (await stage.delete(alice, id)).result
      expect(message).toMatchObject({ deleted: true, body: '', revision: 2, created_by: bob })
      expect(await codeOf(stage.edit(bob, id, { body: 'x' }))).toBe('conflict')
      expect(await codeOf(stage.edit(bob, id, { body: 'x', revision: 2 }))).toBe('conflict')
      for (const who of [alice, bob]) expect(await stage.delete(who, id)).toEqual({ result: { message }, entry: null })
      expect(await stage.messages(bob, conversation)).toEqual([message])
      expect((await stage.get(bob, conversation)).conversation.last_seq).toBe(3)
    })

    it('M3 an edit with the same client_id is made once, and answers with the message as it is now', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const { id } = await stage.message(bob, conversation, 'one')
      const edit = () => stage.edit(bob, id, { body: 'two', revision: 1, clientId: 'c' })
      const asked = await Promise.all([edit(), edit(), edit()])
      expect(asked.map(({ entry }) => entry?.place?.seq)).toEqual([3, undefined, undefined])
      expect(asked.map(({ result }) => result.message)).toEqual(asked.map(() => asked[0]?.result.message))
      const later = (await stage.edit(bob, id, { body: 'three' })).result.message
      await stage.reopen()
      expect(await edit()).toEqual({ result: { message: later }, entry: null })
      const { message: tombstone } = (await stage.delete(alice, id)).result
      expect(await edit()).toEqual({ result: { message: tombstone }, entry: null })
      await stage.remove(alice, conversation, bob)
      expect(await codeOf(edit())).toBe('not_found')
    })

    it('M4 a conflict names the message, and its revision where that is stale', async () => {
      await using stage = await openStage(open)
      const { id } = await stage.message(alice, await stage.conversation(alice, []), 'one')
      const stale = await refusal(stage.edit(alice, id, { body: 'x', revision: 7 }))
      expect(stale).toMatchObject({ code: 'conflict', retryable: false, details: { revision: 1 } })
      expect(stale.message).toContain(id)
    })
  })

  describe('history', () => {
    it('M5 comes newest first, below before_seq, and oldest first above after_seq', async () => {
      await using stage = await openStage(open)
      const conversation = await room(stage, 6)
      const bodies = async (range: Parameters<Stage['messages']>[2], limit?: number) =>
        (await stage.messages(bob, conversation, range, limit)).map(({ body }) => body).join('')
      expect(await bodies({})).toBe('654321')
      expect(await bodies({}, 2)).toBe('65')
      expect(await bodies({ before_seq: 6 }, 2)).toBe('43')
      expect(await bodies({ before_seq: 2 })).toBe('')
      expect(await bodies({ before_seq: 100 })).toBe('654321')
      expect(await bodies({ after_seq: 0 }, 2)).toBe('12')
      expect(await bodies({ after_seq: 3 }, 3)).toBe('345')
      expect(await bodies({ after_seq: 7 })).toBe('')
      expect(await bodies({ after_seq: 2, before_seq: 6 })).toBe('234')
      expect(await bodies({ after_seq: 5, before_seq: 3 })).toBe('')
    })

    it('M5 has tombstones, and the seqs of other events are left out', async () => {
      await using stage = await openStage(open)
      const conversation = await room(stage, 2)
      const [second, first] = await stage.messages(bob, conversation)
      await stage.edit(alice, first!.id, { body: 'edited' })
      await stage.delete(bob, second!.id)
      await stage.update(alice, conversation, 'Title')
      await stage.message(alice, conversation, 'last')
      const messages = await stage.messages(bob, conversation)
      expect(messages.map(({ seq, body, deleted }) => [seq, body, deleted])).toEqual([
        [7, 'last', false],
        [3, '', true],
        [2, 'edited', false],
      ])
    })

    it('M5 before_time stays below a time, between other events and among messages of one millisecond', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const times: number[] = []
      for (const [index, step] of [0, 0, 5, 0, 1, 3_600_000, 0, 0, 1].entries()) {
        stage.now = (times.at(-1) ?? stage.now) + step
        times.push(stage.now)
        const { id } = await stage.message(alice, conversation, `${index}`)
        if (index % 3 === 0) await stage.edit(alice, id, { metadata: { index } })
      }
      for (const at of new Set(times.flatMap((one) => [one - 1, one, one + 1]))) {
        const expected = times.flatMap((one, index) => (one < at ? [`${index}`] : [])).reverse()
        const found = await stage.messages(bob, conversation, { before_time: time(at) })
        expect(found.map(({ body }) => body)).toEqual(expected)
      }
      const both = { before_time: time(stage.now + 1), before_seq: 4 }
      expect((await stage.messages(bob, conversation, both)).map(({ seq }) => seq)).toEqual([2])
      const between = { before_time: time(times[5]!), after_seq: 2 }
      expect((await stage.messages(bob, conversation, between, 2)).map(({ body }) => body)).toEqual(['1', '2'])
    })

    it('M5 before_time in an empty conversation finds nothing', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [])
      expect(await stage.messages(alice, conversation, { before_time: time(stage.now) })).toEqual([])
    })

    it('M5 an edited message stands in each event as it was then', async () => {
      await using stage = await openStage(open)
      const conversation = await stage.conversation(alice, [bob])
      const one = await stage.say(bob, conversation, 'one')
      const { id } = one.result.message
      const written = [
        one,
        await stage.edit(bob, id, { body: 'two' }),
        await stage.say(alice, conversation, 'between'),
        await stage.edit(bob, id, { metadata: { three: 3 } }),
        await stage.update(alice, conversation, 'Title'),
      ]
      expect(await stage.storage.events.list(alice, conversation, 1, 100)).toEqual(
        written.map((each) => {
          const { position, place, tellings } = entryOf(each)
          return { position, place, data: tellings[0]?.data }
        }),
      )
    })
  })
}
