import { expect, test } from 'vitest'
import { type Outcome, runScript } from './run.ts'
import { temporaryFolder } from './temporary-folder.ts'

const spec = `
- W1 Frames are text.
- W2 Commands have an id.
  - a part of it
- W6 *(planned)* Gaps are told.
`

/** Runs the check on a repository of this SPEC.md and these tests. */
async function check(tests: Readonly<Record<string, string>>): Promise<Outcome> {
  await using folder = await temporaryFolder({ 'SPEC.md': spec, ...tests })
  return await runScript('check-rules.ts', folder.path)
}

test('HOUSE check-rules passes when every rule in force has a title, wherever it stands', async () => {
  const { exitCode, output, errors } = await check({
    'tests/deep/frames.test.ts': `
      describe('frames', () => { test('W1 are text', () => {}) })
      test('HOUSE is not a rule', () => {})`,
    'src/testing/socket-contract.ts': "export const suite = () => { it.each([1])('W2 has id %s', () => {}) }",
  })
  expect(errors).toBe('')
  expect(output).toBe('2 rules in force, 1 planned; 3 titles; every rule in force has a test\n')
  expect(exitCode).toBe(0)
})

test('HOUSE check-rules lists the rules without a test', async () => {
  const { exitCode, errors } = await check({ 'tests/a.test.ts': "test('W2 has an id', () => {})" })
  expect(errors).toBe('W1 has no test: Frames are text.\n')
  expect(exitCode).toBe(1)
})

test('HOUSE check-rules takes a title that names several rules for each of them', async () => {
  const { exitCode } = await check({ 'tests/a.test.ts': "test('W1, W2 hold together', () => {})" })
  expect(exitCode).toBe(0)
})

test.each([
  ['is skipped', "test.skip('W2 has an id', () => {})"],
  ['is still to be written', "test.todo('W2 has an id')"],
  ['is a comment', "// test('W2 has an id', () => {})"],
  ['is a string', 'const code = "test(\'W2 has an id\', () => {})"'],
  ['is not its beginning', "test('HOUSE W2 has an id', () => {})"],
  ['is a group', "describe('W2 commands', () => {})"],
])('HOUSE check-rules takes no title for a proof that %s', async (_, code) => {
  const { exitCode, errors } = await check({ 'tests/a.test.ts': `test('W1 is text', () => {})\n${code}` })
  expect(errors).toBe('W2 has no test: Commands have an id.\n')
  expect(exitCode).toBe(1)
})

test.each([
  ['a planned rule', "test('W6 tells gaps', () => {})", 'claims W6, which SPEC.md says is only planned'],
  ['a rule that does not exist', "test('W9 flies', () => {})", 'names W9, which SPEC.md does not have'],
  ['no rule', "test('works', () => {})", 'begins with no rule'],
  [
    'what only running it would tell',
    "test(title + ' works', () => {})",
    'begin the title with the number of its rule',
  ],
  ['an expression', `test(\`\${title} works\`, () => {})`, 'begin the title with the number of its rule'],
])('HOUSE check-rules refuses a title that names %s', async (_, code, problem) => {
  const { exitCode, errors } = await check({
    'tests/a.test.ts': `test('W1, W2 hold', () => {})\n${code}`,
  })
  expect(errors).toContain('tests/a.test.ts:2: ')
  expect(errors).toContain(problem)
  expect(exitCode).toBe(1)
})

test('HOUSE check-rules reads titles that are templates, conditions and aliases', async () => {
  const { exitCode, errors } = await check({
    'tests/a.test.ts': `for (const x of [1]) test(\`W1 takes \${x}\`, () => {})`,
    'tests/b.test.ts': "const browserTest = test.skipIf(absent)\nbrowserTest('W2 in a browser', () => {})",
  })
  expect(errors).toBe('')
  expect(exitCode).toBe(0)
})

test('HOUSE check-rules refuses a number that was given twice', async () => {
  await using folder = await temporaryFolder({
    'SPEC.md': '- W1 one\n- W1 two\n',
    'tests/a.test.ts': "test('W1 one', () => {})",
  })
  const { exitCode, errors } = await runScript('check-rules.ts', folder.path)
  expect(errors).toBe('SPEC.md has two rules W1\n')
  expect(exitCode).toBe(1)
})
