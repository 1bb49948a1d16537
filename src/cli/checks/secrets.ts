/** The two secrets: whether they are there, strong, and their owner's alone. None of them is ever told. */
import { statSync } from 'node:fs'
import { OperatorError } from '../../engine/operator-error.ts'
import type { Environment } from '../environment.ts'
import { type FoundSecret, findSecret, keysIn, readSecretIfGiven, type Secret, secrets } from '../secrets.ts'
import { type Finding, fail, ok, othersMode, warn } from './finding.ts'

/** What a guesser with a lot of time is kept out by. A random one of 32 hexadecimal digits has about 118. */
const leastBits = 100

/** With a JWKS a token secret counts only where it is given. */
export function checkSecrets(folder: string, environment: Environment, jwksUrl: string | null): Finding[] {
  const found: string[] = []
  const findings = Object.values(secrets).flatMap((secret): Finding[] => {
    const what = secret.file
    try {
      if (jwksUrl !== null && secret === secrets.tokenSecret && readSecretIfGiven(secret, environment) === null) {
        return [ok(what, 'none, and none is needed with --jwks-url')]
      }
      const one = findSecret(secret, folder, environment)
      if (!one) return [ok(what, 'is not there yet, and will be made')]
      found.push(one.text)
      return [checkOne(what, secret, one)]
    } catch (error) {
      if (!(error instanceof OperatorError)) throw error
      return [fail(what, error.message, 'a server would not start')]
    }
  })
  if (found.length === 2 && found[0] === found[1]) {
    findings.push(warn('secrets', 'both are the same', 'whoever has one has the other: give the API key another value'))
  }
  return findings
}

function checkOne(what: string, secret: Secret, { text, source, remedy, path }: FoundSecret): Finding {
  const flaw = secret.flaw(text)
  if (flaw) return fail(what, `${source} ${flaw}`, remedy)
  if (path && process.platform !== 'win32' && (statSync(path).mode & othersMode) !== 0) {
    return warn(what, `others than its owner may read ${path}`, `chmod 600 ${path}, and replace it if they may have`)
  }
  const guessable = secret === secrets.apiKey ? keysIn(text) : [text]
  if (guessable.some((one) => bits(one) < leastBits))
    return warn(what, `${source} could be guessed`, 'set one of 32 random bytes')
  return ok(what, source)
}

/** How much there is to guess, were each character drawn by itself from those that are there: never more than there really is. */
function bits(text: string): number {
  const counts = new Map<string, number>()
  for (const character of text) counts.set(character, (counts.get(character) ?? 0) + 1)
  let sum = 0
  for (const count of counts.values()) sum -= count * Math.log2(count / text.length)
  return sum
}
