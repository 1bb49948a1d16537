/** The end of a scenario: everyone catches up, what they hold is compared with what the server has, and nothing is left behind. */
import { isDeepStrictEqual } from 'node:util'
import { typingExpiryMs, typingPushIntervalMs } from '../../../src/protocol/typing.ts'
import { Device } from './device.ts'
import { people } from './steps.ts'
import type { World } from './world.ts'

/** After this a token is taken again, whatever was revoked before (U7). */
const revocationMs = 7_000
/** How often who is refused, or closed, comes again before that is held against the server. */
const attempts = 5

export async function reckon(world: World): Promise<void> {
  await world.rest()
  world.requireNoViolation()
  await requireNobodyTypes(world)
  await everybodyComesBack(world)
  world.requireNoViolation()
  for (const user of people) await compare(world, user)
  world.requireNoViolation()
  await requireNothingLeft(world)
  world.requireNoViolation()
}

/** No one types for ever: every lease has run out, and all who watch were told so (T2, T3). */
async function requireNobodyTypes(world: World): Promise<void> {
  await world.wait(typingExpiryMs + typingPushIntervalMs)
  await world.rest()
  for (const device of world.devices) {
    for (const [conversation, set] of device.typing) {
      // Who was behind may have missed the end; it lets them go by its own clock (S6, T3).
      if (device.line?.witness.mayMissTyping) continue
      const typists = Object.keys(set)
      if (typists.length > 0) world.report(`T2, T3 ${device.name} sees ${typists} type for ever in ${conversation}`)
    }
  }
}

async function everybodyComesBack(world: World): Promise<void> {
  for (let attempt = 0; attempt < attempts; attempt++) {
    await world.wait(revocationMs)
    await world.rest()
    const away = world.devices.filter((device) => !device.settled)
    if (away.length === 0) return
    world.note(`${away.map(({ name }) => name)} come back`)
    for (const device of away) if (!device.line) world.connect(device, device.cursors.at(-1) ?? null)
    await world.rest()
  }
  const away = world.devices.filter((device) => !device.settled)
  if (away.length > 0) world.report(`${away.map(({ name }) => name)} can not come back`)
}

/** What a user's devices hold, made of a snapshot and events, is what a new one reads as a snapshot. */
async function compare(world: World, user: (typeof people)[number]): Promise<void> {
  const auditor = new Device(user, `auditor of ${user}`, (violation) => world.report(violation))
  world.listeners.push(auditor)
  world.note(`what does ${user} see?`)
  world.connect(auditor, null)
  await world.rest()
  for (const conversation of auditor.conversations) {
    auditor.say('get_conversation', { conversation })
    auditor.say('get_participants', { conversation })
    auditor.say('get_events', { conversation, after_seq: 0, limit: 200 })
  }
  auditor.say('get_unread_count', {})
  await world.rest()
  if (!auditor.settled) world.report(`${user} gets no snapshot`)
  for (const device of world.devices.filter((other) => other.user === user)) {
    if (isDeepStrictEqual(device.state, auditor.state)) continue
    const [held, fresh] = [device, auditor].map(({ state }) => JSON.stringify(state))
    world.report(`R2, E3 ${device.name} holds\n  ${held}\n  and a new session reads\n  ${fresh}`)
  }
  const clientIds = auditor.state.conversations.flatMap(({ messages }) =>
    messages.flatMap(({ created_by, client_id }) => (client_id === null ? [] : `${created_by} ${client_id}`)),
  )
  if (new Set(clientIds).size < clientIds.length) world.report(`M3 a client_id made two messages: ${clientIds}`)
}

async function requireNothingLeft(world: World): Promise<void> {
  await world.cutAll()
  const { servers } = world
  for (let server = 0; server < servers.count; server++) {
    const engine = servers.engine(server)
    const left = {
      sessions: engine.sessions.size,
      attached: people.reduce((count, user) => count + engine.hub.sessions(user).length, 0),
      unconnected: engine.unconnected.of('127.0.0.1'),
      typing: engine.typing.size,
      queuedBytes: engine.queues.bytes,
      timers: servers.timers(server) - world.idleTimers,
    }
    const nothing = { sessions: 0, attached: 0, unconnected: 0, typing: 0, queuedBytes: 0, timers: 0 }
    if (!isDeepStrictEqual(left, nothing)) world.report(`S something is left of the sessions: ${JSON.stringify(left)}`)
  }
  if (servers.topics > 0) world.report(`S the servers still ask for ${servers.topics} topics`)
}
