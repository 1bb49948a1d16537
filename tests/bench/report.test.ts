import { expect, test } from 'vitest'
import { atLeast, atMost } from '../../bench/figure.ts'
import { svgOf } from '../../bench/plot.ts'
import { type Result, report, withResult } from '../../bench/report.ts'
import { median, percentile, spread } from '../../bench/statistics.ts'

const result: Result = {
  name: 'speed',
  title: 'Speed',
  scale: 'full',
  at: '2026-01-02T03:04:05.000Z',
  seconds: 7,
  conditions: ['2 cores'],
  how: 'By a clock.',
  tables: [{ title: '', head: ['case', 'ms'], rows: [['a | b', '1.00']] }],
  targets: [],
  plots: [],
}

test('BENCH a target that was missed stands in the results as not reached, one that was just met as reached', () => {
  const targets = [atMost('slow', 2, 1, String), atMost('quick', 1, 1, String), atLeast('many', 3, 3, String)]
  const lines = report([{ ...result, targets }]).split('\n')
  expect(lines).toContain('| Speed | slow | ≤ 1 | 2 | **not reached** | 2026-01-02 |')
  expect(lines).toContain('| Speed | quick | ≤ 1 | 1 | reached | 2026-01-02 |')
  expect(lines).toContain('| Speed | many | ≥ 3 | 3 | reached | 2026-01-02 |')
})

test('BENCH what could not be measured reaches no target', () => {
  expect(atMost('nothing', Number.NaN, 1, String).reached).toBe(false)
  expect(atLeast('nothing', Number.NaN, 1, String).reached).toBe(false)
})

test('BENCH a quick run is marked, and none of its targets is judged', () => {
  const quick = report([{ ...result, scale: 'quick', targets: [atMost('quick', 1, 2, String)] }])
  expect(quick).toContain('**A quick run')
  expect(quick).toContain('| 1 | not judged: a quick run |')
  expect(quick).not.toContain('reached')
})

test('BENCH a figure that is measured anew takes its own place in the results, and the others stay', () => {
  const named = (name: string, seconds: number): Result => ({ ...result, name, seconds })
  const before = [named('one', 1), named('two', 1)]
  const both = withResult(['one', 'between', 'two'], before, named('two', 2))
  expect(both.map(({ name, seconds }) => [name, seconds])).toEqual([
    ['one', 1],
    ['two', 2],
  ])
  expect(withResult(['one', 'between', 'two'], before, named('between', 3)).map(({ name }) => name)).toEqual([
    'one',
    'between',
    'two',
  ])
})

test('BENCH a table keeps its columns, whatever stands in a cell', () => {
  const lines = report([result]).split('\n')
  expect(lines).toContain('| case | ms |')
  expect(lines).toContain('| --- | --: |')
  expect(lines).toContain('| a \\| b | 1.00 |')
})

test('BENCH medians and percentiles are values that were measured, or lie between the two in the middle', () => {
  expect(median([3, 1, 2])).toBe(2)
  expect(median([4, 1, 2, 3])).toBe(2.5)
  const hundred = Array.from({ length: 100 }, (_, index) => 100 - index)
  expect(percentile(hundred, 0.99)).toBe(99)
  expect(percentile(hundred, 0.5)).toBe(50)
  expect(percentile([7], 0.01)).toBe(7)
  expect(spread([1, 3, 2])).toBe('2.00 (1.00–3.00)')
})

test('BENCH a plot has a line for each series and a point for each value but those that are none', () => {
  const svg = svgOf({
    file: 'x.svg',
    title: 'A & B',
    x: 'members',
    y: 'µs',
    series: [
      {
        name: 'one',
        of: 'a',
        dashed: false,
        points: [
          [2, 10],
          [1_000, 0.3],
        ],
      },
      {
        name: 'two',
        of: 'a',
        dashed: true,
        points: [
          [2, 0],
          [1_000, 5],
        ],
      },
    ],
  })
  expect(svg.match(/<polyline /g)).toHaveLength(2)
  expect(svg.match(/<circle /g)).toHaveLength(3)
  const lines = [...svg.matchAll(/<polyline stroke="(#\w+)"( stroke-dasharray)?/g)].map(([, colour, dash]) => [
    colour,
    !!dash,
  ])
  expect(lines.map(([, dashed]) => dashed)).toEqual([false, true])
  expect(lines[0]![0]).toBe(lines[1]![0])
  expect(svg).toContain('A &amp; B')
  expect(svg).not.toMatch(/NaN|Infinity/)
  const heights = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)])
  expect(heights[0]![1]).toBeLessThan(heights[1]![1]!)
  expect(heights[0]![0]).toBeLessThan(heights[1]![0]!)
})
