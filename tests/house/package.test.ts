import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startNode } from '../cli/command.ts'
import { urlOf } from '../cli/running-server.ts'
import { freePort } from '../guarantees/free-port.ts'
import { type Project, projectWithPackage } from './packed-package.ts'
import { root, run } from './run.ts'

let project: Project
beforeAll(async () => {
  project = await projectWithPackage()
}, 120_000)
afterAll(() => project?.[Symbol.asyncDispose]())

test('HOUSE the packed package holds the command, the client with its types, the page and the licence', () => {
  expect(project.packed).toEqual(
    expect.arrayContaining([
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'bin/fanfare.js',
      'deploy/fanfare.service',
      'deploy/fanfare.sh',
      'dist/cli/main.js',
      'dist/client/index.js',
      'dist/client/index.d.ts',
      'dist/storage/sqlite/worker.js',
    ]),
  )
  expect(project.packed.some((path) => path.startsWith('web/demo/'))).toBe(true)
})

test('HOUSE the packed package leaves the workshop behind', () => {
  expect(project.packed.filter((path) => /^(src|tests|scripts|bench|data|dist\/testing)\//.test(path))).toEqual([])
})

test.each([
  ['nodenext', 'nodenext'],
  ['esnext', 'bundler'],
])('HOUSE the packed package gives fanfare/client its types (module %s, resolution %s)', async (module, resolution) => {
  const program = `
    import { createChat } from 'fanfare/client'
    const chat = createChat({ url: 'http://localhost', token: async () => 'token' })
    chat.subscribe(({ record_type, record }) => { if (record_type === 'message') record.body.toUpperCase() })
    // @ts-expect-error: a message has a body
    chat.createMessage('conversation/x')
    // @ts-expect-error: no such option
    createChat({ url: 'http://localhost', token: 'token', colour: 'red' })
    chat.close()`
  await writeFile(join(project.path, 'main.ts'), program)
  const options = ['--noEmit', '--strict', '--target', 'es2022', '--lib', 'es2022,dom', '--types', '']
  const compiler = join(root, 'node_modules/typescript/bin/tsc')
  const { exitCode, output } = await run(
    process.execPath,
    [compiler, ...options, '--module', module, '--moduleResolution', resolution, 'main.ts'],
    { cwd: project.path },
  )
  expect(output).toBe('')
  expect(exitCode).toBe(0)
})

test('HOUSE the packed package serves a chat between two users', async () => {
  await using server = await startPackaged('serve', '--data', 'served')
  await writeFile(
    join(project.path, 'chat.js'),
    `
    import { createChat } from 'fanfare/client'
    const [url, key] = process.argv.slice(2)
    const token = async (user) => {
      const answer = await fetch(url + '/v2/create_token', {
        method: 'POST', headers: { authorization: 'Bearer ' + key }, body: JSON.stringify({ user }),
      })
      return (await answer.json()).result.token
    }
    const alice = createChat({ url, token: () => token('user/alice') })
    const bob = createChat({ url, token: () => token('user/bob') })
    await bob.getConversations()
    const heard = new Promise((resolve) => bob.subscribe(({ record_type, record }) => {
      if (record_type === 'message') resolve(record.body)
    }))
    const { conversation } = await alice.createDirectConversation('user/bob')
    await alice.createMessage(conversation, 'Hello from the package')
    console.log(await heard)
    alice.close()
    bob.close()`,
  )
  const outcome = await run(process.execPath, ['chat.js', server.url, apiKey], { cwd: project.path })
  expect(outcome).toEqual({ exitCode: 0, output: 'Hello from the package\n', errors: '' })
})

test('HOUSE the README’s chat and its backend run as they stand there, but for the ports', async () => {
  const readme = await readFile(join(root, 'README.md'), 'utf8')
  const [chat, backend] = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map(([, program]) => program!)
  const port = await freePort()
  const options = { cwd: project.path, env: { FANFARE_TOKEN_SECRET: 'token secret of the README, 32 bytes long' } }
  await using serving = startNode(['node_modules/fanfare/bin/fanfare.js', 'serve', '--port=0', '--data=read'], options)
  const url = await urlOf(serving)
  await writeFile(
    join(project.path, 'backend.mjs'),
    `${backend!.replace('3000', `${port}`)}\n.on('listening', () => console.log('up'))`,
  )
  await using tokens = startNode(['backend.mjs'], options)
  await tokens.line('up')
  const placed = chat!.replace('http://127.0.0.1:8080', url).replace('127.0.0.1:3000', `127.0.0.1:${port}`)
  await writeFile(join(project.path, 'chat.mjs'), `${placed}\nchat.close()`)
  await using writing = startNode(['chat.mjs'], options)
  const { code, stdout, stderr } = await writing.ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  for (const told of ['create conversation {', 'create message {', "body: 'Hello, Bob!'", 'typing: []']) {
    expect(stdout).toContain(told)
  }
  expect(stdout).toMatch(/^\[\n {2}\{\n {4}id: 'message\/.*\]\n$/ms)
})

test('HOUSE the packed package serves the page with all that it links to and imports', async () => {
  await using server = await startPackaged('dev', '--data', 'tried')
  const seen = new Set<string>()
  const visit = async (path: string) => {
    if (seen.has(path)) return
    seen.add(path)
    const answer = await fetch(server.url + path)
    expect(`${answer.status} ${path}`).toBe(`200 ${path}`)
    const links = (await answer.text()).matchAll(
      /(?:^|\s)(?:src=|href=|import |export .* from |import .* from )["']([./][^"']+)["']/gm,
    )
    for (const [, link] of links) await visit(new URL(link!, server.url + path).pathname)
  }
  await visit('/')
  expect([...seen]).toEqual(expect.arrayContaining(['/demo/demo.js', '/sdk/client.js', '/sdk/client/index.js']))
})

const apiKey = 'api-key-of-the-packed-package'

interface Packaged extends AsyncDisposable {
  readonly url: string
}

/** Starts the command of the installed package on a free port. */
async function startPackaged(command: string, ...args: string[]): Promise<Packaged> {
  const child = spawn(process.execPath, ['node_modules/fanfare/bin/fanfare.js', command, '--port', '0', ...args], {
    cwd: project.path,
    env: { ...process.env, FANFARE_API_KEY: apiKey },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  const end = async () => {
    child.kill('SIGKILL')
    await ended
  }
  try {
    return { url: await listeningAt(child.stdout), [Symbol.asyncDispose]: end }
  } catch (error) {
    await end()
    throw error
  }
}

/** Reads a server's output until it says where it listens. */
async function listeningAt(output: NodeJS.ReadableStream): Promise<string> {
  for await (const line of createInterface({ input: output })) {
    const url = /listening on (http:\S+)/.exec(line)?.[1]
    if (url) return url
  }
  throw new Error('the server ended before it listened')
}
