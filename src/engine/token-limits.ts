/** How long the secret is that tokens are signed with, and how long a token lives that the server makes (M8). */

/** In bytes: less than the digest has could be guessed (RFC 7518, 3.2). */
export const shortestSecretBytes = 32
/** In seconds, where nobody says otherwise. */
export const defaultTtlSeconds = 3_600
/** A token can't be taken back before its end, so it must have one: a year at most. */
export const longestTtlSeconds = 365 * 86_400
