/** What the suite's tests on resuming have in common: asking for all that somebody missed. */
import { expect } from 'vitest'
import type { ConversationId, UserId } from '../../protocol/ids.ts'
import type { RecordEvent } from '../../protocol/records.ts'
import type { Missed, ReadEvent } from '../../storage/storage.ts'
import { alice, type Stage } from './stage.ts'

/** Everything that the user missed, in the order in which it is told; the events behind the first ones are asked for as the engine does. */
export async function allMissed(
  stage: Stage,
  user: UserId,
  position: number,
  epoch = stage.storage.epoch,
): Promise<Missed | null> {
  const missed = await stage.storage.events.missed(user, { epoch, position })
  if (!missed) return null
  const events: ReadEvent[] = [...missed.events]
  for (let positions = missed.positions; positions.length > 0; ) {
    const read = await stage.storage.events.read(user, positions.slice(0, 100))
    if (!read) throw new Error('nothing was pruned')
    expect(read.read).toBeGreaterThan(0)
    events.push(...read.events)
    positions = positions.slice(read.read)
  }
  return { ...missed, events }
}

/** What the user missed, as data alone. */
export async function missedData(stage: Stage, user: UserId, position: number): Promise<RecordEvent[] | null> {
  const missed = await allMissed(stage, user, position)
  return missed ? missed.events.map(({ data }) => data) : null
}

/** Where the log stands. */
export async function here(stage: Stage): Promise<number> {
  return (await stage.storage.events.missed(alice, { epoch: stage.storage.epoch, position: stage.storage.position }))!
    .upTo
}

export function gone(id: ConversationId): RecordEvent {
  return { record_type: 'conversation', event_type: 'delete', record: { id }, original_record: { id } }
}

/** Messages asked for in a few turns. */
export async function sayMany(stage: Stage, conversation: ConversationId, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 500) {
    const turn = Array.from({ length: Math.min(left, 500) }, () => stage.say(alice, conversation, '.'))
    await Promise.all(turn)
  }
}
