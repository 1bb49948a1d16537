/** Plays a scenario: each step against what there is then, and in the end the reckoning. */
import type { Args, CommandName } from '../../../src/protocol/commands.ts'
import type { MessageId, UserId } from '../../../src/protocol/ids.ts'
import type { TypingState } from '../../../src/protocol/typing.ts'
import { Device } from './device.ts'
import { reckon } from './reckoning.ts'
import type { StartServers } from './servers.ts'
import { anybodys, people, type Settings, type Step } from './steps.ts'
import { World } from './world.ts'

/** Resolves when all that SPEC.md promises held; else it rejects with what did not, and what led to it. */
export async function play(settings: Settings, steps: readonly Step[], start?: StartServers): Promise<void> {
  await using world = await World.open(settings, start)
  // The first device of each person is there, and all of them are in one conversation.
  for (const device of world.devices.slice(0, people.length)) world.connect(device, null)
  await world.rest()
  world.devices[0]?.say('create_conversation', { participants: [...people] })
  await world.rest()
  for (const step of steps) {
    world.note(JSON.stringify(step))
    await take(world, step)
    world.requireNoViolation()
  }
  await reckon(world)
}

async function take(world: World, step: Step): Promise<void> {
  switch (step.step) {
    case 'connect': {
      const device = world.devices[step.by] as Device
      cut(device)
      world.connect(device, cursorOf(device, step.cursor, step.pick), step.on)
      return world.carry(device, step.reach)
    }
    case 'listen':
      return listen(world, step)
    case 'cut':
      return cut(world.devices[step.by])
    case 'cut listener':
      return cut(world.listeners[step.by])
    case 'abandon':
      return world.devices[step.by]?.abandon()
    case 'pump':
      return pump(world, world.devices[step.by], step)
    case 'pump listener':
      return pump(world, world.listeners[step.by], step)
    case 'pump all':
      return world.rest()
    case 'wait':
      return world.wait(step.ms)
    case 'disturb':
      return world.servers.disturb(step.on, step.way, step.how)
    case 'restart':
    case 'crash':
      return world.restart(step.on, step.step)
    case 'lag':
      return lag(world, step)
    default:
      return give(world, step)
  }
}

type Named<N extends Step['step']> = Extract<Step, { step: N }>
/** What a device says as a command. */
type Said = Exclude<Extract<Step, { reach: unknown }>, Named<'connect' | 'listen'>>
type AnyCommand = { [N in CommandName]: readonly [command: N, args: Args<N>] }[CommandName]

async function give(world: World, step: Said): Promise<void> {
  const device = world.devices[step.by] as Device
  // Who wants to do something opens his application first.
  if (!device.line) {
    world.connect(device, device.cursors.at(-1) ?? null)
    await world.carry(device, 'read')
  }
  if (!device.online) return
  for (let count = step.step === 'burst' ? step.count : 1; count > 0; count--) {
    const [command, args] = commandOf(world, device.user, step)
    device.say(command, args as never)
  }
  return world.carry(device, step.reach)
}

/** A device is away while others write, and comes back to read nothing yet: what it missed waits for it, and more may come. */
async function lag(world: World, { by, author, place, count }: Named<'lag'>): Promise<void> {
  const device = world.devices[by] as Device
  cut(device)
  await give(world, { step: 'burst', by: author, reach: 'answered', place, count })
  cut(device)
  world.connect(device, device.cursors.at(-1) ?? null)
  return world.carry(device, 'answered')
}

function commandOf(world: World, user: UserId, step: Said): AnyCommand {
  const conversation = 'place' in step ? world.idAt(user, step.place) : 'conversation/none'
  const users = 'users' in step ? people.filter((_, index) => step.users & (1 << index)) : []
  const client = 'clientId' in step && step.clientId > 0 ? { client_id: `${step.step} ${step.clientId}` } : {}
  switch (step.step) {
    case 'send':
    case 'burst':
      return ['create_message', { conversation, body: world.body(), ...client }]
    case 'edit': {
      const revision = step.stale ? { revision: 1 } : {}
      return ['edit_message', { message: messageAt(world, user, step), body: world.body(), ...revision, ...client }]
    }
    case 'erase':
      return ['delete_message', { message: messageAt(world, user, step) }]
    case 'mark':
      return ['mark_as_last_message_read', { conversation, message: messageAt(world, user, step) }]
    case 'create':
      return ['create_conversation', { participants: users, distinct_by_participants: step.distinct, ...client }]
    case 'end':
      return ['delete_conversation', { conversation }]
    case 'rename':
      return ['update_conversation', { conversation, title: world.canary().replaceAll('~', '') }]
    case 'add':
      return ['add_participants', { conversation, participants: users }]
    case 'remove':
      return ['remove_participants', { conversation, participants: users }]
    case 'leave':
      return ['leave_conversation', { conversation }]
    case 'admins':
      return [step.add ? 'add_admins' : 'remove_admins', { conversation, admins: users }]
    case 'profile':
      return ['update_user', { name: world.canary().replaceAll('~', '') }]
    case 'type':
      return ['typing', { conversation, event: step.state as TypingState }]
    case 'watch':
      return ['subscribe_typing', { conversation }]
    case 'unwatch':
      return ['unsubscribe_typing', { conversation }]
    case 'look':
      return step.after % 2
        ? ['get_events', { conversation, after_seq: step.after, limit: step.limit }]
        : ['get_messages', { conversation, after_seq: step.after, limit: step.limit }]
    case 'ping':
      return ['ping', {}]
    case 'rotate':
      return ['rotate_user_channel', { revoke: step.revoke }]
  }
}

function messageAt(world: World, user: UserId, { step, place, message }: Named<'edit' | 'erase' | 'mark'>): MessageId {
  const all = world.talkAt(user, place)?.messages ?? []
  const own = all.filter(({ created_by }) => created_by === user)
  const messages = step !== 'mark' && message < anybodys && own.length > 0 ? own : all
  return (
    messages.at(-1 - (message % Math.max(1, messages.length)))?.id ?? 'message/019b7600-0000-7000-8000-000000000000'
  )
}

function cursorOf({ cursors }: Device, which: 'last' | 'none' | 'earlier', pick: number): string | null {
  if (which === 'none' || cursors.length === 0) return null
  return (which === 'last' ? cursors.at(-1) : cursors.at(-1 - (pick % cursors.length))) ?? null
}

async function listen(world: World, step: Named<'listen'>): Promise<void> {
  const user = people[step.by] as UserId
  const current = world.truth.channel(user)?.userChannel.name
  if (!current) return
  const names = world.names.filter((known) => known.user === user).map(({ name }) => name)
  if (!names.includes(current)) world.names.push({ user, name: current })
  const listener = world.listeners[step.by] ?? new Device(user, `listener of ${user}`, (what) => world.report(what))
  world.listeners[step.by] = listener
  cut(listener)
  const name = step.old ? (names[0] ?? current) : current
  world.connect(listener, cursorOf(listener, step.cursor, step.pick), step.on, name)
  return world.carry(listener, step.reach)
}

function cut(device: Device | null | undefined): void {
  device?.line?.pair.cut()
  device?.read()
}

async function pump(world: World, device: Device | null | undefined, { up, down }: { up: number; down: number }) {
  device?.line?.pair.pumpToServer(up)
  await world.settle()
  device?.line?.pair.pumpToPeer(down)
  device?.read()
}
