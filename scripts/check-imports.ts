/**
 * Holds the imports in src/ against the plan of the house: which room may know which. It also refuses cycles, packages that the
 * published package would not bring along, and files that have grown too long.
 *
 *     node scripts/check-imports.ts [folder of the repository]
 */
import { readFile } from 'node:fs/promises'
import { dirname, join, normalize, resolve, sep } from 'node:path'
import { type SourceFile, sourceFiles } from './source-files.ts'

interface Room {
  readonly name: string
  /** Files, and folders that end with `/`. */
  readonly holds: readonly string[]
  /** The other rooms that it may know. */
  readonly knows: readonly string[]
  /** The packages and Node modules that it may use; `node:*` is any of Node's. */
  readonly uses: readonly string[]
}

const seams = ['storage seam', 'broker seam', 'socket seam', 'clock', 'observer seam']
const adapters = ['sqlite', 'postgres', 'brokers']

/** The plan. A file belongs to the first room that holds it, so the seams stand before the folders that they live in. */
const rooms: readonly Room[] = [
  { name: 'protocol', holds: ['src/protocol/'], knows: [], uses: [] },

  { name: 'storage seam', holds: ['src/storage/storage.ts'], knows: ['protocol'], uses: [] },
  { name: 'broker seam', holds: ['src/broker/broker.ts'], knows: ['protocol'], uses: [] },
  { name: 'socket seam', holds: ['src/engine/socket.ts'], knows: ['protocol'], uses: [] },
  { name: 'clock', holds: ['src/engine/clock.ts'], knows: ['protocol'], uses: [] },
  { name: 'observer seam', holds: ['src/engine/observer.ts'], knows: ['protocol'], uses: [] },

  { name: 'sql', holds: ['src/storage/sql/'], knows: ['protocol', 'storage seam'], uses: ['node:crypto'] },
  {
    name: 'sqlite',
    holds: ['src/storage/sqlite.ts', 'src/storage/sqlite/'],
    knows: ['protocol', 'storage seam', 'sql'],
    uses: ['node:*'],
  },
  {
    name: 'postgres',
    holds: ['src/storage/postgres.ts', 'src/storage/postgres/'],
    knows: ['protocol', 'storage seam', 'sql'],
    uses: ['pg', 'node:*'],
  },
  {
    name: 'brokers',
    holds: ['src/broker/'],
    knows: ['protocol', 'broker seam'],
    uses: ['node:*', 'zod', '@nats-io/transport-node'],
  },

  { name: 'engine', holds: ['src/engine/'], knows: ['protocol', ...seams], uses: ['zod', 'jose', 'node:crypto'] },
  { name: 'transport', holds: ['src/transport/'], knows: ['protocol', ...seams, 'engine'], uses: ['ws', 'node:*'] },
  {
    name: 'operator',
    holds: ['src/operator/'],
    knows: ['protocol', ...seams],
    uses: ['pino', 'prom-client', 'node:*'],
  },
  {
    name: 'server',
    holds: ['src/server.ts'],
    knows: ['protocol', ...seams, ...adapters, 'engine', 'transport', 'operator'],
    uses: ['node:*'],
  },
  {
    name: 'cli',
    holds: ['src/cli/'],
    knows: ['protocol', ...seams, ...adapters, 'engine', 'transport', 'operator', 'server', 'client'],
    uses: ['*'],
  },

  { name: 'client', holds: ['src/client/'], knows: ['protocol'], uses: [] },

  {
    name: 'testing',
    holds: ['src/testing/'],
    knows: ['protocol', ...seams, ...adapters, 'engine', 'transport', 'operator', 'server', 'client'],
    uses: ['*'],
  },
]

/** Rooms that no published module reaches, and so may use what only developers install. */
const developersOnly = ['testing']

const longestFileLines = 600

interface Import {
  readonly place: string
  readonly from: string
  /** A path from the root, or a package's name. */
  readonly to: string
  readonly kind: 'value' | 'type' | 'worker'
}

