/**
 * What one node sends to the others: a line that says which node it is and the how manieth of its publications this is, then the
 * publication as JSON. The line alone tells a copy that came by another topic, so that none is parsed twice.
 */
import { z } from 'zod'
import { type ConversationId, isConversationId, isUserId, type SessionId, type UserId } from '../protocol/ids.ts'
import type { Publication } from './broker.ts'

/** The node that sent it dropped something that was meant for others, or can't know whether it arrived. */
export const lost = { kind: 'lost' } as const

export type Content = Publication | typeof lost

export interface Envelope {
  readonly node: string
  /** Counts up from 1, for as long as the node has this name. */
  readonly number: number
}

const newline = 0x0a
/** A node's name, a space, and a whole number. */
const head = /^([\w-]{1,32}) ([1-9]\d{0,15})$/
const longestHeadBytes = 49

const encoder = new TextEncoder()
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

export function encode({ node, number }: Envelope, content: Content): Uint8Array {
  return encoder.encode(`${node} ${number}\n${JSON.stringify(content)}`)
}

/** The line of what came; null where there is none. */
export function decodeEnvelope(bytes: Uint8Array): Envelope | null {
  const end = bytes.subarray(0, longestHeadBytes + 1).indexOf(newline)
  const [, node, number] = (end > 0 && head.exec(String.fromCharCode(...bytes.subarray(0, end)))) || []
  return node && number ? { node, number: Number(number) } : null
}

/** What follows the line; null where that is nothing that a node of this version sends. */
export function decodeContent(bytes: Uint8Array): Content | null {
  try {
    const parsed = content.safeParse(JSON.parse(decoder.decode(bytes.subarray(bytes.indexOf(newline) + 1))))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}

const user = z.custom<UserId>(isUserId)
const conversation = z.custom<ConversationId>(isConversationId)
const session = z.custom<SessionId>((value) => typeof value === 'string' && value.startsWith('session/'))

const content: z.ZodType<Content> = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('entry'),
    epoch: z.string(),
    position: z.number(),
    previous: z.number(),
    conversation: conversation.nullable(),
    version: z.number(),
    deliveries: z.array(
      z.object({
        recipients: z.union([z.array(user), z.object({ conversation, version: z.number() })]),
        event: z.string(),
      }),
    ),
    endsTyping: z.object({ conversation, users: z.array(user), left: z.boolean() }).nullable(),
    rotation: z.object({ user, rotatedAt: z.number(), revoke: z.boolean(), by: session.nullable() }).nullable(),
  }),
  z.object({
    kind: z.literal('typing'),
    conversation,
    node: z.string(),
    leases: z.array(
      z.object({
        user,
        entry: z.object({ event: z.enum(['begin', 'pause', 'finished']), at: z.string() }),
        begunAt: z.number(),
      }),
    ),
  }),
  z.object({ kind: z.literal('who_types'), conversation }),
  z.object({ kind: z.literal('finished'), conversation, user }),
  z.object({ kind: z.literal('disconnect'), user }),
  z.object({ kind: z.literal('lost') }),
])
