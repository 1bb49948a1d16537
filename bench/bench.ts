/**
 * The benchmarks: measures one figure after another, and writes what came of it.
 *
 *     node bench/bench.ts [--only NAME]… [--quick] [--out FOLDER]
 */
import { existsSync } from 'node:fs'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import type { Figure, Scale } from './figure.ts'
import { figures } from './figures.ts'
import { conditions } from './machine.ts'
import { svgOf } from './plot.ts'
import { judgement, type Result, report, withResult } from './report.ts'

const here = fileURLToPath(new URL('.', import.meta.url))

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    out: { type: 'string' },
  },
})
const unknown = values.only?.find((name) => !figures.some((figure) => figure.name === name))
if (unknown !== undefined) {
  console.error(`bench: there is no figure ${unknown}; they are ${figures.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
if (process.platform !== 'linux') {
  console.error('bench: CPU and memory are read from /proc, which only Linux has')
  process.exit(2)
}

const scale: Scale = values.quick ? 'quick' : 'full'
// What a quick run shows must not stand where figures are looked up, unless it is asked to.
const out = values.out ?? (values.quick ? join(here, '.tmp') : here)
const wanted = figures.filter(({ name }) => values.only?.includes(name) ?? true)

for (const figure of wanted) {
  console.error(`bench: ${figure.title} …`)
  const result = await measure(figure)
  await keep(result)
  for (const target of result.targets) {
    console.error(`  ${target.what}: ${target.measured} (${target.limit}) ${judgement(target, scale)}`)
  }
  console.error(`  ${Math.round(result.seconds)} s`)
}
console.log(join(out, 'RESULTS.md'))

async function measure(figure: Figure): Promise<Result> {
  const start = Date.now()
  const surroundings = conditions()
  const measured = await figure.measure(scale)
  return {
    name: figure.name,
    title: figure.title,
    scale,
    at: new Date(start).toISOString(),
    seconds: (Date.now() - start) / 1000,
    conditions: surroundings,
    ...measured,
  }
}

/** Writes the result beside those that are there of other figures. */
async function keep(result: Result): Promise<void> {
  const file = join(out, 'results.json')
  const before = existsSync(file) ? (JSON.parse(await readFile(file, 'utf8')) as Result[]) : []
  const results = withResult(
    figures.map(({ name }) => name),
    before,
    result,
  )
  await mkdir(join(out, 'plots'), { recursive: true })
  await writeFile(file, `${JSON.stringify(results, null, 2)}\n`)
  await writeFile(join(out, 'RESULTS.md'), report(results))
  for (const plot of result.plots) await writeFile(join(out, 'plots', plot.file), svgOf(plot))
}
