import { expect, test } from 'vitest'
import { type Outcome, runScript } from './run.ts'
import { temporaryFolder } from './temporary-folder.ts'

/** Runs the check on a repository of these files. */
async function check(files: Readonly<Record<string, string>>): Promise<Outcome> {
  await using folder = await temporaryFolder({
    'package.json': '{"dependencies":{"ws":"1","zod":"1"}}',
    ...files,
  })
  return await runScript('check-imports.ts', folder.path)
}

test('HOUSE check-imports passes where every import follows the plan', async () => {
  const { exitCode, output, errors } = await check({
    'src/protocol/ids.ts': 'export const a = 1',
    'src/storage/storage.ts': "import type { a } from '../protocol/ids.ts'",
    'src/storage/sqlite/database.ts': "import { DatabaseSync } from 'node:sqlite'\nimport type {} from '../storage.ts'",
    'src/engine/hub.ts': "import { z } from 'zod/mini'\nimport type {} from '../storage/storage.ts'",
    'src/cli/serve.ts': "import '../engine/hub.ts'\nimport '../storage/sqlite/database.ts'",
    'src/testing/page.ts': "import { chromium } from 'playwright-core'\nimport '../engine/hub.ts'",
  })
  expect(errors).toBe('')
  expect(output).toBe('6 files import in the right direction\n')
  expect(exitCode).toBe(0)
})

test.each([
  ['the protocol knowing the engine', 'src/protocol/ids.ts', "import '../engine/hub.ts'", 'nothing else'],
  ['a seam knowing another seam', 'src/engine/socket.ts', "import '../broker/broker.ts'", 'it knows only protocol'],
  ['the engine knowing an adapter', 'src/engine/hub.ts', "import '../storage/sqlite/database.ts'", '(sqlite)'],
  ['even a type of it', 'src/engine/hub.ts', "import type { D } from '../storage/sqlite/database.ts'", '(sqlite)'],
  ['a type in passing', 'src/engine/hub.ts', "let d: import('../broker/local.ts').LocalBroker", '(brokers)'],
  ['a late import', 'src/engine/hub.ts', "await import('../transport/http.ts')", '(transport)'],
  ['a re-export', 'src/client/index.ts', "export * from '../engine/hub.ts'", '(engine)'],
  ['a worker', 'src/engine/hub.ts', "new Worker(new URL('../cli/work.ts', import.meta.url))", '(cli)'],
  ['an adapter knowing the engine', 'src/storage/sqlite/log.ts', "import '../../engine/hub.ts'", '(engine)'],
  ['anything knowing the tests', 'src/cli/serve.ts', "import '../../tests/x.ts'", '(no room of src)'],
  ['anything knowing src/testing', 'src/cli/serve.ts', "import '../testing/clock.ts'", '(testing)'],
  ['anything knowing web', 'src/cli/serve.ts', "import '../../web/demo/page.ts'", '(no room of src)'],
  ['the engine using sockets', 'src/engine/hub.ts', "import { WebSocket } from 'ws'", 'must not use ws'],
  ['the engine using Node for I/O', 'src/engine/hub.ts', "import 'node:net'", 'must not use node:net'],
  ['the client using a package', 'src/client/index.ts', "import 'zod'", 'client must not use zod; it uses no package'],
  [
    'a package that does not come along',
    'src/cli/serve.ts',
    "import 'left-pad'",
    'the published package would lack it',
  ],
  ['a file in no room', 'src/utils.ts', 'export {}', 'no room holds this file'],
  ['a file that is too long', 'src/engine/hub.ts', 'let x\n'.repeat(601), '601 lines; 600 is the most'],
])('HOUSE check-imports refuses %s', async (_, path, code, problem) => {
  const { exitCode, errors } = await check({ [path]: code })
  expect(errors).toContain(`${path}:`)
  expect(errors).toContain(problem)
  expect(errors.trim().split('\n')).toHaveLength(1)
  expect(exitCode).toBe(1)
})

test('HOUSE check-imports refuses a circle of values, and lets types go round', async () => {
  const values = await check({
    'src/engine/a.ts': "import './b.ts'",
    'src/engine/b.ts': "import './c.ts'",
    'src/engine/c.ts': "import { a } from './a.ts'",
  })
  expect(values.errors).toBe(
    'src/engine/a.ts → src/engine/b.ts → src/engine/c.ts → src/engine/a.ts: these import each other in a circle\n',
  )
  expect(values.exitCode).toBe(1)

  const types = await check({
    'src/engine/a.ts': "import './b.ts'",
    'src/engine/b.ts': "import type { A } from './a.ts'",
  })
  expect(types.exitCode).toBe(0)
})

test('HOUSE check-imports counts the lines that a reader sees', async () => {
  const { exitCode } = await check({ 'src/engine/hub.ts': 'let x\n'.repeat(600) })
  expect(exitCode).toBe(0)
})

test('HOUSE check-imports says which file it could not read', async () => {
  const { exitCode, errors } = await check({ 'src/engine/hub.ts': 'import {' })
  expect(errors).toContain("src/engine/hub.ts can't be parsed")
  expect(exitCode).toBe(1)
})
