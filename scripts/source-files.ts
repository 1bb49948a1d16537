/** How the checks read the repository's TypeScript: as a syntax tree, so that a comment or a string is never taken for code. */
import { readdir, readFile } from 'node:fs/promises'
import { join, sep } from 'node:path'
import { type ESTree, parseSync, Visitor, type VisitorObject } from 'rolldown/utils'

export type { ESTree } from 'rolldown/utils'

export interface SourceFile {
  /** From the repository's root, with `/`. */
  readonly path: string
  readonly text: string
  /** Calls the visitor for each node, in the order of the source. Throws where the file is no TypeScript. */
  visit(visitor: VisitorObject): void
  /** The line of a node, from 1. */
  lineOf(node: ESTree.Span): number
}

/** Reads every `.ts` file below `folders`, by path; a folder that doesn't exist has none. */
export async function sourceFiles(root: string, folders: readonly string[]): Promise<SourceFile[]> {
  const paths = await Promise.all(folders.map((folder) => typescriptBelow(root, folder)))
  return Promise.all(paths.flat().map((path) => sourceFile(root, path)))
}

async function typescriptBelow(root: string, folder: string): Promise<string[]> {
  const names = await readdir(join(root, folder), { recursive: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names
    .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
    .map((name) => `${folder}/${name.replaceAll(sep, '/')}`)
    .sort()
}

async function sourceFile(root: string, path: string): Promise<SourceFile> {
  const text = await readFile(join(root, path), 'utf8')
  return {
    path,
    text,
    visit(visitor) {
      const { program, errors } = parseSync(path, text)
      if (errors[0]) throw new Error(`${path} can't be parsed: ${errors[0].message}`)
      new Visitor(visitor).visit(program)
    },
    lineOf: (node) => text.slice(0, node.start).split('\n').length,
  }
}
