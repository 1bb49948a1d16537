/** Pages that would go stale in silence. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { readTitles } from '../../scripts/check-rules.ts'
import { sourceFiles } from '../../scripts/source-files.ts'
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

test('HOUSE docs/security.md names for each threat a control, numbers of the standard, and tests that are there', async () => {
  const titles = Map.groupBy((await sourceFiles(root, ['tests'])).flatMap(readTitles), ({ place }) =>
    place.replace(/:\d+$/, ''),
  )
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
