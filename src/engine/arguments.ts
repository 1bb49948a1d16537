/** Arguments: the schemas that commands share, and the limits of size that an operator can set (section L). */
import { z } from 'zod'
import { FanfareError } from '../protocol/codes.ts'
import { isObject } from '../protocol/frames.ts'
import {
  type ConversationId,
  isConversationId,
  isMessageId,
  isUserId,
  type MessageId,
  type UserId,
} from '../protocol/ids.ts'
import type { Metadata } from '../protocol/records.ts'

const defaultPageLength = 50
/** Deeper JSON is nobody's metadata, and would cost the stack. */
const metadataDepth = 32
/** An error names no more of a key that does not exist, be it as long as the frame. */
const namedCharacters = 64

// PostgreSQL can't hold U+0000, and a lone surrogate has no UTF-8: what one database takes, the other must take too.
const storable = (text: string) => text.isWellFormed() && !text.includes('\0')
const notStorable = 'has characters that can not be stored (U+0000 or a lone surrogate)'

export const text = z.string().refine(storable, notStorable)
export const userId = z.custom<UserId>(isUserId, 'is no user id, such as user/alice')
export const conversationId = z.custom<ConversationId>(isConversationId, 'is no conversation id')
export const messageId = z.custom<MessageId>(isMessageId, 'is no message id')
export const clientId = text.min(1).max(128)
export const metadata = z
  .custom<Metadata>(isObject, 'is no JSON object')
  .refine(isStorable, `${notStorable}, or a number that is too large for a double`)
export const time = z.iso.datetime({ offset: true })
export const seq = z.int().min(0)
export const pageLimit = z.int().min(1).optional()

/** Checks `args` against a command's schema; what is wrong is `invalid_argument`, naming the key: one that does not exist before all else. */
export function parseArgs<T>(schema: z.ZodType<T>, args: unknown): T {
  const parsed = schema.safeParse(args)
  if (parsed.success) return parsed.data
  const { issues } = parsed.error
  // A key that is misspelt is missing as well, and the sender is to hear what he wrote.
  const issue = issues.find(({ code }) => code === 'unrecognized_keys') ?? issues[0]
  if (!issue) throw new FanfareError('invalid_argument', 'the arguments are not valid')
  if (issue.code === 'unrecognized_keys') {
    throw new FanfareError(
      'invalid_argument',
      `there is no argument ${JSON.stringify(issue.keys[0]?.slice(0, namedCharacters))}`,
    )
  }
  const key = issue.path.join('.')
  throw new FanfareError('invalid_argument', key ? `${key}: ${issue.message}` : issue.message)
}

/** How long a page is to be: what was asked for, up to the operator's limit. */
export function pageLength(asked: number | undefined, limit: number): number {
  if (limit > 0 && asked !== undefined && asked > limit) {
    throw new FanfareError('invalid_argument', `limit: a page has at most ${limit}`, { limit })
  }
  return asked ?? (limit > 0 ? Math.min(defaultPageLength, limit) : defaultPageLength)
}

/** `too_large` for a text of more UTF-8 bytes than `limit`; 0 is no limit. */
export function requireTextSize(name: string, value: string | null | undefined, limit: number): void {
  if (limit > 0 && value && Buffer.byteLength(value) > limit) {
    throw new FanfareError('too_large', `${name} has more than ${limit} bytes`, { limit })
  }
}

/** `too_large` for JSON of more bytes than `limit` (0 is no limit), or nested too deep. */
export function requireMetadataSize(name: string, value: Metadata | null | undefined, limit: number): void {
  if (!value) return
  if (isDeeper(value, metadataDepth)) {
    throw new FanfareError('too_large', `${name} is nested more than ${metadataDepth} deep`, { limit: metadataDepth })
  }
  if (limit > 0) requireTextSize(name, JSON.stringify(value), limit)
}

/**
 * Whether all strings in it can be stored, keys too, and all numbers: one that no double holds was read as infinite, and would be written
 * as null. It may be nested deeper than the stack could follow: that is refused later.
 */
function isStorable(value: unknown): boolean {
  const left = [value]
  while (left.length > 0) {
    const one = left.pop()
    if (typeof one === 'string' && !storable(one)) return false
    if (typeof one === 'number' && !Number.isFinite(one)) return false
    if (typeof one === 'object' && one !== null) for (const [key, inner] of Object.entries(one)) left.push(key, inner)
  }
  return true
}

function isDeeper(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return false
  if (depth === 0) return true
  return Object.values(value).some((inner) => isDeeper(inner, depth - 1))
}
