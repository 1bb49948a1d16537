import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { bin, startNode } from './command.ts'
import { temporaryFolder } from './temporary-folder.ts'

const saying = (what: string) => `export function main(args) { console.log(${JSON.stringify(what)}, args.join(' ')) }\n`

/** What a package has of the command, with a main that only says that it was called. */
function layOut(folder: { in(...parts: readonly string[]): string }): string {
  for (const name of ['bin', 'dist', 'dist/cli', 'src', 'src/cli']) mkdirSync(folder.in(name))
  writeFileSync(folder.in('package.json'), '{ "type": "module" }')
  copyFileSync(bin, folder.in('bin', 'fanfare.js'))
  writeFileSync(folder.in('dist', 'cli', 'main.js'), saying('dist'))
  return folder.in('bin', 'fanfare.js')
}

test('CLI the package, which has no src, runs what was built', async () => {
  using folder = temporaryFolder()
  await using command = startNode([layOut(folder), 'serve', '--port=0'])
  expect(await command.ended).toEqual({ code: 0, stdout: 'dist serve --port=0\n', stderr: '' })
})

test('CLI the repository runs its source, though something may have been built', async () => {
  using folder = temporaryFolder()
  const path = layOut(folder)
  writeFileSync(folder.in('src', 'cli', 'main.ts'), saying('src').replace('args)', 'args: readonly string[])'))
  await using command = startNode([path, 'serve'])
  expect(await command.ended).toEqual({ code: 0, stdout: 'src serve\n', stderr: '' })
})
