/** The reverse proxies of deploy/, as an operator would run them: real ones, on free ports, with the configuration that stands there. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs'
import { request as plainRequest } from 'node:http'
import { type RequestOptions, request } from 'node:https'
import { connect } from 'node:net'
import { delimiter, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import { test } from 'vitest'
import type { TestServer } from '../../src/testing/start-server.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'
import { freePort } from '../guarantees/free-port.ts'
import { type Outcome, root, run } from '../house/run.ts'
import { makeCertificate } from '../operator/certificates.ts'

export type ProxyName = 'nginx' | 'haproxy'

/** Debian's packages of the programs that tests run. */
const packages = { nginx: 'nginx-light', haproxy: 'haproxy', curl: 'curl', 'nats-server': 'nats-server' }

interface Kind {
  readonly file: string
  /** What the operator changes, and what a test must: ports, the certificate, and where the server is. */
  configure(text: string, places: Places): string
  /** The arguments that check the configuration, and those that run it. */
  check(file: string): string[]
  run(file: string): string[]
}

interface Places {
  readonly port: number
  readonly plainPort: number
  /** The server that the file has, and those that stand beside it. */
  readonly serverPorts: readonly number[]
  readonly folder: string
  readonly cert: string
  readonly key: string
}

const kinds: { readonly [Name in ProxyName]: Kind } = {
  nginx: {
    file: 'deploy/nginx.conf',
    configure: (text, { port, plainPort, serverPorts, folder, cert, key }) =>
      `daemon off; worker_processes 1; pid ${folder}/nginx.pid; error_log stderr;
       events { worker_connections 256; }
       http {
         access_log off;
         ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((kind) => `${kind}_temp_path ${folder}/${kind};`).join('\n')}
         ${replaced(text, {
           'listen 80;': `listen 127.0.0.1:${plainPort};`,
           'listen 443 ssl;': `listen 127.0.0.1:${port} ssl;`,
           'server 127.0.0.1:8080;': serverPorts.map((port) => `server 127.0.0.1:${port};`).join('\n'),
           '/etc/ssl/fanfare/fullchain.pem': cert,
           '/etc/ssl/fanfare/privkey.pem': key,
         })}
       }`,
    check: (file) => ['-t', '-q', '-c', file],
    run: (file) => ['-c', file],
  },
  haproxy: {
    file: 'deploy/haproxy.cfg',
    configure: (text, { port, plainPort, serverPorts, folder, cert, key }) => {
      writeFileSync(join(folder, 'both.pem'), readFileSync(cert, 'utf8') + readFileSync(key, 'utf8'))
      const placed = replaced(text, {
        'bind :80\n': `bind 127.0.0.1:${plainPort}\n`,
        'bind :443 ': `bind 127.0.0.1:${port} `,
        'server one 127.0.0.1:8080': serverPorts.map((port) => `server at-${port} 127.0.0.1:${port}`).join('\n    '),
        '/etc/haproxy/fanfare.pem': `${folder}/both.pem`,
      })
      // Only root may become somebody else.
      return process.getuid?.() === 0 ? placed : placed.replaceAll(/^ *(user|group) haproxy\n/gm, '')
    },
    check: (file) => ['-c', '-q', '-f', file],
    run: (file) => ['-db', '-q', '-f', file],
  },
}

/** The text with each of these in place of what stands there. Throws where one does not stand there. */
function replaced(text: string, replacements: { readonly [from: string]: string }): string {
  return Object.entries(replacements).reduce((done, [from, to]) => {
    if (!done.includes(from)) throw new Error(`the configuration has no ${from}`)
    return done.replaceAll(from, to)
  }, text)
}

function findProgram(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin']
  return folders
    .map((folder) => join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK)
        return true
      } catch {
        return false
      }
    })
}

/** What registers tests that need this proxy, and programs besides. Where one is missing they are skipped, and say so; where `CI` is set they fail. */
export function testsBehind(
  name: ProxyName,
  ...besides: (keyof typeof packages)[]
): (title: string, run: () => Promise<void>) => void {
  const missing = [name, ...besides].find((program) => !findProgram(program))
  if (!missing || process.env.CI) return test
  process.stderr.write(
    `NO ${missing.toUpperCase()}, so tests are skipped; install it (on Debian: apt-get install ${packages[missing]}):\n`,
  )
  return (title, run) => {
    process.stderr.write(`  SKIPPED ${title}\n`)
    test.skip(title, run)
  }
}

export interface Proxy extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly plainPort: number
  /** What a test's session needs of a server, to reach it through the proxy. */
  readonly reached: Pick<TestServer, 'socketUrl' | 'token'>
  /** What the program says of its configuration. */
  check(): Promise<Outcome>
  /** A request by HTTPS, whoever has signed the certificate. */
  ask(path: string, options?: RequestOptions, body?: string): Promise<Answer>
  /** What is answered without TLS. */
  askPlainly(path: string): Promise<Answer>
}

interface Answer {
  readonly status: number
  readonly location: string | undefined
  readonly body: string
}

/** Starts the proxy in front of the server, and of others on the same database. It ends with its scope. */
export async function startProxy(name: ProxyName, server: TestServer, ...others: TestServer[]): Promise<Proxy> {
  const { file, configure, ...args } = kinds[name]
  const program = findProgram(name)
  if (!program) throw new Error(`there is no ${name}; on Debian: apt-get install ${packages[name]}`)
  const resources = new DisposableStack()
  const folder = resources.use(temporaryFolder())
  const port = await freePort()
  const plainPort = await freePort()
  const serverPorts = [server, ...others].map(({ url }) => Number(new URL(url).port))
  const places = { port, plainPort, serverPorts, folder: folder.path, ...makeCertificate(folder) }
  const configuration = folder.in('proxy.conf')
  writeFileSync(configuration, configure(readFileSync(join(root, file), 'utf8'), places))
  const child = spawn(program, args.run(configuration), { stdio: ['ignore', 'ignore', 'pipe'] })
  const said = text(child.stderr)
  const end = async () => {
    if (child.exitCode === null && child.signalCode === null) {
      const ended = once(child, 'close')
      // nginx's workers outlive a master that is killed.
      child.kill('SIGTERM')
      await ended
    }
    resources.dispose()
  }
  try {
    await Promise.all([accepting(port, child), accepting(plainPort, child)])
  } catch (error) {
    await end()
    throw new Error(`${name} does not listen: ${await said}`, { cause: error })
  }
  const url = `https://127.0.0.1:${port}`
  return {
    url,
    port,
    plainPort,
    reached: { socketUrl: `wss://127.0.0.1:${port}/v2/socket`, token: (...given) => server.token(...given) },
    check: () => run(program, args.check(configuration)),
    ask: (path, options = {}, body = '') =>
      answered(request(url + path, { rejectUnauthorized: false, agent: false, ...options }), body),
    askPlainly: (path) => answered(plainRequest(`http://127.0.0.1:${plainPort}${path}`, { agent: false }), ''),
    [Symbol.asyncDispose]: end,
  }
}

async function answered(asking: ReturnType<typeof request>, body: string): Promise<Answer> {
  asking.end(body)
  const [answer] = await once(asking, 'response')
  return { status: answer.statusCode, location: answer.headers.location, body: await text(answer) }
}

/** Resolves when somebody listens at the port; rejects when the process ends before. */
async function accepting(port: number, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`it ended with ${child.exitCode}`)
    const tcp = connect(port, '127.0.0.1')
    const isOpen = await once(tcp, 'connect').then(
      () => true,
      () => false,
    )
    tcp.destroy()
    if (isOpen) return
    await setTimeout(20)
  }
}
