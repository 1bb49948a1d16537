/** A plot as SVG, with both axes logarithmic; readable on a light page and on a dark one. */

export interface Series {
  readonly name: string
  /** Whom it is about: what is about the same has the same colour. */
  readonly of: string
  /** Tells one from another of the same colour. */
  readonly dashed: boolean
  readonly points: readonly (readonly [x: number, y: number])[]
}

export interface Plot {
  /** Its name in the results' folder. */
  readonly file: string
  readonly title: string
  readonly x: string
  readonly y: string
  readonly series: readonly Series[]
}

const width = 820
const height = 460
const left = 62
const right = 230
const top = 44
const bottom = 50

/** Told apart on white and on black, and by who sees no red or no green (Okabe and Ito, without their black and yellow). */
const colours = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#56b4e9', '#e69f00']

export function svgOf({ title, x, y, series: all }: Plot): string {
  // What was too little to be measured has no place on a logarithmic axis.
  const series = all.map(({ points, ...one }) => ({ ...one, points: points.filter(([, value]) => value > 0) }))
  const points = series.flatMap((one) => one.points)
  const subjects = [...new Set(series.map((one) => one.of))]
  const across = axis(
    points.map(([value]) => value),
    left,
    width - right,
  )
  const up = axis(
    points.map(([, value]) => value),
    height - bottom,
    top,
  )
  const middle = (left + width - right) / 2
  const lines = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="${escaped(title)}">`,
    '<style>',
    'text { font: 13px system-ui, sans-serif; fill: #1f2328 } .title { font-weight: 600; font-size: 15px }',
    '.grid { stroke: #8888; stroke-width: 0.5 } polyline { fill: none; stroke-width: 2 }',
    '@media (prefers-color-scheme: dark) { text { fill: #e6edf3 } }',
    '</style>',
    `<text class="title" x="${left}" y="24">${escaped(title)}</text>`,
    ...across.ticks.map(
      (tick) =>
        `<line class="grid" x1="${across.at(tick)}" y1="${top}" x2="${across.at(tick)}" y2="${height - bottom}"/>` +
        `<text x="${across.at(tick)}" y="${height - bottom + 18}" text-anchor="middle">${label(tick)}</text>`,
    ),
    ...up.ticks.map(
      (tick) =>
        `<line class="grid" x1="${left}" y1="${up.at(tick)}" x2="${width - right}" y2="${up.at(tick)}"/>` +
        `<text x="${left - 8}" y="${up.at(tick) + 4}" text-anchor="end">${label(tick)}</text>`,
    ),
    `<text x="${middle}" y="${height - 10}" text-anchor="middle">${escaped(x)}</text>`,
    `<text transform="translate(16 ${(top + height - bottom) / 2}) rotate(-90)" text-anchor="middle">${escaped(y)}</text>`,
    ...series.flatMap(({ name, of, dashed, points }, index) => {
      const colour = colours[subjects.indexOf(of) % colours.length]
      const dashes = dashed ? ' stroke-dasharray="6 4"' : ''
      const key = top + 10 + index * 20
      return [
        `<polyline stroke="${colour}"${dashes} points="${points.map(([px, py]) => `${across.at(px)},${up.at(py)}`).join(' ')}"/>`,
        ...points.map(([px, py]) => `<circle cx="${across.at(px)}" cy="${up.at(py)}" r="3" fill="${colour}"/>`),
        `<line stroke="${colour}" stroke-width="2"${dashes} x1="${width - right + 16}" y1="${key}" x2="${width - right + 40}" y2="${key}"/>`,
        `<text x="${width - right + 46}" y="${key + 4}">${escaped(name)}</text>`,
      ]
    }),
    '</svg>',
  ]
  return `${lines.join('\n')}\n`
}

interface Axis {
  at(value: number): number
  readonly ticks: readonly number[]
}

/** A logarithmic axis that has room for all values, with a tick at 1, 2 and 5 of each power of ten, or at 1 alone where those are many. */
function axis(values: readonly number[], start: number, end: number): Axis {
  const [least, greatest] = values.length > 0 ? [Math.min(...values), Math.max(...values)] : [1, 10]
  const decades = Math.log10(greatest / least)
  const steps = decades > 3 ? [1] : [1, 2, 5]
  const all: number[] = []
  for (let power = Math.floor(Math.log10(least)); power <= Math.ceil(Math.log10(greatest)); power++) {
    all.push(...steps.map((step) => step * 10 ** power))
  }
  const from = all.filter((tick) => tick <= least).at(-1) ?? least
  const to = all.find((tick) => tick >= greatest && tick > from) ?? from * 10
  const scale = (end - start) / Math.log(to / from)
  return {
    at: (value) => Math.round((start + Math.log(value / from) * scale) * 10) / 10,
    ticks: all.filter((tick) => tick >= from && tick <= to),
  }
}

function label(value: number): string {
  return value >= 1 ? value.toLocaleString('en-US') : `${Number(value.toPrecision(3))}`
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}
