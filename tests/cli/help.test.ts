import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { type Command, commandNames, commands } from '../../src/cli/commands.ts'
import { defaultsOf, help } from '../../src/cli/help.ts'
import { allOptions, optionsOf, variableOf } from '../../src/cli/options.ts'
import { secrets } from '../../src/cli/secrets.ts'

const bothCommands: readonly Command[] = ['serve', 'dev']

/** The lines of a Markdown table. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}

/** The first table below a heading of a page. */
function tableBelow(page: string, heading: string): string {
  const lines = page.slice(page.indexOf(heading)).split('\n')
  const start = lines.findIndex((line) => line.startsWith('|'))
  const rest = lines.slice(start)
  return rest
    .slice(
      0,
      rest.findIndex((line) => !line.startsWith('|')),
    )
    .join('\n')
}

describe.each<[Command | null, readonly Command[]]>([
  [null, bothCommands],
  ['serve', ['serve']],
  ['dev', ['dev']],
])('the help of %s', (command, names) => {
  test.each(optionsOf(names[0]!))('CLI it lists --$name with its variable, its default and a sentence', (option) => {
    const lines = help(command).split('\n')
    const at = lines.findIndex((line) => line.startsWith(`  --${option.name} `))
    expect(lines[at]).toContain(`[${variableOf(option)}, default ${defaultsOf(option, names)}]`)
    if (option.kind.placeholder) expect(lines[at]).toContain(`--${option.name} ${option.kind.placeholder} `)
    expect(lines[at + 1]?.trim()).toBe(option.help)
    expect(option.help).toMatch(/^[A-Z].*[.]$/)
  })

  test('CLI it lists the secrets with both variables', () => {
    for (const secret of Object.values(secrets)) {
      expect(help(command)).toContain(`${secret.variable} or ${secret.variable}_FILE  `)
    }
  })
})

test('CLI the help of all has every command, and every option of every command', () => {
  const lines = help(null).split('\n')
  for (const name of commandNames) {
    const { help: about, operand } = commands[name]
    const usage = operand ? `${name} ${operand.placeholder}` : name
    expect(lines).toContain(`  ${usage.padEnd(17)}${about}`)
    expect(about).toMatch(/^[A-Z].*[.]$/)
  }
  for (const { name } of allOptions) expect(lines.filter((line) => line.startsWith(`  --${name} `))).toHaveLength(1)
  expect(lines).toContain(`  ${'help'.padEnd(17)}Prints this. COMMAND --help tells of one command alone.`)
  expect(lines).toContain(
    'Options of other commands, which take --data too; token also --token-issuer and --token-audience; copy also --database-url.',
  )
})

test.each(['token', 'rotate', 'disconnect', 'backup', 'copy'] as const)(
  'CLI the help of %s does not say that it makes the data folder or a secret',
  (name) => {
    expect(help(name)).toContain('A server makes it where it is missing.')
    expect(help(name)).not.toMatch(/is made|made once/)
  },
)

test.each(commandNames)('CLI the help of %s has its usage, its options and its secrets, and no others', (name) => {
  const { operand, secrets } = commands[name]
  const text = help(name)
  expect(text).toContain(`Usage: fanfare ${name} ${operand ? `${operand.placeholder} ` : ''}[OPTION…]`)
  expect([...text.matchAll(/^ {2}--(\S+) /gm)].map(([, option]) => option)).toEqual(
    optionsOf(name).map((option) => option.name),
  )
  expect([...text.matchAll(/^ {2}(\w+) or \w+_FILE /gm)].map(([, variable]) => variable)).toEqual(
    secrets.map(({ variable }) => variable),
  )
})

test('CLI docs/commands.md says of every command what it does and takes, just as the tables have it', () => {
  const page = readFileSync(new URL('../../docs/commands.md', import.meta.url), 'utf8')
  const commandRows = commandNames.map((name) => {
    const { help, operand } = commands[name]
    return [`\`fanfare ${name}${operand ? ` ${operand.placeholder}` : ''}\``, help]
  })
  const optionRows = allOptions
    .filter(({ commands }) => !commands.includes('serve'))
    .map((option) => [
      `\`--${option.name}${option.kind.placeholder ? ` ${option.kind.placeholder}` : ''}\``,
      option.commands.join(', '),
      option.commandLineOnly ? 'none' : `\`${variableOf(option)}\``,
      defaultsOf(option, option.commands),
      option.help,
    ])
  expect(tableBelow(page, '# Commands')).toBe(table(['Command', 'What it does'], commandRows))
  expect(tableBelow(page, '## Options')).toBe(
    table(['Option', 'Of', 'Variable', 'Default', 'What it does'], optionRows),
  )
})

test('CLI the help says what is otherwise with dev', () => {
  expect(help(null)).toContain('[FANFARE_LISTENERS, default off, with dev on]')
  expect(help('serve')).toContain('[FANFARE_LISTENERS, default off]')
  expect(help('dev')).toContain('[FANFARE_LISTENERS, default on]')
  expect(help('dev')).toContain('Where to listen: 127.0.0.1, ::1 or localhost.')
})

test('CLI docs/configuration.md lists every option and secret just as the tables have them', () => {
  const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8')
  const optionRows = optionsOf('serve').map((option) => [
    `\`--${option.name}${option.kind.placeholder ? ` ${option.kind.placeholder}` : ''}\``,
    `\`${variableOf(option)}\``,
    defaultsOf(option, bothCommands),
    option.help,
  ])
  const secretRows = Object.values(secrets).map(({ variable, file, help }) => [
    `\`${variable}\``,
    `\`${variable}_FILE\``,
    `\`${file}\``,
    help,
  ])
  expect(tableBelow(page, '## Options')).toBe(table(['Option', 'Variable', 'Default', 'What it does'], optionRows))
  expect(tableBelow(page, '## Secrets')).toBe(
    table(['Variable', 'File given by', 'Kept in the data folder as', 'What it is'], secretRows),
  )
})
