/** What the environment gives. A secret comes in a variable, or in the file that the variable with `_FILE` behind names. */
import { readFileSync } from 'node:fs'
import { OperatorError } from '../engine/operator-error.ts'
import { codeOf } from './error-code.ts'

/** The environment: `process.env`, or a test's own. An empty variable counts as unset. */
export type Environment = Readonly<Record<string, string | undefined>>

export interface GivenSecret {
  readonly text: string
  /** Where it comes from, and what to do if it is no good: the begin and the end of an error's sentence. */
  readonly source: string
  readonly remedy: string
}

/** The secret of a variable; null where it is given in neither way. */
export function readGivenSecret(variable: string, environment: Environment): GivenSecret | null {
  const fileVariable = `${variable}_FILE`
  const given = environment[variable]
  const file = environment[fileVariable]
  if (given && file) throw new OperatorError(`${variable} and ${fileVariable} are both set; unset one of them`)
  if (given) return { text: given, source: variable, remedy: 'set another one' }
  if (!file) return null
  try {
    return { text: readText(file), source: `the secret in ${file} (${fileVariable})`, remedy: 'put another one there' }
  } catch (error) {
    throw new OperatorError(
      `${fileVariable} names ${file}, which can't be read (${unreadable(error)}); name a readable file of text`,
    )
  }
}

/** The file's text without the newline that editors and `echo` put at its end. */
export function readText(path: string): string {
  const bytes = readFileSync(path)
  return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes).replace(/\r?\n$/, '')
}

/** Why `readText` could not. */
export function unreadable(error: unknown): string {
  return error instanceof TypeError ? 'it is no UTF-8 text' : String(codeOf(error) ?? error)
}
