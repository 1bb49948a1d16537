/**
 * Two groups who have nothing to do with each other on one server, chance at work, and a canary in everything that is anybody's own: in no
 * frame, no answer, no line of the log and no metric may one be that its reader must never see (U1, U2, M2, E5, S1).
 */
import { expect, it } from 'vitest'
import type { CommandName } from '../../src/protocol/commands.ts'
import type { ConversationId, MessageId, UserId } from '../../src/protocol/ids.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { open, type RawSession } from '../../src/testing/raw-session.ts'
import { type ServerProcess, startServerProcess } from './server-process.ts'

const steps = 500

interface Room {
  readonly id: ConversationId
  readonly members: Set<Person>
  readonly messages: { readonly id: MessageId; readonly by: Person }[]
  /** All that was ever said there, be it changed or deleted since. */
  readonly canaries: string[]
}

class Person {
  readonly id: UserId
  readonly group: string
  readonly sessions: RawSession[] = []
  /** All that ever reached him: frames of sessions and listeners that have ended too, and answers over HTTP. */
  readonly seen: string[] = []
  /** His token, and the names that his channel had: nobody else may see them, and the token nobody at all. */
  readonly tokens: string[] = []
  readonly channels: string[] = []
  /** What he must never see. */
  readonly hidden = new Set<string>()

  constructor(group: string, index: number) {
    this.group = group
    this.id = `user/${group}${index}`
  }
}

class Town {
  readonly server: ServerProcess
  readonly random: Random
  readonly people: Person[]
  readonly rooms: Room[] = []
  #canaries = 0

  constructor(server: ServerProcess, random: Random) {
    this.server = server
    this.random = random
    this.people = ['red', 'blue'].flatMap((group) => [1, 2, 3, 4].map((index) => new Person(group, index)))
  }

  /** A word that is nowhere else, hidden from all of the other group. */
  canary(group: string): string {
    const word = `canary-${group}-${++this.#canaries}-${this.random.below(2 ** 31).toString(36)}`
    for (const person of this.people) if (person.group !== group) person.hidden.add(word)
    return word
  }

  /** The same for what is said in a room: hidden from all who are not there, until they come. */
  canaryIn(room: Room, group: string): string {
    const word = this.canary(group)
    room.canaries.push(word)
    for (const person of this.people) if (!room.members.has(person)) person.hidden.add(word)
    return word
  }

  async session(person: Person): Promise<RawSession> {
    const usable = person.sessions.filter(({ webSocket }) => webSocket.readyState === webSocket.OPEN)
    const found = this.random.below(8) > 0 ? usable[0] : undefined
    return found ?? this.connect(person)
  }

