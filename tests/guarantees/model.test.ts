/**
 * What Fanfare promises, held against random scenarios: a real engine on a real database, clients by the contract that do and suffer
 * anything, and a model of the truth that they are held against. `npm run model-test -- --runs 10000` plays more of them.
 */
import { expect, test } from 'vitest'
import { seedOfTest } from '../../src/testing/random.ts'
import { play } from './model/play.ts'
import { playScenarios } from './model/scenarios.ts'
import { roomy } from './model/steps.ts'

const runs = 60
/** Only who is about to fail, or a machine that stands still, comes near to it. */
const limitMs = 300_000

test('E2, E3, E4, E5, E6, M1, M2, M3, M4, M5, M6, M7, R1, R2, R3, R5, T2, T3, T4, U2, U3, U6, U7 whatever happens, all that is promised holds', async () => {
  let held = 0
  await playScenarios({
    runs,
    seed: seedOfTest(),
    path: process.env.FANFARE_PATH ?? '',
    limitMs,
    onHeld: () => held++,
  })
  expect(held).toBeGreaterThan(0)
}, 600_000)

// Scenarios that did not hold once, as small as they were made.

test('R2, R3 a cursor that a resume gives for what was before a restart holds', async () => {
  await play(roomy, [
    { step: 'cut', by: 1 },
    { step: 'send', by: 0, reach: 'read', place: 0, clientId: 0 },
    { step: 'send', by: 0, reach: 'read', place: 0, clientId: 0 },
    { step: 'crash', on: 0 },
    { step: 'connect', by: 1, on: 0, cursor: 'last', pick: 0, reach: 'answered' },
    { step: 'pump', by: 1, up: 1, down: 2 },
    { step: 'connect', by: 1, on: 0, cursor: 'last', pick: 0, reach: 'read' },
  ])
})

test('E5 who comes back to a conversation that is over is told no more of how far he had read there', async () => {
  await play(roomy, [
    { step: 'send', by: 1, reach: 'read', place: 0, clientId: 0 },
    { step: 'mark', by: 0, reach: 'heard', place: 0, message: 0 },
    { step: 'end', by: 0, reach: 'said', place: 0 },
    { step: 'send', by: 0, reach: 'heard', place: 0, clientId: 0 },
    { step: 'cut', by: 0 },
  ])
})

test('T2 that the author types no more is told before his message, also where his session has ended just before', async () => {
  await play(roomy, [
    { step: 'watch', by: 0, reach: 'read', place: 0 },
    { step: 'type', by: 2, reach: 'read', place: 0, state: 'begin' },
    { step: 'connect', by: 2, on: 0, cursor: 'last', pick: 0, reach: 'read' },
    { step: 'wait', ms: 1 },
    { step: 'send', by: 2, reach: 'read', place: 0, clientId: 0 },
  ])
})

test('T4, E5 who is added again does not watch what he watched before', async () => {
  await play(roomy, [
    { step: 'watch', by: 3, reach: 'read', place: 0 },
    { step: 'type', by: 0, reach: 'read', place: 0, state: 'begin' },
    { step: 'remove', by: 0, reach: 'read', place: 0, users: 8 },
    { step: 'add', by: 0, reach: 'read', place: 0, users: 8 },
    { step: 'wait', ms: 1 },
    { step: 'send', by: 0, reach: 'read', place: 0, clientId: 0 },
    { step: 'type', by: 0, reach: 'read', place: 0, state: 'begin' },
  ])
})
