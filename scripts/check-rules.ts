/**
 * Holds the tests against SPEC.md: every rule in force has a test whose title begins with its number, no test claims a rule that
 * is planned or that doesn't exist, and every title begins with a rule or with one of the other subjects below.
 *
 *     node scripts/check-rules.ts [folder of the repository]
 */
import { readFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { type ESTree, type SourceFile, sourceFiles } from './source-files.ts'

/** What a title may begin with when it proves no rule of the contract. */
const otherSubjects = ['BENCH', 'BROKER', 'CLI', 'DEPLOY', 'HOUSE', 'OPERATOR', 'PAGE', 'PROXY', 'SOCKET', 'STORAGE']

/** Tests, and the suites that they share. */
const testFolders = ['tests', 'src/testing']

export interface Rule {
  readonly number: string
  readonly planned: boolean
  /** Its first words, to recognise it by. */
  readonly text: string
}

export interface Title {
  /** `tests/x.test.ts:12` */
  readonly place: string
  /** Null where it doesn't begin with text that can be read here. */
  readonly text: string | null
}

/** Reads the rules: list items that begin with a letter and a number, `- W1 …`, or `- W6 *(planned)* …`. */
function readRules(spec: string): Rule[] {
  return [...spec.matchAll(/^- ([A-Z]\d+) (\*\(planned\)\* )?(.*)$/gm)].map(([, number, planned, text]) => ({
    number: number!,
    planned: planned !== undefined,
    text: text!,
  }))
}

const testFunction = /^(test|it|[a-z]\w*Test)$/
const proving = new Set(['concurrent', 'each', 'for', 'only', 'runIf', 'sequential', 'skipIf'])

/** Reads the titles of the tests that run: those of `skip`, `todo` and `fails` prove nothing. */
export function readTitles(file: SourceFile): Title[] {
  const titles: Title[] = []
  file.visit({
    CallExpression(call) {
      const title = call.arguments[0]
      if (title && call.arguments.length > 1 && isTest(call.callee)) {
        titles.push({ place: `${file.path}:${file.lineOf(call)}`, text: leadingText(title) })
      }
    },
  })
  return titles
}

/** Whether `callee` is `test`, or what `test.each(…)`, `test.skipIf(…)` and the like return. */
function isTest(callee: ESTree.Expression): boolean {
  switch (callee.type) {
    case 'Identifier':
      return testFunction.test(callee.name)
    case 'MemberExpression':
      return callee.property.type === 'Identifier' && proving.has(callee.property.name) && isTest(callee.object)
    case 'CallExpression':
    case 'TaggedTemplateExpression': {
      const modifier = callee.type === 'CallExpression' ? callee.callee : callee.tag
      return modifier.type === 'MemberExpression' && isTest(modifier)
    }
    default:
      return false
  }
}

function leadingText(title: ESTree.Argument): string | null {
  if (title.type === 'Literal') return typeof title.value === 'string' ? title.value : null
  if (title.type === 'TemplateLiteral') return title.quasis[0]?.value.cooked || null
  return null
}

/** The rules that a title claims: `E3 …`, or `E3, E5 …`. Null where it begins with none. */
export function claims(title: string): string[] | null {
  const numbers = /^([A-Z]\d+(?:,? [A-Z]\d+)*) /.exec(title)?.[1]
  return numbers ? numbers.split(/,? /) : null
}

/** Says in sentences where rules and titles disagree. */
function disagreements(rules: readonly Rule[], titles: readonly Title[]): string[] {
  const problems: string[] = []
  const byNumber = new Map<string, Rule>()
  for (const rule of rules) {
    if (byNumber.has(rule.number)) problems.push(`SPEC.md has two rules ${rule.number}`)
    byNumber.set(rule.number, rule)
  }

  const proved = new Set<string>()
  for (const { place, text } of titles) {
    if (text === null) {
      problems.push(`${place}: begin the title with the number of its rule, written out`)
      continue
    }
    const numbers = claims(text)
    if (!numbers && !otherSubjects.some((subject) => text.startsWith(`${subject} `))) {
      problems.push(`${place}: "${text}" begins with no rule's number, nor with ${otherSubjects.join(', ')}`)
    }
    for (const number of numbers ?? []) {
      const rule = byNumber.get(number)
      if (!rule) problems.push(`${place}: "${text}" names ${number}, which SPEC.md does not have`)
      else if (rule.planned) problems.push(`${place}: "${text}" claims ${number}, which SPEC.md says is only planned`)
      proved.add(number)
    }
  }

  for (const { number, planned, text } of rules) {
    if (!planned && !proved.has(number)) problems.push(`${number} has no test: ${text}`)
  }
  return problems
}

async function main(root: string): Promise<void> {
  const rules = readRules(await readFile(join(root, 'SPEC.md'), 'utf8'))
  const titles = (await sourceFiles(root, testFolders)).flatMap(readTitles)
  const problems = disagreements(rules, titles)
  for (const problem of problems) console.error(problem)
  const planned = rules.filter((rule) => rule.planned).length
  console.log(
    `${rules.length - planned} rules in force, ${planned} planned; ${titles.length} titles; ` +
      (problems.length === 0 ? 'every rule in force has a test' : `${problems.length} problems`),
  )
  if (problems.length > 0) process.exitCode = 1
}

if (import.meta.main) await main(resolve(process.argv[2] ?? '.'))