  /** Another session: as new, from where one of his was, or with the cursor of anybody. */
  async connect(person: Person): Promise<RawSession> {
    const session = await open(this.server)
    const token = await this.server.token(person.id.slice(5), { jti: `canary-token-${person.id.slice(5)}` })
    person.tokens.push(token)
    const cursors = this.people.flatMap(({ seen }) => seen.findLast((text) => text.includes('"cursor"')) ?? [])
    const cursor = /"cursor":"([^"]+)"/.exec(this.random.pick(['', ...cursors]))?.[1]
    await session.commandOf({ command: 'connect', args: { token, ...(cursor && { cursor }) } })
    this.watch(person, session)
    person.sessions.push(session)
    if (person.sessions.length > 4) await person.sessions.shift()?.end()
    return session
  }

  watch(person: Person, session: RawSession): void {
    person.seen.push(...session.texts)
    session.webSocket.on('message', (data) => person.seen.push(data.toString()))
  }

  /** Gives a command as this person, on a session or over HTTP; null where it was refused. */
  async give(person: Person, command: CommandName, args: object): Promise<Record<string, never> | null> {
    if (this.random.below(4) > 0) {
      const session = await this.session(person)
      return session.commandOf<Record<string, never>>({ command, args }).catch(() => null)
    }
    const token = person.tokens.at(-1) as string
    const { status, text } = await this.server.call(command, args, { authorization: `Bearer ${token}` })
    person.seen.push(text)
    return status === 200 ? JSON.parse(text).result : null
  }

  async makeRoom(person: Person): Promise<void> {
    const members = new Set([
      person,
      ...this.people.filter(({ group }) => group === person.group && this.random.below(2)),
    ])
    const [title, secret] = [this.canary(person.group), this.canary(person.group)]
    for (const other of this.people) if (!members.has(other)) for (const word of [title, secret]) other.hidden.add(word)
    const args = { participants: [...members].map(({ id }) => id), title, metadata: { [secret]: secret } }
    const made = (await this.give(person, 'create_conversation', args)) as {
      conversation: { id: ConversationId }
    } | null
    if (made) this.rooms.push({ id: made.conversation.id, members, messages: [], canaries: [title, secret] })
  }

  async say(person: Person, room: Room): Promise<void> {
    const args = {
      conversation: room.id,
      body: this.canaryIn(room, person.group),
      metadata: { secret: this.canaryIn(room, person.group) },
      attachment: { [this.canaryIn(room, person.group)]: 1 },
      client_id: this.random.pick(['a', 'b', 'c']) + this.random.below(1_000),
    }
    const said = (await this.give(person, 'create_message', args)) as { message: { id: MessageId } } | null
    if (said && room.members.has(person)) room.messages.push({ id: said.message.id, by: person })
  }

  /** Whoever is added reads the whole history: nothing of the room is hidden from him any more. */
  async add(person: Person, room: Room): Promise<void> {
    const other = this.random.pick(this.people.filter(({ group }) => group === person.group))
    const args = { conversation: room.id, participants: [other.id] }
    // What he may see soon he may see now, though the reply is still to come.
    const shown = room.members.has(person) ? room.canaries.filter((word) => other.hidden.delete(word)) : []
    if (await this.give(person, 'add_participants', args)) room.members.add(other)
    else for (const word of shown) other.hidden.add(word)
  }

  async leave(person: Person, room: Room): Promise<void> {
    if (await this.give(person, 'leave_conversation', { conversation: room.id })) room.members.delete(person)
  }

  /** What somebody may try who knows every id there is. */
  async pry(person: Person, room: Room): Promise<void> {
    const conversation = room.id
    const message = this.random.pick([
      ...room.messages.map(({ id }) => id),
      'message/018f0000-0000-7000-8000-000000000000',
    ])
    const other = this.random.pick(this.people)
    const pryings: [CommandName, object][] = [
      ['get_conversation', { conversation }],
      ['get_messages', { conversation }],
      ['get_messages', { conversation, after_seq: 0, limit: 200 }],
      ['get_events', { conversation, after_seq: 0, limit: 200 }],
      ['get_participants', { conversation }],
      ['get_conversations', { before: conversation }],
      ['edit_message', { message, body: this.canaryIn(room, person.group) }],
      ['edit_message', { message, metadata: {}, client_id: 'a1' }],
      ['delete_message', { message }],
      ['mark_as_last_message_read', { conversation, message }],
      ['typing', { conversation, event: 'begin' }],
      ['get_users', { users: this.people.map(({ id }) => id) }],
      ['update_user', { name: this.canary(person.group), metadata: { [this.canary(person.group)]: 1 } }],
      ['get_unread_count', {}],
      ['rotate_user_channel', { user: other.id }],
      ['create_token', { user: other.id }],
      ['put_user', { user: other.id, name: 'x' }],
    ]
    const [command, args] = this.random.pick(pryings)
    const done = await this.give(person, command, args)
    // One's own channel may be rotated so.
    if (command === 'rotate_user_channel' && done) this.#channelOf(person, done)
  }

  async watchTyping(person: Person, room: Room): Promise<void> {
    const session = await this.session(person)
    await session.commandOf({ command: 'subscribe_typing', args: { conversation: room.id } }).catch(() => null)
  }

  async channel(person: Person): Promise<void> {
    const command = this.random.pick(['get_user_channel', 'rotate_user_channel'] as const)
    const done = await this.give(person, command, {})
    if (done) this.#channelOf(person, done)
  }

  /** Somebody who holds a channel's name, be it an old one, listens as its user would. */
  async listen(person: Person): Promise<void> {
    const channel = this.random.pick([...person.channels, 'nobodys'])
    const listener = await open(this.server)
    this.watch(person, listener)
    await listener.commandOf({ command: 'connect', args: { channel } }).catch(() => null)
    person.sessions.unshift(listener)
    if (person.sessions.length > 4) await person.sessions.pop()?.end()
  }

  #channelOf(person: Person, done: object): void {
    const { name } = (done as { user_channel: { name: string } }).user_channel
    person.channels.push(name)
    for (const other of this.people) if (other !== person) other.hidden.add(name)
  }

  async step(): Promise<void> {
    const person = this.random.pick(this.people)
    const room = this.rooms.length > 0 ? this.random.pick(this.rooms) : null
    const own = this.rooms.filter(({ members }) => members.has(person))
    const mine = own.length > 0 ? this.random.pick(own) : null
    const chance = this.random.below(20)
    if (!room || chance === 0) await this.makeRoom(person)
    else if (chance < 6) await this.say(person, mine ?? room)
    else if (chance < 8) await this.say(person, room)
    else if (chance < 10) await this.add(person, mine ?? room)
    else if (chance < 12) await this.leave(person, mine ?? room)
    else if (chance < 14) await this.watchTyping(person, room)
    else if (chance === 14) await this.channel(person)
    else if (chance === 15) await this.listen(person)
    else await this.pry(person, room)
  }
}

