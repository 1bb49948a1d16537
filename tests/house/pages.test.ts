/** Pages that would go stale in silence. */
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { expect, test } from 'vitest'
import { claims, readTitles, type Title } from '../../scripts/check-rules.ts'
import { sourceFiles } from '../../scripts/source-files.ts'
import { Chat } from '../../src/client/client.ts'
import { root } from './run.ts'

function read(path: string): string {
  return readFileSync(join(root, path), 'utf8')
}

/** What stands in the tables of a page, row by row. */
function rowsOf(page: string): string[][] {
  return page
    .split('\n')
    .filter((line) => /^\| (?!---)/.test(line))
    .map((line) => line.slice(2, -2).split(' | '))
}

/** The rows below the heads of tables, whose first cell is one of these. */
function withoutHeads(rows: readonly string[][], heads: readonly string[]): string[][] {
  return rows.filter(([first]) => !heads.includes(first!))
}

/** The titles of all tests, by file. */
async function titlesByFile(): Promise<Map<string, Title[]>> {
  const titles = (await sourceFiles(root, ['tests', 'src/testing'])).flatMap(readTitles)
  return Map.groupBy(titles, ({ place }) => place.replace(/:\d+$/, ''))
}

test('HOUSE docs/security.md names for each threat a control, numbers of the standard, and tests that are there', async () => {
  const titles = await titlesByFile()
  const rows = withoutHeads(rowsOf(read('docs/security.md')), ['Threat'])
  expect(rows.length).toBeGreaterThan(20)
  for (const [threat, control, numbers, held] of rows) {
    expect([threat, control], threat).toEqual([expect.stringMatching(/\.$/), expect.stringMatching(/\.$/)])
    expect(numbers, threat).toMatch(/^\d+\.\d+\.\d+(, \d+\.\d+\.\d+)*$/)
    let file = ''
    for (const part of held!.split('; ')) {
      const [, path, rest] = /^`(tests\/[^`]+)`(?:: )?(.*)$/.exec(part) ?? [null, file, part]
      file = path!
      expect(existsSync(join(root, file)), `${threat} ${file}`).toBe(true)
      if (rest)
        expect(
          titles.get(file)?.map(({ text }) => text),
          threat,
        ).toContain(rest)
    }
  }
})

test('HOUSE docs/guarantees.md names for each promise files that are there, which hold every rule that it names', async () => {
  const titles = await titlesByFile()
  const promises = read('docs/guarantees.md').split(/^## /m).slice(1)
  expect(promises.length).toBeGreaterThan(8)
  for (const promise of promises) {
    const name = promise.split('\n', 1)[0]!
    const [told, held] = promise.split('*Held by:*')
    const patterns = [...(held ?? '').matchAll(/`((?:tests|src)\/[^`]+)`/g)].map(([, pattern]) => pattern!)
    const files = patterns.flatMap((pattern) => {
      const found = globSync(pattern, { cwd: root })
      expect(found, `${name}: ${pattern}`).not.toEqual([])
      return found
    })
    const proved = files.flatMap((file) => titles.get(file) ?? []).flatMap(({ text }) => (text && claims(text)) || [])
    const named = [...told!.matchAll(/\(([A-Z]\d+(?:, [A-Z]\d+)*)\)/g)].flatMap(([, rules]) => rules!.split(', '))
    expect(named, name).not.toEqual([])
    expect
      .soft(
        named.filter((rule) => !proved.includes(rule)),
        name,
      )
      .toEqual([])
  }
})

