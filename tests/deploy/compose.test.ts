/** The compose files of deploy/, as far as they can be read where no engine runs. */
import { execFileSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { root, run } from '../house/run.ts'

/** Docker's client with its plugin, or the program that came before it. */
const compose = [['docker', 'compose'], ['docker-compose']].find(([program, ...args]) => {
  try {
    execFileSync(program!, [...args, 'version'], { stdio: 'pipe' })
    return true
  } catch {
    return false
  }
})

const reason =
  'neither docker compose nor docker-compose, so nobody has read deploy/docker-compose*.yml; on Debian: apt-get install docker-compose'
if (!compose && process.env.CI) throw new Error(reason)
if (!compose) console.warn(`SKIPPED: ${reason}`)

const given = { POSTGRES_PASSWORD: 'p', FANFARE_TOKEN_SECRET: 's', FANFARE_API_KEY: 'k' }

test.skipIf(!compose).each([
  ['deploy/docker-compose.yml', {}],
  ['deploy/docker-compose.cluster.yml', given],
])('DEPLOY Docker finds nothing wrong with %s', async (file, env) => {
  const [program, ...args] = compose!
  const options = { cwd: root, env: { PATH: process.env.PATH, ...env } }
  const { exitCode, errors } = await run(program!, [...args, '-f', file, 'config', '--quiet'], options)
  expect({ exitCode, errors }).toEqual({ exitCode: 0, errors: '' })
})