it('M2, E5, U1, U2, S1 no frame, answer, line of the log or metric has anything in it that its reader must never see', async () => {
  const random = new Random(seedOfTest())
  await using server = await startServerProcess(['--log-level=debug', '--listeners', '--no-limits'])
  const town = new Town(server, random)
  for (const person of town.people) await town.connect(person)
  for (let step = 0; step < steps; step++) await town.step()
  // All that was sent has come.
  for (const { sessions } of town.people) {
    for (const session of sessions) await session.commandOf({ command: 'ping' }).catch(() => null)
  }

  for (const person of town.people) {
    const seen = person.seen.join('\n')
    const leaked = [...person.hidden].filter((word) => seen.includes(word))
    expect([person.id, leaked]).toEqual([person.id, []])
    for (const { tokens } of town.people) expect(tokens.filter((token) => seen.includes(token))).toEqual([])
    expect(seen).not.toContain(server.apiKey)
  }
  // There was something to be seen, and something to be hidden.
  const everything = town.people.flatMap(({ seen }) => seen).join('\n')
  expect(new Set(everything.match(/canary-red-\d+/g)).size).toBeGreaterThan(50)
  expect(town.people.every(({ hidden }) => hidden.size > 100)).toBe(true)
  expect(town.people.some(({ channels }) => channels.length > 0)).toBe(true)

  const public_ = await Promise.all(
    ['/metrics', '/readyz', '/livez', '/', '/v2/socket', '/v2/get_messages'].flatMap((path) => [
      fetch(server.url + path).then((answer) => answer.text()),
      fetch(server.url + path, { headers: { authorization: `Bearer ${server.apiKey}` } }).then((answer) =>
        answer.text(),
      ),
    ]),
  )
  expect(public_.join('\n')).toMatch(/^fanfare_|^# HELP/m)
  for (const { sessions } of town.people) for (const session of sessions) await session.end()
  const { code, stdout, stderr } = await server.stop()
  expect([code, stderr]).toEqual([0, ''])
  expect(stdout).toContain('session_connected')
  for (const told of [stdout, ...public_]) {
    expect(told).not.toMatch(/canary/)
    for (const { tokens, channels } of town.people) {
      expect([...tokens, ...channels, server.apiKey].filter((secret) => told.includes(secret))).toEqual([])
    }
  }
}, 120_000)
