/** Ids that the server makes (W8), and names that nobody can guess (U1). */
import { randomBytes, randomFillSync } from 'node:crypto'

const random = new Uint8Array(16 * 256)
let used = random.length

/** A UUID version 7 (RFC 9562): 48 bits of `at` (milliseconds), so that later ones sort later, and 74 random bits. */
export function uuidv7(at: number): string {
  if (used === random.length) {
    randomFillSync(random)
    used = 0
  }
  const bytes = Buffer.from(random.subarray(used, used + 16))
  used += 16
  bytes.writeUIntBE(at, 0, 6)
  bytes[6] = 0x70 | ((bytes[6] as number) & 0x0f)
  bytes[8] = 0x80 | ((bytes[8] as number) & 0x3f)
  const hex = bytes.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`
}

/** The secret name of a user channel: 32 random bytes, in 43 characters that need no escaping. */
export function channelName(): string {
  return randomBytes(32).toString('base64url')
}
