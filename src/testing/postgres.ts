/** A PostgreSQL server of a test file's own, with its data in a folder that goes when the server ends. It keeps its fsync. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import {
  chownSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import pg from 'pg'

const run = promisify(execFile)

export interface PostgresServer extends AsyncDisposable {
  /** An empty database. */
  database(): Promise<EmptyDatabase>
  /** Ends it in order, which breaks all connections, and starts it again. */
  restart(): Promise<void>
  /** Ends it, keeps a copy of its files, and starts it again. */
  backUp(): Promise<void>
  /** Ends it, and starts it with the files of the last `backUp`. */
  restore(): Promise<void>
  /** The same as one goes back to a point in time: by recovery from an archive, be there nothing in it, and then on a line of its own. */
  recover(): Promise<void>
  /** Ends every process of it at once, as a crash does. */
  kill(): Promise<void>
  /** Starts it after `kill`. */
  start(): Promise<void>
  /** From now on none of its processes does anything, as on a machine that hangs, until `thaw`. */
  freeze(): void
  thaw(): void
}

export interface EmptyDatabase extends AsyncDisposable {
  /** It goes through a socket in the server's folder. */
  readonly url: string
}

/** The folder of PostgreSQL's programs: the one that FANFARE_POSTGRES_BIN names, Debian's newest, or one in PATH. Null where there is none. */
export function findPostgres(): string | null {
  const debian = '/usr/lib/postgresql'
  const versions = existsSync(debian) ? readdirSync(debian).sort((one, other) => Number(other) - Number(one)) : []
  const folders = [
    process.env.FANFARE_POSTGRES_BIN ?? '',
    ...versions.map((version) => join(debian, version, 'bin')),
    ...(process.env.PATH ?? '').split(delimiter),
  ]
  return folders.find((folder) => folder !== '' && existsSync(join(folder, 'initdb'))) ?? null
}

/** It refuses to run as root, so there it runs as the user that its package makes. */
async function runningAs(): Promise<{ uid?: number; gid?: number }> {
  if (process.getuid?.() !== 0) return {}
  const [uid, gid] = await Promise.all(['-u', '-g'].map((flag) => run('id', [flag, 'postgres'])))
  return { uid: Number(uid?.stdout), gid: Number(gid?.stdout) }
}

export async function startPostgres(programs: string): Promise<PostgresServer> {
  const folder = mkdtempSync(join(tmpdir(), 'fanfare-pg-'))
  const user = await runningAs()
  if (user.uid !== undefined && user.gid !== undefined) chownSync(folder, user.uid, user.gid)
  const data = join(folder, 'data')
  const backup = join(folder, 'backup')
  const initdb = ['-D', data, '-U', 'fanfare', '-A', 'trust', '-E', 'UTF8', '--no-locale', '--no-sync']
  await run(join(programs, 'initdb'), initdb, { ...user, cwd: folder })
  const settings = {
    listen_addresses: '',
    unix_socket_directories: folder,
    max_connections: '120',
    restore_command: 'false',
    shared_buffers: '32MB',
  }
  const args = ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
  const urlOf = (database: string) => `postgresql:///${database}?host=${encodeURIComponent(folder)}&user=fanfare`

  let server: ChildProcess
  let ended: Promise<void>
  const start = async () => {
    server = spawn(join(programs, 'postgres'), args, { ...user, cwd: folder, stdio: ['ignore', 'ignore', 'pipe'] })
    ended = new Promise((resolve) => server.once('exit', () => resolve()))
    await new Promise<void>((resolve, reject) => {
      const said: string[] = []
      createInterface({ input: server.stderr! }).on('line', (line) => {
        said.push(line)
        if (line.includes('ready to accept connections')) resolve()
      })
      server.once('exit', () => reject(new Error(`postgres ended:\n${said.join('\n')}`)))
      server.once('error', reject)
    })
  }
  const stop = async () => {
    server.kill('SIGINT')
    await ended
  }
  /** Gives its other processes. */
  const signal = (name: NodeJS.Signals) => {
    const pid = server.pid as number
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)
    for (const each of [pid, ...children]) process.kill(each, name)
    return children
  }
  const takeBackup = () => {
    rmSync(data, { recursive: true })
    renameSync(backup, data)
  }
  await start()

  // Making one takes long, and emptying it does not, so that they are used again.
  const empty: string[] = []
  let made = 0
  return {
    async database() {
      let url = empty.pop()
      if (!url) {
        const name = `test_${made++}`
        await inDatabase(urlOf('postgres'), `CREATE DATABASE ${name}`)
        url = urlOf(name)
      }
      return {
        url,
        async [Symbol.asyncDispose]() {
          await inDatabase(url, 'DROP SCHEMA IF EXISTS fanfare CASCADE')
          empty.push(url)
        },
      }
    },
    async restart() {
      await stop()
      await start()
    },
    async backUp() {
      await stop()
      await run('cp', ['-a', data, backup])
      await start()
    },
    async restore() {
      await stop()
      takeBackup()
      await start()
    },
    async recover() {
      await stop()
      takeBackup()
      writeFileSync(join(data, 'recovery.signal'), '')
      await start()
    },
    async kill() {
      const children = signal('SIGKILL')
      await ended
      // It starts only when the last of them has let go of the memory that they shared.
      while (children.some((child) => existsSync(`/proc/${child}/exe`)))
        await new Promise((resolve) => setImmediate(resolve))
    },
    start,
    freeze() {
      signal('SIGSTOP')
    },
    thaw() {
      signal('SIGCONT')
    },
    async [Symbol.asyncDispose]() {
      server.kill('SIGCONT')
      server.kill('SIGQUIT')
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A connection of a test's own. */
export async function connectTo(url: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client(url)
  // One that is ended by force tells whoever waits for an answer.
  client.on('error', () => {})
  await client.connect()
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() })
}

/** Asks something on a connection of its own. */
export async function inDatabase<Row>(url: string, text: string, ...values: unknown[]): Promise<Row[]> {
  await using client = await connectTo(url)
  return (await client.query(text, values)).rows as Row[]
}
