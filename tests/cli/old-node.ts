import { execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { delimiter, join } from 'node:path'

function findOldNode(): string | null {
  const found = (process.env.PATH ?? '')
    .split(delimiter)
    .filter((folder) => !folder.includes('node_modules'))
    .map((folder) => join(folder, 'node'))
    .find((node) => existsSync(node) && majorOf(node) < 24)
  return found ?? null
}

function majorOf(node: string): number {
  return Number(/^v(\d+)\./.exec(execFileSync(node, ['--version'], { encoding: 'utf8' }))?.[1])
}

/** A Node below 24 on this machine; null where there is none. */
export const oldNode = findOldNode()
if (!oldNode) console.warn('SKIPPED: no Node below 24 in PATH, so nobody has seen how the command refuses one')
