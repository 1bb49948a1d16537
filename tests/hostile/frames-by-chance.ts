/** Frames that chance makes: commands as a client would send them, with something of them changed, and what is left of them. */
import type { CommandName } from '../../src/protocol/commands.ts'
import type { Random } from '../../src/testing/random.ts'
import { commandNames, sampleArgs } from '../server/sample-args.ts'

const oddTexts = [
  '',
  '\0',
  '\ud800',
  '__proto__',
  'constructor',
  '😀',
  'null',
  '-1',
  "';--",
  '%00',
  '../..',
  'x'.repeat(20_000),
]
const oddNumbers = [0, -0, -1, 0.5, 1, 2, 200, 201, 2 ** 31, 2 ** 53, -(2 ** 53), 1e300, Number.MIN_VALUE]

/** Any JSON; `known` are texts that mean something here. */
export function anything(random: Random, known: readonly string[], depth = 0): unknown {
  switch (random.below(depth > 4 ? 5 : 7)) {
    case 0:
      return random.pick([null, true, false])
    case 1:
      return random.pick(oddNumbers)
    case 2:
      return random.pick(oddTexts)
    case 3:
    case 4:
      return random.pick(known)
    case 5:
      return Array.from({ length: random.below(4) }, () => anything(random, known, depth + 1))
    default: {
      const keys = Array.from({ length: random.below(4) }, () => random.pick([...oddTexts, ...known, 'a']))
      return Object.fromEntries(keys.map((key) => [key, anything(random, known, depth + 1)]))
    }
  }
}

/** The arguments with some of them left out, changed, or added to. */
function changed(random: Random, known: readonly string[], args: object): { [key: string]: unknown } {
  const now: { [key: string]: unknown } = {}
  for (const [key, value] of Object.entries(args)) {
    const chance = random.below(10)
    if (chance > 0) now[key] = chance < 3 ? anything(random, known) : value
  }
  const names = ['limit', 'before', 'metadata', 'attachment', 'client_id', 'title', 'admins', 'after_seq', 'revision']
  while (random.below(3) === 0) now[random.pick([...names, 'surprise'])] = anything(random, known)
  return now
}

/** Deeper than a stack, in a frame that is not too large. */
const deep = (random: Random) => {
  const levels = 100 + random.below(8_000)
  return random.pick([`${'['.repeat(levels)}${']'.repeat(levels)}`, `${'{"a":'.repeat(levels)}1${'}'.repeat(levels)}`])
}

/** A command with that id, as text: a third as a client would send it, the others with arguments changed or another's. */
export function command(random: Random, known: readonly string[], id: number): string {
  if (random.below(20) === 0) {
    return `{"id":${id},"command":"create_conversation","args":{"participants":[],"metadata":{"a":${deep(random)}}}}`
  }
  const name = random.below(20) === 0 ? random.pick(oddTexts) : random.pick(commandNames)
  const own = sampleArgs[name as CommandName] ?? {}
  const args = random.pick([
    own,
    changed(random, known, own),
    changed(random, known, sampleArgs[random.pick(commandNames)]),
  ])
  return JSON.stringify({ id, command: name, args })
}

/** The same text with some of its characters gone, doubled or replaced. */
export function mutilated(random: Random, text: string): string {
  let now = text
  for (let times = 1 + random.below(4); times > 0; times--) {
    const at = random.below(now.length + 1)
    const kept = now.slice(at + random.below(3))
    now =
      now.slice(0, at) +
      random.pick(['', '"', '{', '}', '[', ',', ':', '\\', '0', '\u2028', now.slice(at, at + 9)]) +
      kept
  }
  return now
}
