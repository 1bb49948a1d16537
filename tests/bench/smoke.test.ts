/** Every figure is measured once, small, by the command itself. What comes out says nothing of speed, and nothing here asks for any. */
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { figures } from '../../bench/figures.ts'
import type { Result } from '../../bench/report.ts'
import { root, run } from '../house/run.ts'

/** CPU and memory are read from /proc. */
const linux = process.platform === 'linux'

async function temporaryFolder() {
  const path = await mkdtemp(join(tmpdir(), 'fanfare-bench-test-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

function bench(...args: string[]) {
  return run(process.execPath, [join(root, 'bench/bench.ts'), ...args])
}

test.runIf(linux).for(figures.map(({ name, title }) => [name, title] as const))(
  'BENCH --quick --only %s measures one figure alone, and writes it where --out says',
  { timeout: 120_000 },
  async ([name, title]) => {
    await using folder = await temporaryFolder()
    const { exitCode, errors } = await bench('--quick', '--only', name, '--out', folder.path)
    expect(exitCode, errors).toBe(0)

    const results = JSON.parse(await readFile(join(folder.path, 'results.json'), 'utf8')) as Result[]
    expect(results.map((result) => [result.name, result.scale])).toEqual([[name, 'quick']])
    const [{ tables, plots, targets }] = results as [Result]
    for (const { head, rows } of tables) {
      expect(rows.length).toBeGreaterThan(0)
      for (const row of rows) expect(row).toHaveLength(head.length)
    }
    const report = await readFile(join(folder.path, 'RESULTS.md'), 'utf8')
    expect(report).toContain(`## ${title}\n`)
    expect(report.match(/not judged: a quick run/g)?.length ?? 0).toBe(targets.length)
    for (const { file } of plots) {
      expect(await readFile(join(folder.path, 'plots', file), 'utf8')).toMatch(/^<svg [\s\S]*<\/svg>\n$/)
    }
  },
)

test('BENCH a figure that there is none of is refused, with the names of those that there are', async () => {
  const { exitCode, errors } = await bench('--only', 'speed')
  expect(exitCode).toBe(2)
  expect(errors).toContain('no figure speed')
  for (const { name } of figures) expect(errors).toContain(name)
})
