/** RESULTS.md: what was measured, beside what was to be reached. */
import type { Measured, Scale, Target } from './figure.ts'

/** One figure as it was measured last. */
export interface Result extends Measured {
  readonly name: string
  readonly title: string
  readonly scale: Scale
  /** When it began, in UTC. */
  readonly at: string
  readonly seconds: number
  /** Where and with what (`conditions`). */
  readonly conditions: readonly string[]
}

/** The results of all figures, in the order of `names`: the new one, and of the others those that are there. */
export function withResult(names: readonly string[], before: readonly Result[], result: Result): Result[] {
  return names.flatMap((name) => [result, ...before].find((one) => one.name === name) ?? [])
}

/** What is to be said of a target. Of small sizes nothing can be. */
export function judgement({ reached }: Target, scale: Scale): string {
  if (scale === 'quick') return 'not judged: a quick run'
  return reached ? 'reached' : '**not reached**'
}

export function report(results: readonly Result[]): string {
  const blocks = [
    '# Results',
    'Made by `npm run bench`; see [README.md](README.md) for how to run it. Figures of one run may be compared with each other, and ratios ' +
      'with those of other runs; times and CPU of different machines, or of different hours of a shared one, may not.',
    summaryOf(results),
    ...results.flatMap(sectionOf),
  ]
  return `${blocks.filter(Boolean).join('\n\n')}\n`
}

/** All targets in one table. They may be of several days, and so of several machines: each section says which. */
function summaryOf(results: readonly Result[]): string {
  const rows = results.flatMap((result) =>
    result.targets.map((target) => [
      result.title,
      target.what,
      target.limit,
      target.measured,
      judgement(target, result.scale),
      result.at.slice(0, 10),
    ]),
  )
  return rows.length === 0 ? '' : markdown(['', 'target', 'limit', 'measured', '', 'on'], rows)
}

function sectionOf(result: Result): string[] {
  const minutes = result.at.slice(0, 16).replace('T', ' ')
  return [
    `## ${result.title}`,
    result.scale === 'quick'
      ? '**A quick run: its sizes are too small to say anything but that it can be measured.**'
      : '',
    result.how,
    ...result.tables.flatMap(({ title, head, rows }) => [title && `**${title}**`, markdown(head, rows)]),
    ...result.plots.map(({ file, title }) => `![${title}](plots/${file})`),
    `Measured ${minutes} UTC in ${Math.round(result.seconds)} s. ${result.conditions.map((line) => `${line}.`).join(' ')}`,
  ]
}

function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  // Numbers stand to the right.
  const dashes = head.map((_, column) => (rows.every((row) => /^[\d.,]/.test(row[column] ?? '')) ? '--:' : '---'))
  return [line(head), line(dashes), ...rows.map(line)].join('\n')
}
