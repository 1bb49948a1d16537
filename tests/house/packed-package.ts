import { cp, mkdir, readdir, readFile, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { root, run } from './run.ts'
import { type TemporaryFolder, temporaryFolder } from './temporary-folder.ts'

/** What of the repository goes into the making of the package. */
const ingredients = /^(bin|deploy|scripts|src|web|package(-lock)?\.json|\.npmrc|tsconfig.*\.json|LICENSE|[A-Z]+\.md)$/

/** An application's project in which the package, as `npm pack` makes it, is installed. */
export interface Project extends TemporaryFolder {
  /** The files that the package brings, below `node_modules/fanfare`. */
  readonly packed: readonly string[]
}

/**
 * Packs the repository and installs the package in an empty project. It packs a copy, so that the repository's own dist stays as it
 * is, and puts the dependencies that are installed here beside it, so that no registry is asked.
 */
export async function projectWithPackage(): Promise<Project> {
  await using copy = await copyOfRepository()
  const folder = await temporaryFolder({ 'package.json': '{"type":"module","private":true}' })
  const modules = join(folder.path, 'node_modules')
  await mkdir(join(modules, 'fanfare'), { recursive: true })

  await succeed(run('npm', ['pack', '--pack-destination', folder.path], { cwd: copy.path }))
  const tarball = (await readdir(folder.path)).find((name) => name.endsWith('.tgz'))!
  await succeed(
    run('tar', ['-xzf', tarball, '-C', 'node_modules/fanfare', '--strip-components=1'], { cwd: folder.path }),
  )

  const manifest = await readFile(join(modules, 'fanfare/package.json'), 'utf8')
  const { dependencies }: { dependencies: Record<string, string> } = JSON.parse(manifest)
  for (const name of Object.keys(dependencies)) {
    await mkdir(dirname(join(modules, name)), { recursive: true })
    await symlink(join(root, 'node_modules', name), join(modules, name))
  }

  const entries = await readdir(join(modules, 'fanfare'), { recursive: true, withFileTypes: true })
  const packed = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(join(modules, 'fanfare/').length))
  return { ...folder, packed }
}

async function copyOfRepository(): Promise<TemporaryFolder> {
  const copy = await temporaryFolder()
  for (const name of await readdir(root)) {
    if (ingredients.test(name)) await cp(join(root, name), join(copy.path, name), { recursive: true })
  }
  await symlink(join(root, 'node_modules'), join(copy.path, 'node_modules'))
  return copy
}

async function succeed(outcome: ReturnType<typeof run>): Promise<void> {
  const { exitCode, output, errors } = await outcome
  if (exitCode !== 0) throw new Error(`exit code ${exitCode}\n${output}\n${errors}`)
}
