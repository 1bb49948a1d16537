import fc from 'fast-check'
import { expect, test } from 'vitest'
import { dialects } from '../../bench/load/dialects.ts'
import { FrameReader } from '../../bench/load/wire.ts'
import { encodeEvent, encodeGap, encodeReply, encodeTyping, Frame } from '../../src/protocol/frames.ts'
import { frameBytes } from '../../src/transport/frame-bytes.ts'

test('BENCH the load generator finds every frame, whatever its length and wherever the stream is cut', () => {
  const long = (least: number, most: number) =>
    fc.integer({ min: least, max: most }).map((length) => 'x'.repeat(length))
  const text = fc.oneof(
    { weight: 6, arbitrary: fc.string({ maxLength: 200, unit: 'binary' }) },
    { weight: 6, arbitrary: long(120, 130) },
    { weight: 1, arbitrary: long(65_530, 65_540) },
  )
  fc.assert(
    fc.property(fc.array(text, { maxLength: 6 }), fc.array(fc.nat(), { maxLength: 20 }), (texts, cuts) => {
      const bytes = Buffer.concat(texts.map((one) => frameBytes(new Frame(one))))
      const places = cuts.map((cut) => cut % (bytes.length + 1)).sort((one, other) => one - other)
      const read: string[] = []
      const reader = new FrameReader((op, within, from, to) => read.push(`${op} ${within.toString('utf8', from, to)}`))
      // As from a socket: the next piece overwrites what the last one lay in.
      const shared = Buffer.alloc(bytes.length)
      for (const [index, place] of [...places, bytes.length].entries()) {
        const piece = bytes.subarray(places[index - 1] ?? 0, place)
        piece.copy(shared)
        reader.take(shared.subarray(0, piece.length))
        shared.fill(0)
      }
      expect(read).toEqual(texts.map((one) => `1 ${Buffer.from(one).toString()}`))
    }),
  )
})

test("BENCH the load generator tells the server's frames apart by their first bytes", () => {
  const kindOf = (frame: Frame) => dialects.fanfare.kindOf(Buffer.from(frame.text), 0)
  const conversation = 'conversation/1'
  const record = { id: conversation, deleted: true } as const
  const event = (event_type: 'create' | 'update' | 'delete') =>
    encodeEvent(
      { record_type: 'conversation', event_type, record, original_record: null } as never,
      { conversation, seq: 1 },
      'epoch.1',
    )
  expect(kindOf(event('create'))).toBe('push')
  expect(kindOf(event('update'))).toBe('other')
  expect(kindOf(event('delete'))).toBe('other')
  expect(kindOf(encodeTyping({ [conversation]: {} }))).toBe('typing')
  expect(kindOf(encodeGap({ conversation, after_seq: 1, before_seq: 3 }))).toBe('other')
  expect(kindOf(encodeReply({ id: 1, result: {} }))).toBe('ready')
  expect(kindOf(encodeReply({ id: 12, result: {} }))).toBe('reply')
  const error = { code: 'not_found', message: 'no', retryable: false } as const
  expect(kindOf(encodeReply({ id: 1, error }))).toBe('refusal')
  expect(kindOf(encodeReply({ id: 123, error }))).toBe('refusal')
})
