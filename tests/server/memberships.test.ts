/** What a node remembers of who takes part. */
import { expect, it } from 'vitest'
import { Memberships } from '../../src/engine/memberships.ts'
import type { Membership } from '../../src/storage/storage.ts'
import { alice, bob, noConversation as conversation } from '../chat/stage.ts'

it('E5 an answer of before a change of participants serves who asked for it, and does not come in the place of the newer one', () => {
  const memberships = new Memberships({ membership: () => Promise.reject(new Error('nobody asks')) })
  const learn = (version: number, ...participants: Membership['participants'] & object) =>
    memberships.learn(conversation, { version, participants }).users
  expect(learn(2, alice)).toEqual([alice])
  expect(learn(1, alice, bob)).toEqual([alice, bob])
  expect(memberships.get(conversation)?.users).toEqual([alice])
  expect(learn(3, bob)).toEqual([bob])
  expect(memberships.get(conversation)?.users).toEqual([bob])
})
