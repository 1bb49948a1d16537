import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { startNode } from './command.ts'

/** A process that would never end by itself: it says when it waits, and when it was told to stop. */
function startEndless() {
  const module = fileURLToPath(new URL('../../src/cli/signal.ts', import.meta.url))
  const script = `const { untilSignal } = await import(${JSON.stringify(module)})
    setInterval(() => {}, 1_000)
    const stopped = untilSignal()
    console.log('waiting')
    await stopped
    console.log('stopping')`
  return startNode(['--input-type=module', '--eval', script])
}

test.each([
  ['SIGTERM', 143],
  ['SIGINT', 130],
] as const)('CLI a first %s is taken as a wish, and a second one ends the process at once', async (signal, code) => {
  await using endless = startEndless()
  await endless.line('waiting')
  endless.process.kill(signal)
  await endless.line('stopping')
  // One that follows at once is an echo of the first, so this is said until it is heard.
  const insisting = setInterval(() => endless.process.kill(signal), 50)
  const ending = await endless.ended.finally(() => clearInterval(insisting))
  expect(ending).toEqual({ code, stdout: 'waiting\nstopping\n', stderr: '' })
})