test('HOUSE docs/client.md tells of every method and property of a chat, and of no other', () => {
  const rows = rowsOf(read('docs/client.md')).map(([first]) => first!)
  const methods = rows.flatMap((row) => /^`(\w+)\(/.exec(row)?.[1] ?? [])
  const [, state] = read('docs/client.md').split('## State')
  const properties = withoutHeads(rowsOf(state!.split('| `status`')[0]!), ['Property']).map(([name]) =>
    name!.slice(1, -1),
  )
  const there = Object.getOwnPropertyNames(Chat.prototype).filter((name) => name !== 'constructor')
  expect([...methods, ...properties].sort()).toEqual(there.sort())
})

test('HOUSE docs/configuration.md has every event that the log tells of, and no other', () => {
  const files = ['src/server.ts', ...globSync(['src/{cli,operator}/*.ts'], { cwd: root })]
  const told = files
    .flatMap((file) => read(file).split('\n'))
    .flatMap(
      (line) =>
        /(?:\blog|#log|#tell)\b.*(?<!isLevelEnabled\()'(\w+)'\)/.exec(line)?.[1] ??
        /\bevent: '(\w+)'/.exec(line)?.[1] ??
        [],
    )
  const [, table] = read('docs/configuration.md').split('## Output and exit codes')
  const rows = rowsOf(table!).filter(([, level]) => /^(debug|info|warn|error|fatal)/.test(level ?? ''))
  const described = rows.flatMap(([events]) => events!.replaceAll('`', '').split(', '))
  expect(described.sort()).toEqual([...new Set(told)].sort())
})

test('HOUSE every link of a page leads to a file, and README.md leads to every page of docs', () => {
  const pages = globSync(['*.md', 'docs/**/*.md', 'bench/README.md'], { cwd: root })
  expect(pages.length).toBeGreaterThan(15)
  const links = pages.flatMap((page) =>
    [...read(page).matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, to]) => ({ page, to: join(dirname(page), to!) })),
  )
  // What `npm run bench` writes.
  const made = ['bench/RESULTS.md']
  expect(links.filter(({ to }) => !made.includes(to) && !existsSync(join(root, to)))).toEqual([])
  const told = links.filter(({ page }) => page === 'README.md').map(({ to }) => to)
  expect(told).toEqual(expect.arrayContaining(globSync('docs/*.md', { cwd: root })))
})

test('HOUSE every file that ARCHITECTURE.md names with its room is there', () => {
  const rooms = ['', 'src/', 'src/testing/', 'src/transport/', 'src/operator/']
  const named = [...read('ARCHITECTURE.md').matchAll(/`((?:[\w-]+\/)*[\w-]+\.ts)`/g)].map(([, file]) => file!)
  expect(named.length).toBeGreaterThan(60)
  const placed = named.filter((file) => file.includes('/'))
  expect(placed.filter((file) => !rooms.some((room) => existsSync(join(root, room, file))))).toEqual([])
  const engine = globSync('src/engine/*.ts', { cwd: root }).map((file) => file.slice('src/engine/'.length))
  expect(named).toEqual(expect.arrayContaining(engine))
})

const manifest: { [group: string]: Record<string, string> } = JSON.parse(read('package.json'))

test('HOUSE docs/dependencies.md has every dependency, and no other', () => {
  const rows = withoutHeads(rowsOf(read('docs/dependencies.md')), ['Package'])
  const described = rows.map(([name]) => name!.replaceAll('`', ''))
  const { dependencies, devDependencies, optionalDependencies } = manifest
  const all = [dependencies, devDependencies, optionalDependencies].flatMap((group) => Object.keys(group ?? {}))
  expect(described.sort()).toEqual(all.sort())
  for (const [name, licence, reason] of rows) {
    expect(reason, name).toMatch(/\.$/)
    const installed = join('node_modules', name!.replaceAll('`', ''), 'package.json')
    if (existsSync(join(root, installed))) expect(licence, name).toBe(JSON.parse(read(installed)).license)
  }
})

const { packages }: { packages: Record<string, { hasInstallScript?: boolean; integrity?: string; link?: boolean }> } =
  JSON.parse(read('package-lock.json'))

test('HOUSE no dependency runs anything when it is installed', () => {
  const running = Object.entries(packages).filter(([, { hasInstallScript }]) => hasInstallScript)
  expect(running.map(([path]) => path)).toEqual([])
})

test('HOUSE every dependency is pinned: its version is exact, and its digest is in the lockfile', () => {
  const versions = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((group) =>
    Object.values(manifest[group] ?? {}),
  )
  expect(versions.filter((version) => !/^\d+\.\d+\.\d+$/.test(version))).toEqual([])
  const loose = Object.entries(packages).filter(
    ([path, { integrity }]) => path !== '' && !integrity?.startsWith('sha512-'),
  )
  expect(loose.map(([path]) => path)).toEqual([])
})
