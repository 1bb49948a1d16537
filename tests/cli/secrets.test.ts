import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { readSecret, secrets } from '../../src/cli/secrets.ts'
import { OperatorError } from '../../src/engine/operator-error.ts'
import { startNode } from './command.ts'
import { temporaryFolder } from './temporary-folder.ts'

const long = 'a secret that has some more than thirty-two bytes'.replaceAll(' ', '-')

function complaint(read: () => unknown): string {
  try {
    read()
  } catch (error) {
    expect(error).toBeInstanceOf(OperatorError)
    expect((error as Error).message).not.toContain('\n')
    return (error as Error).message
  }
  throw new Error('it was taken')
}

describe.each(Object.values(secrets))('$variable', (secret) => {
  const fileVariable = `${secret.variable}_FILE`

  test('CLI a secret comes from the environment, and the data folder gets none then', () => {
    using folder = temporaryFolder()
    expect(readSecret(secret, folder.path, { [secret.variable]: long })).toBe(long)
    expect(readdirSync(folder.path)).toEqual([])
  })

  test.each(['', '\n', '\r\n'])('CLI a secret comes from a file without the newline at its end: %j', (end) => {
    using folder = temporaryFolder()
    writeFileSync(folder.in('given'), `${long}${end}`)
    expect(readSecret(secret, folder.path, { [fileVariable]: folder.in('given') })).toBe(long)
    expect(readdirSync(folder.path)).toEqual(['given'])
  })

  test('CLI the variable and the file at once are an error, and an empty one of them is unset', () => {
    using folder = temporaryFolder()
    writeFileSync(folder.in('given'), long)
    const both = { [secret.variable]: long, [fileVariable]: folder.in('given') }
    expect(complaint(() => readSecret(secret, folder.path, both))).toBe(
      `${secret.variable} and ${fileVariable} are both set; unset one of them`,
    )
    expect(readSecret(secret, folder.path, { ...both, [fileVariable]: '' })).toBe(long)
    expect(readSecret(secret, folder.path, { ...both, [secret.variable]: '' })).toBe(long)
  })

  test('CLI a file that is not there, or is no text, is told by its variable', () => {
    using folder = temporaryFolder()
    const gone = folder.in('gone')
    expect(complaint(() => readSecret(secret, folder.path, { [fileVariable]: gone }))).toBe(
      `${fileVariable} names ${gone}, which can't be read (ENOENT); name a readable file of text`,
    )
    writeFileSync(folder.in('bytes'), Buffer.alloc(32, 0xff))
    expect(complaint(() => readSecret(secret, folder.path, { [fileVariable]: folder.in('bytes') }))).toContain(
      "can't be read (it is no UTF-8 text)",
    )
  })

  test('CLI an absent secret is made once, random and long, and kept for its owner alone', () => {
    using folder = temporaryFolder()
    using other = temporaryFolder()
    const made = readSecret(secret, folder.path, {})
    expect(made).toMatch(/^[\w-]{43}$/)
    expect(secret.flaw(made)).toBeNull()
    expect(readdirSync(folder.path)).toEqual([secret.file])
    expect(statSync(folder.in(secret.file)).mode & 0o777).toBe(0o600)
    expect(readFileSync(folder.in(secret.file), 'utf8')).toBe(made)
    expect(readSecret(secret, folder.path, {})).toBe(made)
    expect(readSecret(secret, other.path, {})).not.toBe(made)
  })

  test('CLI a given secret leaves the kept one as it is', () => {
    using folder = temporaryFolder()
    const made = readSecret(secret, folder.path, {})
    expect(readSecret(secret, folder.path, { [secret.variable]: long })).toBe(long)
    expect(readSecret(secret, folder.path, {})).toBe(made)
  })

  test('CLI what a crash has left of a secret in the making neither counts nor hinders', () => {
    using folder = temporaryFolder()
    writeFileSync(folder.in(`${secret.file}.00000000-0000-0000-0000-000000000000.new`), 'hal')
    const made = readSecret(secret, folder.path, {})
    expect(made).toHaveLength(43)
    expect(readSecret(secret, folder.path, {})).toBe(made)
  })

  test('CLI a kept secret that was damaged is told, and stays as it is', () => {
    using folder = temporaryFolder()
    writeFileSync(folder.in(secret.file), '')
    const message = complaint(() => readSecret(secret, folder.path, {}))
    expect(message).toContain(`${folder.in(secret.file)} `)
    expect(message).toContain('put the right one back, or delete it to have a new one made')
    expect(readFileSync(folder.in(secret.file), 'utf8')).toBe('')
  })

  test('CLI a kept secret that cannot be read is told', () => {
    using folder = temporaryFolder()
    mkdirSync(folder.in(secret.file))
    expect(complaint(() => readSecret(secret, folder.path, {}))).toBe(
      `${folder.in(secret.file)} can't be read (EISDIR); let the server's user read it`,
    )
  })

  test('CLI a secret that cannot be kept is told, with the way around it', () => {
    using folder = temporaryFolder()
    expect(complaint(() => readSecret(secret, folder.in('gone'), {}))).toBe(
      `no secret can be kept at ${folder.in('gone', secret.file)} (ENOENT); make the folder writable, or set the secret in the environment`,
    )
  })
})

test('CLI processes that start at once agree on one secret', async () => {
  using folder = temporaryFolder()
  const module = fileURLToPath(new URL('../../src/cli/secrets.ts', import.meta.url))
  const script = `const { readSecret, secrets } = await import(${JSON.stringify(module)})
    console.log(readSecret(secrets.tokenSecret, ${JSON.stringify(folder.path)}, {}))`
  const endings = await Promise.all(
    Array.from({ length: 4 }, () => startNode(['--input-type=module', '--eval', script]).ended),
  )
  expect(endings.map(({ code, stderr }) => ({ code, stderr }))).toEqual(Array(4).fill({ code: 0, stderr: '' }))
  expect(new Set(endings.map(({ stdout }) => stdout)).size).toBe(1)
  expect(readdirSync(folder.path)).toEqual(['token-secret'])
})

test('S2 a token secret has 32 bytes or more, counted as UTF-8, and a shorter one is never repeated', () => {
  using folder = temporaryFolder()
  const read = (secret: string) => readSecret(secrets.tokenSecret, folder.path, { FANFARE_TOKEN_SECRET: secret })
  expect(complaint(() => read('hush'.repeat(8).slice(1)))).toBe(
    'FANFARE_TOKEN_SECRET has 31 bytes, and needs 32 or more; set another one',
  )
  expect(read('hush'.repeat(8))).toHaveLength(32)
  expect(read('é'.repeat(16))).toHaveLength(16)
  writeFileSync(folder.in('given'), `${'x'.repeat(31)}\n`)
  expect(
    complaint(() => readSecret(secrets.tokenSecret, folder.path, { FANFARE_TOKEN_SECRET_FILE: folder.in('given') })),
  ).toBe(
    `the secret in ${folder.in('given')} (FANFARE_TOKEN_SECRET_FILE) has 31 bytes, and needs 32 or more; put another one there`,
  )
})

test.each(['two words', 'tab\there', 'schlüssel', ' ', ',', 'good,not good', 'nul\0'])(
  'CLI an API key that no header can carry is refused: %j',
  (key) => {
    using folder = temporaryFolder()
    expect(complaint(() => readSecret(secrets.apiKey, folder.path, { FANFARE_API_KEY: key }))).toBe(
      'FANFARE_API_KEY is empty, or has other characters than visible ASCII; set another one',
    )
  },
)
