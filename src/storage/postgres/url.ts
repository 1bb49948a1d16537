/** The URL of a database: `postgres://USER:PASSWORD@HOST:5432/DATABASE`. */

/** Whether `text` is one, as far as can be told without connecting. */
export function isDatabaseUrl(text: string): boolean {
  return /^postgres(ql)?:\/\//.test(text) && URL.canParse(text)
}

/** Whether it holds a password, before the host or among its parameters. One that can't be read may. */
export function hasPassword(text: string): boolean {
  if (!URL.canParse(text)) return /@|password/i.test(text)
  const { password, searchParams } = new URL(text)
  return password !== '' || searchParams.has('password')
}
