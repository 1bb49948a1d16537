/**
 * Makes dist/ of src/: JavaScript and its types, file by file, for the published package. The repository itself runs src/ as
 * it is.
 *
 *     node scripts/build.ts
 */
import { spawnSync } from 'node:child_process'
import { rm } from 'node:fs/promises'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '..')

// What a renamed file left behind would be published too.
await rm(join(root, 'dist'), { recursive: true, force: true })

const compiler = join(root, 'node_modules/typescript/bin/tsc')
const { status, error } = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], {
  cwd: root,
  stdio: 'inherit',
})
if (error) throw error
process.exitCode = status ?? 1
