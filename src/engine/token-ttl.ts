/** For how long a token lives that the server makes (M8), in seconds. */
export const defaultTtlSeconds = 3_600
/** A token can't be taken back before its end, so it must have one: a year at most. */
export const longestTtlSeconds = 365 * 86_400