/** Reads what a file imports: by statement, by `import(…)`, as a type, or as a worker by `new URL('./x.ts', import.meta.url)`. */
function readImports(file: SourceFile): Import[] {
  const imports: Import[] = []
  const add = (node: { start: number; end: number }, specifier: unknown, kind: Import['kind']) => {
    if (typeof specifier !== 'string') return
    const to = specifier.startsWith('.')
      ? normalize(join(dirname(file.path), specifier)).replaceAll(sep, '/')
      : specifier
    imports.push({ place: `${file.path}:${file.lineOf(node)}`, from: file.path, to, kind })
  }
  file.visit({
    ImportDeclaration: (node) => add(node, node.source.value, node.importKind === 'type' ? 'type' : 'value'),
    ExportNamedDeclaration: (node) => add(node, node.source?.value, node.exportKind === 'type' ? 'type' : 'value'),
    ExportAllDeclaration: (node) => add(node, node.source.value, node.exportKind === 'type' ? 'type' : 'value'),
    ImportExpression: (node) => add(node, node.source.type === 'Literal' && node.source.value, 'value'),
    TSImportType: (node) => add(node, node.source.value, 'type'),
    NewExpression(node) {
      const [path, base] = node.arguments
      const isUrl = node.callee.type === 'Identifier' && node.callee.name === 'URL'
      const isOfModule = base?.type === 'MemberExpression' && base.object.type === 'MetaProperty'
      if (isUrl && isOfModule && path?.type === 'Literal' && String(path.value).endsWith('.ts')) {
        add(node, path.value, 'worker')
      }
    },
  })
  return imports
}

function roomOf(path: string): Room | undefined {
  return rooms.find(({ holds }) => holds.some((held) => path === held || (held.endsWith('/') && path.startsWith(held))))
}

function packageOf(specifier: string): string {
  if (specifier.startsWith('node:')) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

/** Says where an import goes against the plan; null where it doesn't. */
function wrongDirection({ place, from, to }: Import, dependencies: readonly string[]): string | null {
  const room = roomOf(from)
  if (!room) return null
  if (/^(src|web|tests|scripts|bench|bin)\//.test(to)) {
    const other = roomOf(to)
    if (other === room || (other && room.knows.includes(other.name))) return null
    const known = room.knows.length > 0 ? `only ${room.knows.join(', ')}` : 'nothing else'
    return `${place}: ${room.name} must not know ${to} (${other?.name ?? 'no room of src'}); it knows ${known}`
  }
  const name = packageOf(to)
  const mayUse = room.uses.some(
    (used) => used === '*' || used === name || (used === 'node:*' && name.startsWith('node:')),
  )
  if (!mayUse) {
    const used = room.uses.length > 0 ? `only ${room.uses.join(', ')}` : 'no package'
    return `${place}: ${room.name} must not use ${name}; it uses ${used}`
  }
  const comesAlong = name.startsWith('node:') || dependencies.includes(name) || developersOnly.includes(room.name)
  return comesAlong
    ? null
    : `${place}: ${name} is not among the package's dependencies, so the published package would lack it`
}

/** Finds the circles in which modules import each other's values; each is told once, as a path that ends where it begins. */
function cycles(imports: readonly Import[]): string[][] {
  const next = Map.groupBy(
    imports.filter(({ kind }) => kind === 'value'),
    ({ from }) => from,
  )
  const found: string[][] = []
  const done = new Set<string>()
  const path: string[] = []
  const walk = (file: string) => {
    const start = path.indexOf(file)
    if (start >= 0) found.push([...path.slice(start), file])
    if (start >= 0 || done.has(file)) return
    path.push(file)
    for (const { to } of next.get(file) ?? []) walk(to)
    path.pop()
    done.add(file)
  }
  for (const file of next.keys()) walk(file)
  return found
}

/** Says in sentences what in `files` goes against the plan. */
export function faults(files: readonly SourceFile[], dependencies: readonly string[]): string[] {
  const imports = files.flatMap(readImports)
  const homeless = files.filter(({ path }) => !roomOf(path))
  const long = files.filter(({ text }) => lines(text) > longestFileLines)
  return [
    ...homeless.map(({ path }) => `${path}: no room holds this file; give it one in scripts/check-imports.ts`),
    ...imports.map((imported) => wrongDirection(imported, dependencies)).filter((fault) => fault !== null),
    ...cycles(imports).map((circle) => `${circle.join(' → ')}: these import each other in a circle`),
    ...long.map(
      ({ path, text }) => `${path}: ${lines(text)} lines; ${longestFileLines} is the most, so split it by noun`,
    ),
  ]
}

function lines(text: string): number {
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0)
}

async function main(root: string): Promise<void> {
  const manifest: { dependencies?: Record<string, string> } = JSON.parse(
    await readFile(join(root, 'package.json'), 'utf8'),
  )
  const files = await sourceFiles(root, ['src'])
  const found = faults(files, Object.keys(manifest.dependencies ?? {}))
  for (const fault of found) console.error(fault)
  console.log(found.length === 0 ? `${files.length} files import in the right direction` : `${found.length} faults`)
  if (found.length > 0) process.exitCode = 1
}

if (import.meta.main) await main(resolve(process.argv[2] ?? '.'))
