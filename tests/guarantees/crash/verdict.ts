/** What is there in the end, held against what was acknowledged and what was told. */

import type { EventFrame } from '../../../src/protocol/frames.ts'
import type { ConversationId, UserId } from '../../../src/protocol/ids.ts'
import type { Message } from '../../../src/protocol/records.ts'
import type { ServerProcess } from '../server-process.ts'
import type { Author, Rooms } from './author.ts'
import { nameOf, type Reader } from './reader.ts'

/** A conversation as the server has it. */
export interface History {
  readonly events: readonly EventFrame[]
  readonly messages: readonly Message[]
}

const pageLength = 200

export async function readHistory(server: ServerProcess, user: UserId, conversation: ConversationId): Promise<History> {
  const events: EventFrame[] = []
  const messages: Message[] = []
  for (let after_seq = 0; ; after_seq = events.at(-1)?.seq ?? 0) {
    const page = await server.must(user, 'get_events', { conversation, after_seq, limit: pageLength })
    events.push(...page.events)
    if (page.events.length < pageLength) break
  }
  for (let after_seq = 0; ; after_seq = messages.at(-1)?.seq ?? 0) {
    const page = await server.must(user, 'get_messages', { conversation, after_seq, limit: pageLength })
    messages.push(...page.messages)
    if (page.messages.length < pageLength) break
  }
  return { events, messages }
}

/** All conversations of `user`, by id, with their titles. */
export async function readRooms(server: ServerProcess, user: UserId): Promise<Map<ConversationId, string | null>> {
  const rooms = new Map<ConversationId, string | null>()
  for (let before: ConversationId | undefined; ; ) {
    const { conversations } = await server.must(user, 'get_conversations', {
      limit: pageLength,
      ...(before && { before }),
    })
    for (const { conversation } of conversations) rooms.set(conversation.id, conversation.title)
    before = conversations.at(-1)?.conversation.id
    if (conversations.length < pageLength) return rooms
  }
}

/** Whether the reader has been told as many events as there are. */
export function hasAll({ told }: Reader, histories: ReadonlyMap<ConversationId, History>): boolean {
  return [...histories].every(([id, { events }]) => (told.get(id)?.length ?? 0) >= events.length)
}

/** Says in sentences what is otherwise than it must be. */
export function verdict(
  rooms: Rooms,
  found: ReadonlyMap<ConversationId, string | null>,
  histories: ReadonlyMap<ConversationId, History>,
  authors: readonly Author[],
  readers: readonly Reader[],
): string[] {
  return [
    ...conversationFaults(rooms, found),
    ...[...histories].flatMap(([id, history]) => historyFaults(id, history)),
    ...authors.flatMap((author) => authorFaults(author, histories)),
    ...extraFaults(histories, authors),
    ...readers.flatMap((reader) => [...reader.problems, ...readerFaults(reader, histories)]),
  ]
}

function conversationFaults({ byTitle }: Rooms, found: ReadonlyMap<ConversationId, string | null>): string[] {
  const titles = [...found.values()]
  return [
    ...titles
      .filter((title, index) => titles.indexOf(title) !== index)
      .map((title) => `conversation ${title} is there twice`),
    ...titles
      .filter((title) => !byTitle.has(title ?? ''))
      .map((title) => `conversation ${title} was asked for by nobody`),
    ...[...byTitle]
      .filter(([title, id]) => id === null || found.get(id) !== title)
      .map(([title]) => `conversation ${title} is lost`),
  ]
}

/** The log is gapless, and tells of the same messages as the history. */
function historyFaults(id: ConversationId, { events, messages }: History): string[] {
  const created = events.flatMap(({ data, event, seq }) =>
    data.record_type === 'message' && event === 'create' ? `${seq} ${data.record.id}` : [],
  )
  return [
    ...events.filter(({ seq }, index) => seq !== index + 1).map(({ seq }) => `${id}: seq ${seq} is out of place`),
    ...differences(
      created,
      messages.map((message) => `${message.seq} ${message.id}`),
    ).map((what) => `${id}: log and history differ: ${what}`),
  ]
}

/** What was acknowledged is there, as it was acknowledged, in the order in which it was sent, and each edit happened once. */
function authorFaults(
  { user, written, keepsOrder }: Author,
  histories: ReadonlyMap<ConversationId, History>,
): string[] {
  const faults: string[] = []
  const lastSeqs = new Map<ConversationId, number>()
  const stored = new Map(
    [...histories.values()].flatMap(({ messages }) => messages.map((message) => [message.id, message])),
  )
  for (const { conversation, clientId, body, message, edits, lastBody, deleted } of written) {
    const found = message && stored.get(message.id)
    if (!message || !found) {
      faults.push(`${clientId} is lost`)
      continue
    }
    if (found.seq !== message.seq || found.client_id !== clientId || found.created_by !== user) {
      faults.push(`${clientId} was acknowledged as ${JSON.stringify(message)} and is ${JSON.stringify(found)}`)
    }
    if (message.body !== body) faults.push(`${clientId} was acknowledged with other content`)
    if (found.deleted !== deleted || found.body !== (deleted ? '' : lastBody))
      faults.push(`${clientId} has not its last state`)
    const updates = histories
      .get(conversation)
      ?.events.filter(
        ({ data, event }) => event === 'update' && data.record_type === 'message' && data.record.id === message.id,
      )
    if (updates?.length !== edits) faults.push(`${clientId} was edited ${updates?.length} times, and not ${edits}`)
    if (keepsOrder && message.seq < (lastSeqs.get(conversation) ?? 0))
      faults.push(`${clientId} has overtaken one that was sent before it`)
    lastSeqs.set(conversation, message.seq)
  }
  return faults
}

/** Nothing is there that nobody asked for, and nothing twice. */
function extraFaults(histories: ReadonlyMap<ConversationId, History>, authors: readonly Author[]): string[] {
  const asked = new Set(authors.flatMap(({ written }) => written.map(({ clientId }) => clientId)))
  const ids = [...histories.values()].flatMap(({ messages }) =>
    messages.map(({ client_id }) => client_id ?? 'one without client_id'),
  )
  const seen = new Set<string>()
  return ids.flatMap((id) => {
    if (!asked.has(id)) return `${id} was asked for by nobody`
    if (seen.has(id)) return `${id} is there twice`
    seen.add(id)
    return []
  })
}

function readerFaults({ user, told }: Reader, histories: ReadonlyMap<ConversationId, History>): string[] {
  const unknown = [...told.keys()]
    .filter((id) => !histories.has(id))
    .map((id) => `${user} was told of ${id}, which is not there`)
  return [
    ...unknown,
    ...[...histories].flatMap(([id, { events }]) =>
      differences(
        told.get(id) ?? [],
        events.map(({ data }) => nameOf(data)),
      ).map((what) => `${user} in ${id}: ${what}`),
    ),
  ]
}

/** The first place where two lists differ; none where they are equal. */
function differences(got: readonly string[], wanted: readonly string[]): string[] {
  const length = Math.max(got.length, wanted.length)
  for (let index = 0; index < length; index++) {
    if (got[index] === wanted[index]) continue
    return [`at ${index + 1} of ${wanted.length} came ${got[index] ?? 'nothing'} for ${wanted[index] ?? 'nothing'}`]
  }
  return []
}
