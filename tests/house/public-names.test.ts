/** What an editor shows of the SDK to whoever writes an application with it. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { root } from './run.ts'

const door = join(root, 'src/client')

/** Each name that the door exports, with the file that defines it. */
const names = [...readFileSync(join(door, 'index.ts'), 'utf8').matchAll(/export (?:type )?\{([^}]+)\} from '([^']+)'/g)]
  .flatMap(([, list, file]) => list!.split(',').map((name) => [name.replace('type ', '').trim(), file!] as const))
  .filter(([name]) => name)

/** The comment that ends on the line before `line`, or null. */
function commentBefore(lines: readonly string[], line: number): string | null {
  if (!lines[line - 1]?.trimEnd().endsWith('*/')) return null
  const from = lines.findLastIndex((text, index) => index < line && text.trimStart().startsWith('/**'))
  return from < 0 ? null : lines.slice(from, line).join('\n')
}

test('HOUSE every name that fanfare/client exports says what it is', () => {
  expect(names.length).toBeGreaterThan(40)
  const silent = names.filter(([name, file]) => {
    const lines = readFileSync(join(door, file), 'utf8').split('\n')
    const at = lines.findIndex((line) => new RegExp(`^export (type|interface|class|function) ${name}\\b`).test(line))
    return commentBefore(lines, at) === null
  })
  expect(silent).toEqual([])
})

test('HOUSE every call of a chat says what it does, and every call that sends a command with arguments, its errors', () => {
  const lines = readFileSync(join(door, 'client.ts'), 'utf8').split('\n')
  const begin = lines.findIndex((line) => line.startsWith('export class Chat '))
  const methods = lines
    .map((text, index) => ({ text, index, name: /^ {2}(?:get )?([a-z]\w+)\(/.exec(text)?.[1] }))
    .filter(({ index, name }) => index > begin && name && name !== 'constructor' && name !== 'async')
  expect(methods.length).toBeGreaterThan(30)
  for (const { name, index } of methods) expect(commentBefore(lines, index), name).not.toBeNull()
  // What takes nothing can't be refused for it, and what is another call in other words has that one's errors.
  const without = ['getUnreadCount', 'getUserChannel', 'createDirectConversation']
  const calls = methods.filter(({ index, name }) => {
    const end = lines.findIndex((line, at) => at > index && line === '  }')
    return /Promise</.test(lines.slice(index, end).join('\n')) && !without.includes(name!)
  })
  expect(calls.length).toBeGreaterThan(18)
  for (const { name, index } of calls) expect(commentBefore(lines, index), name).toContain('Errors:')
})
