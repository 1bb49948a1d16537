import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const module = fileURLToPath(new URL('../../src/operator/log.ts', import.meta.url))

/** A process that writes 4 MiB of lines, says so on standard error, waits for a word, and writes one more. */
const script = `
  const { standardOutput } = await import(${JSON.stringify(module)})
  const output = standardOutput()
  const line = JSON.stringify({ event: 'told', filler: 'x'.repeat(1_000) }) + '\\n'
  for (let index = 0; index < 4_096; index++) {
    output.write(line)
    if (index % 64 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  process.stderr.write('written ' + process.stdout.writableLength)
  process.stdin.once('data', () => {
    output.write('{"event":"last"}\\n')
    process.stdin.destroy()
  })`

function start() {
  return spawn(process.execPath, ['--input-type=module', '--eval', script], { stdio: 'pipe' })
}

test('OPERATOR a reader of standard output that stalls costs lines, which is told, and neither time nor memory', async () => {
  const child = start()
  const [said] = await once(child.stderr, 'data')
  // One line of 1 kB may pass the limit.
  expect(Number(String(said).slice('written '.length))).toBeLessThan(1_048_576 + 2_000)
  let got = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    got += chunk
    // Only a whole line too many is waited for: all that had been kept.
    if (child.stdin.writable && got.length > 1_048_576) child.stdin.end('go on')
  })
  await once(child, 'close')
  const lines = got.trimEnd().split('\n')
  const events = lines.map((line) => JSON.parse(line) as { event: string; level?: string; lost?: number })
  const losses = events.filter(({ event }) => event === 'lines_lost')
  // More than once where the system took some in between.
  expect(losses.length).toBeGreaterThan(0)
  expect(losses.every(({ level }) => level === 'warn')).toBe(true)
  const lost = losses.reduce((sum, loss) => sum + (loss.lost ?? 0), 0)
  expect(lost).toBe(4_096 - events.filter(({ event }) => event === 'told').length)
  expect(events.at(-1)).toEqual({ event: 'last' })
})

test('OPERATOR a reader of standard output that goes away ends nothing', async () => {
  const child = start()
  child.stdout.destroy()
  const said = text(child.stderr)
  child.stdin.end('go on')
  const [code] = await once(child, 'close')
  expect([code, await said]).toEqual([0, expect.stringMatching(/^written \d+$/)])
})
