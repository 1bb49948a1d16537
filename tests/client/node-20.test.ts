import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { bundleClient } from './bundle-client.ts'
import { ScriptedServer } from './scripted-server.ts'

const run = promisify(execFile)

/** The first `node` on the PATH that is version 20. */
async function findNode20(): Promise<string | null> {
  for (const folder of (process.env.PATH ?? '').split(delimiter)) {
    const file = join(folder, 'node')
    const version = await run(file, ['--version']).then(
      ({ stdout }) => stdout,
      () => '',
    )
    if (version.startsWith('v20.')) return file
  }
  return null
}

const node20 = await findNode20()
if (!node20) console.warn('SKIPPED: C8 under Node 20: no node of version 20 on the PATH. Install one to run this test.')

const program = `
import { WebSocket } from ${JSON.stringify(import.meta.resolve('ws'))}
import { createChat, FanfareError } from './client.js'

const chat = createChat({ url: process.argv[2], token: async () => 'token-20', WebSocket })
const got = { node: process.version, events: [], typing: [] }
const seen = new Promise((resolve) => chat.subscribe((event) => { got.events.push(event); resolve() }))
const typed = new Promise((resolve) => chat.subscribeTypingIndicator('conversation/cat', (set) => { got.typing.push(set); resolve() }))
got.message = await chat.createMessage('conversation/cat', 'from Node 20')
const error = await chat.getConversation('conversation/dog').catch((error) => error)
got.error = [error instanceof FanfareError, error.code]
await seen
await typed
got.cursor = chat.cursor
chat.close()
got.status = chat.state.status
console.log(JSON.stringify(got))
`

test.skipIf(!node20)(
  'C8 the SDK works under Node 20 with the WebSocket class given, and its process ends',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'fanfare-node-20-'))
    await using _folder = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) }
    await using server = await ScriptedServer.start()
    const { code } = await bundleClient({ minify: false })
    await writeFile(join(folder, 'package.json'), '{"type":"module"}')
    await writeFile(join(folder, 'client.js'), code)
    await writeFile(join(folder, 'program.js'), program)

    const finished = run(node20!, [join(folder, 'program.js'), server.url])
    const session = await server.session()
    expect(await session.begin()).toEqual({ token: 'token-20' })
    const message = { id: 'message/1', body: 'from Node 20' }
    session.reply((await session.command('create_message')).id, { message })
    session.reply((await session.command('subscribe_typing')).id, { typing: {} })
    const data = { record_type: 'message', event_type: 'create', record: message, original_record: null }
    session.send({ event: 'create', data, conversation: 'conversation/cat', seq: 2, cursor: 'c2' })
    session.fail((await session.command('get_conversation')).id, 'not_found')

    const { stdout } = await finished
    const { node, ...got } = JSON.parse(stdout)
    expect(node).toMatch(/^v20\./)
    expect(got).toEqual({
      message,
      error: [true, 'not_found'],
      events: [data],
      typing: [{}],
      cursor: 'c2',
      status: 'closed',
    })
  },
)
