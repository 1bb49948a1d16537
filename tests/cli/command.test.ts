import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { commandNames } from '../../src/cli/commands.ts'
import { help } from '../../src/cli/help.ts'
import { runCommand } from './command.ts'
import { oldNode } from './old-node.ts'
import { temporaryFolder } from './temporary-folder.ts'

test.skipIf(!oldNode)('CLI a Node below 24 is one line on stderr and exit code 2, and nothing is made', async () => {
  using folder = temporaryFolder()
  const ending = await runCommand(['serve', '--port', '0', '--data', folder.in('data')], { node: oldNode! })
  expect(ending).toEqual({
    code: 2,
    stdout: '',
    stderr: expect.stringMatching(
      /^fanfare: needs Node 24 or later, and this is Node \d+\.\d+\.\d+; (install a newer Node|call it with) .*\n$/,
    ),
  })
  expect(readdirSync(folder.path)).toEqual([])
})

test.each([[['--help']], [['help']], [['-h']]])(
  'CLI fanfare %j is the help on stdout and exit code 0',
  async (args) => {
    expect(await runCommand(args)).toEqual({ code: 0, stdout: `${help(null)}\n`, stderr: '' })
  },
)

test.each(commandNames)('CLI fanfare %s --help is its help, whatever else is given', async (command) => {
  expect(await runCommand([command, '--port', 'x', '--help'])).toEqual({
    code: 0,
    stdout: `${help(command)}\n`,
    stderr: '',
  })
})

test('CLI --version is the version of the package', async () => {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'))
  expect(await runCommand(['--version'])).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' })
})

interface Misuse {
  readonly what: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly says: string
}

describe('what is asked for wrongly', () => {
  test.each<Misuse>([
    {
      what: 'no command',
      args: [],
      says:
        'which command? It is one of serve, dev, token, rotate, disconnect, backup, copy, doctor and help; ' +
        'see fanfare --help',
    },
    {
      what: 'an unknown command',
      args: ['sreve'],
      says:
        'unknown command "sreve": it is one of serve, dev, token, rotate, disconnect, backup, copy, doctor and help; ' +
        'see fanfare --help',
    },
    {
      what: 'an option before the command',
      args: ['--port', '0', 'serve'],
      says: 'a command comes first, such as serve, and its options after it; see fanfare --help',
    },
    { what: 'an unknown option', args: ['serve', '--prot=0'], says: 'unknown option --prot; see fanfare serve --help' },
    {
      what: 'a bad value',
      args: ['serve', '--port', '80800'],
      says: '--port is "80800", but it takes a port from 0 to 65535; see fanfare serve --help',
    },
    {
      what: 'a bad variable',
      args: ['dev'],
      env: { FANFARE_CONVERSATIONS: 'admins' },
      says: 'FANFARE_CONVERSATIONS is "admins", but it takes everyone or backend; see fanfare dev --help',
    },
    {
      what: 'dev on a host that others reach',
      args: ['dev'],
      env: { FANFARE_HOST: '0.0.0.0' },
      says:
        'FANFARE_HOST is "0.0.0.0", but it takes a host that only this machine can reach (127.0.0.1, ::1, localhost), ' +
        'since dev gives tokens to whoever asks; see fanfare dev --help',
    },
  ])('CLI $what is one line on stderr and exit code 2, and nothing is made', async ({ args, env = {}, says }) => {
    using folder = temporaryFolder()
    const ending = await runCommand(args, { env, cwd: folder.path })
    expect(ending).toEqual({ code: 2, stdout: '', stderr: `fanfare: ${says}\n` })
    expect(readdirSync(folder.path)).toEqual([])
  })

  test('CLI a data folder that cannot be made is one line on stderr and exit code 2', async () => {
    using folder = temporaryFolder()
    writeFileSync(folder.in('file'), 'kept')
    const path = folder.in('file', 'data')
    expect(await runCommand(['serve', '--port=0'], { env: { FANFARE_DATA: path } })).toEqual({
      code: 2,
      stdout: '',
      stderr: `fanfare: the data folder ${path} can't be used: a part of its path is a file; put that right, or choose another one with --data or FANFARE_DATA\n`,
    })
    expect(readFileSync(folder.in('file'), 'utf8')).toBe('kept')
  })

  test.each<Misuse>([
    {
      what: 'a token secret that is too short',
      args: ['serve', '--port=0'],
      env: { FANFARE_TOKEN_SECRET: 'hush' },
      says: 'FANFARE_TOKEN_SECRET has 4 bytes, and needs 32 or more; set another one',
    },
    {
      what: 'a secret given twice',
      args: ['serve', '--port=0'],
      env: { FANFARE_API_KEY: 'hush', FANFARE_API_KEY_FILE: 'hush-hush' },
      says: 'FANFARE_API_KEY and FANFARE_API_KEY_FILE are both set; unset one of them',
    },
  ])('CLI $what is one line on stderr without the secret, and exit code 2', async ({ args, env = {}, says }) => {
    using folder = temporaryFolder()
    const ending = await runCommand(args, { env, cwd: folder.path })
    expect(ending).toEqual({ code: 2, stdout: '', stderr: `fanfare: ${says}\n` })
    expect(ending.stderr).not.toContain('hush')
  })
})
