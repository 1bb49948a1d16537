/** From what is told least to what is told most. */
export const logLevels = ['silent', 'fatal', 'error', 'warn', 'info', 'debug'] as const

export type LogLevel = (typeof logLevels)[number]
