import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { bin, startNode } from './command.ts'
import { oldNode } from './old-node.ts'
import { temporaryFolder } from './temporary-folder.ts'

const saying = (what: string) => `export function main(args) { console.log(${JSON.stringify(what)}, args.join(' ')) }\n`

/** What a package has of the command, with a main that only says that it was called. */
function layOut(folder: { in(...parts: readonly string[]): string }): string {
  for (const name of ['bin', 'dist/cli', 'src/cli']) mkdirSync(folder.in(name), { recursive: true })
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

test.skipIf(!oldNode).each([
  ['the package', ['node_modules', '.bin'], ['node_modules', 'fanfare']],
  ['the repository', ['fanfare', 'node_modules', '.bin'], ['fanfare']],
])('CLI under a Node below 24 %s names the Node that came along with it', async (_, beside, home) => {
  using folder = temporaryFolder()
  mkdirSync(folder.in(...beside), { recursive: true })
  const path = layOut({ in: (...parts) => folder.in(...home, ...parts) })
  const refused = async () => {
    await using command = startNode([path, 'serve'], { node: oldNode! })
    return (await command.ended).stderr
  }
  expect(await refused()).toMatch(/; install a newer Node, or in a clone of the repository use npm start, .*\n$/)
  writeFileSync(folder.in(...beside, 'node'), '')
  expect(await refused()).toMatch(`; call it with the Node that came along, ${folder.in(...beside, 'node')}\n`)
})
