/** What crosses the wire (W): frames both ways, and the one place where an event becomes a frame's text. */
import type { ErrorBody } from './codes.ts'
import type { ConversationId } from './ids.ts'
import type { RecordEvent } from './records.ts'
import type { TypingData } from './typing.ts'

/** Where a session begins (W1). */
export const socketPath = '/v2/socket'

/** From client to server. Without `id` there is no reply (W2). */
export interface CommandFrame {
  readonly id?: number
  readonly command: string
  readonly args?: { readonly [key: string]: unknown }
}

/** From server to client: the answer to the command with the same `id` (W3). */
export type ReplyFrame =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: ErrorBody }

/** A record event (W4). An event that concerns one user alone has neither `conversation` nor `seq`. */
export interface EventFrame {
  readonly event: RecordEvent['event_type']
  readonly data: RecordEvent
  readonly conversation?: ConversationId
  /** Its place in the conversation: gapless, from 1 (E2). */
  readonly seq?: number
  /** From where a session goes on that comes back (R1). */
  readonly cursor: string
}

/** Who is typing (W5). */
export interface TypingFrame {
  readonly event: 'typing'
  readonly data: TypingData
}

/** What was left out between two events of a conversation, neither of them included (W6). */
export interface GapFrame {
  readonly gap: Gap
}

/** The events of a conversation above `after_seq` and below `before_seq`. */
export interface Gap {
  readonly conversation: ConversationId
  readonly after_seq: number
  readonly before_seq: number
}

export type PushFrame = EventFrame | TypingFrame | GapFrame

/**
 * One frame on its way out. It is made once and shared by all sessions that get it; a transport keeps its own encoding of it in
 * `encoded`, made at most once as well, so that a session more costs a write and nothing else.
 */
export class Frame {
  readonly text: string
  /** The transport's encoding, null until one was made. */
  encoded: Uint8Array | null = null

  constructor(text: string) {
    this.text = text
  }
}

/** Makes the frame of a record event. Its text begins with `{"event":"<type>"` (W4). */
export function encodeEvent(
  data: RecordEvent,
  place: { readonly conversation: ConversationId; readonly seq: number } | null,
  cursor: string,
): Frame {
  return withCursor(encodeWithoutCursor(data, place), cursor)
}

/** The text of a record event's frame but for its cursor, which is not the same on every node (R1). */
export function encodeWithoutCursor(
  data: RecordEvent,
  place: { readonly conversation: ConversationId; readonly seq: number } | null,
): string {
  const event = data.event_type
  return JSON.stringify(
    place
      ? ({ event, data, conversation: place.conversation, seq: place.seq } satisfies Omit<EventFrame, 'cursor'>)
      : ({ event, data } satisfies Omit<EventFrame, 'cursor'>),
  )
}

/** Whether what `encodeWithoutCursor` gave tells that something is gone: its text begins with its type. */
export function tellsDeletion(text: string): boolean {
  return text.startsWith('{"event":"delete"')
}

/** Makes the frame of what `encodeWithoutCursor` gave. */
export function withCursor(text: string, cursor: string): Frame {
  return new Frame(`${text.slice(0, -1)},"cursor":${JSON.stringify(cursor)}}`)
}

/** Makes the frame of a conversation's typing (W5). */
export function encodeTyping(data: TypingData): Frame {
  return new Frame(JSON.stringify({ event: 'typing', data } satisfies TypingFrame))
}

/** Makes the frame that tells of a gap (W6). */
export function encodeGap(gap: Gap): Frame {
  return new Frame(JSON.stringify({ gap } satisfies GapFrame))
}

/** Makes the frame of a reply (W3). */
export function encodeReply(reply: ReplyFrame): Frame {
  return new Frame(JSON.stringify(reply))
}

/** Reads a client's frame: the command, or a sentence that says why it is none (W1). */
export function decodeCommand(text: string): CommandFrame | string {
  let frame: unknown
  try {
    frame = JSON.parse(text)
  } catch {
    return 'the frame is not JSON'
  }
  if (!isObject(frame)) return 'the frame is not a JSON object'
  for (const key of Object.keys(frame)) {
    if (key !== 'id' && key !== 'command' && key !== 'args') return 'a command has id, command and args only'
  }
  const { id, command, args } = frame as { id: unknown; command: unknown; args: unknown }
  if (id !== undefined && !Number.isSafeInteger(id)) return 'id is not an integer'
  if (typeof command !== 'string') return 'command is not a string'
  if (args !== undefined && !isObject(args)) return 'args is not a JSON object'
  return frame as unknown as CommandFrame
}

/** Whether `value` is what JSON calls an object. */
export function isObject(value: unknown): value is { [key: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
