import type { Limits } from '../engine/config.ts'

/** All rates turned off: tests go faster than people, and most prove something else. */
export const noRates = {
  commandsPerSecond: 0,
  messagesPerSecond: 0,
  typingPerSecond: 0,
  sessionsPerSecondPerAddress: 0,
} satisfies Partial<Limits>
