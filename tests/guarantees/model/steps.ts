/** What may happen in a scenario. A step names nothing by its id, only by its place among what there is then, so that any steps make a scenario. */
import fc from 'fast-check'
import { defaultConfig } from '../../../src/engine/config.ts'

/** How far what a device says gets: it stays on the wire, or reaches the server, or is committed and answered, or the device reads the answer. */
export type Reach = 'read' | 'answered' | 'heard' | 'said'

/** Devices 0–3 are the first ones of alice, bob, carol and dave; 4 and 5 are alice's and bob's second ones. */
export const deviceCount = 6
export const people = ['user/alice', 'user/bob', 'user/carol', 'user/dave'] as const

const device = fc.nat(deviceCount - 1)
/** The n-th listens to the n-th person's channel. */
const listener = fc.nat(1)
/** One bit for each person. */
const some = fc.integer({ min: 1, max: 15 })
const reach = fc.constantFrom<Reach>('read', 'read', 'answered', 'heard', 'said')
/** Below `anywhere` a place among the conversations that its user is in, else among all that ever were. */
export const anywhere = 10
const place = fc.oneof(
  { weight: 6, arbitrary: fc.constant(0) },
  { weight: 3, arbitrary: fc.nat(4) },
  { weight: 1, arbitrary: fc.integer({ min: anywhere, max: anywhere + 4 }) },
)
/** Counted from the newest one: below `anybodys` of those that the user has written, where it is for authors only. */
export const anybodys = 5
const message = fc.nat(anybodys + 2)
/** One of a few, so that it comes again; 0 is none. */
const clientId = fc.nat(5)
const cursor = fc.constantFrom<'last' | 'none' | 'earlier'>('last', 'last', 'last', 'earlier', 'none')
/** Which server; where there is one it is that, and the names of several go round. */
const on = fc.nat(2)
const frames = fc.constantFrom(1, 2, 5, 1_000)

const said = { by: device, reach }

const weighted = [
  [20, step('send', { ...said, place, clientId })],
  [3, step('burst', { ...said, place, count: fc.constantFrom(3, 12) })],
  [5, step('lag', { by: device, author: device, place, count: fc.constantFrom(3, 12) })],
  [8, step('edit', { ...said, place, message, clientId, stale: fc.boolean() })],
  [5, step('erase', { ...said, place, message })],
  [8, step('mark', { ...said, place, message })],
  [5, step('create', { ...said, users: some, clientId, distinct: fc.boolean() })],
  [1, step('end', { ...said, place })],
  [2, step('rename', { ...said, place })],
  [6, step('add', { ...said, place, users: some })],
  [5, step('remove', { ...said, place, users: some })],
  [3, step('leave', { ...said, place })],
  [2, step('admins', { ...said, place, users: some, add: fc.boolean() })],
  [2, step('profile', said)],
  [10, step('type', { ...said, place, state: fc.constantFrom('begin', 'pause', 'finished') })],
  [7, step('watch', { ...said, place })],
  [1, step('unwatch', { ...said, place })],
  [4, step('look', { ...said, place, after: fc.nat(9), limit: fc.constantFrom(3, 50) })],
  [2, step('ping', said)],
  [2, step('rotate', { ...said, revoke: fc.constant(false) })],
  [1, step('rotate', { ...said, revoke: fc.constant(true) })],

  [9, step('connect', { by: device, on, cursor, pick: fc.nat(20), reach })],
  [3, step('listen', { by: listener, on, cursor, pick: fc.nat(20), old: fc.boolean(), reach })],
  [4, step('cut', { by: device })],
  [1, step('cut listener', { by: listener })],
  [1, step('abandon', { by: device })],
  [6, step('pump', { by: device, up: frames, down: frames })],
  [2, step('pump listener', { by: listener, up: frames, down: frames })],
  [4, step('pump all', {})],
  [4, step('wait', { ms: fc.constantFrom(1, 100, 250, 2_600, 5_000, 30_000, 601_000) })],
  // Between servers; to one alone it is nothing.
  [8, step('disturb', { on, way: fc.constantFrom('in', 'out'), how: fc.constantFrom('late', 'lost') })],
  [1, step('restart', { on })],
  [1, step('crash', { on })],
] as const

export const anyStep = fc.oneof(
  ...weighted.map(([weight, arbitrary]) => ({ weight, arbitrary: arbitrary as fc.Arbitrary<Step> })),
)

/** What is set for a whole scenario. */
export interface Settings {
  /** Bytes that may wait for a session (S6). */
  readonly queueBytes: number
  /** How long the log is kept (R3). */
  readonly retentionMs: number
  /** How much stands in each message beside what tells it from others. */
  readonly bodyLength: number
}

/** As a server is by default. */
export const roomy: Settings = {
  queueBytes: defaultConfig.queueBytes,
  retentionMs: defaultConfig.retentionMs,
  bodyLength: 0,
}

/** Roomy, or with readers that are soon too slow, or with messages so long that who comes back must read in several goes. */
export const settings: fc.Arbitrary<Settings> = fc.record({
  queueBytes: fc.constantFrom(roomy.queueBytes, roomy.queueBytes, 5_000),
  retentionMs: fc.constantFrom(roomy.retentionMs, 60_000),
  bodyLength: fc.constantFrom(0, 15_000),
})

type Weighted = (typeof weighted)[number][1]
export type Step = Weighted extends infer A ? (A extends fc.Arbitrary<infer S> ? S : never) : never

function step<Name extends string, Parts extends Record<string, fc.Arbitrary<unknown>>>(name: Name, parts: Parts) {
  return fc.record({ step: fc.constant(name), ...parts }) as unknown as fc.Arbitrary<
    { readonly step: Name } & { readonly [Key in keyof Parts]: Parts[Key] extends fc.Arbitrary<infer V> ? V : never }
  >
}
