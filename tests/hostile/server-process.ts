/** `fanfare serve` as a process of its own, so that its memory and all that it prints can be looked at. */
import { execFileSync } from 'node:child_process'
import { SignJWT } from 'jose'
import { type Ending, startCommand } from '../cli/command.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'

export interface ServerProcess extends AsyncDisposable {
  readonly url: string
  readonly socketUrl: string
  readonly apiKey: string
  token(user: string, claims?: { [claim: string]: unknown }): Promise<string>
  /** Does a command over HTTP; gives the answer's text. */
  call(command: string, args: object, headers?: Record<string, string>): Promise<{ status: number; text: string }>
  /** How much memory it holds now. */
  residentBytes(): number
  /** Resolves when it has ended, be it by itself. */
  readonly ended: Promise<Ending>
  /** Ends it as an operator would; gives all that it printed. */
  stop(): Promise<Ending>
}

/** Starts it, with what `environment` has besides the secrets. */
export async function startServerProcess(
  args: readonly string[] = [],
  environment: Readonly<Record<string, string>> = {},
): Promise<ServerProcess> {
  const folder = temporaryFolder()
  const apiKey = 'api-key-of-a-hostile-test'
  const secret = 'token-secret-of-a-hostile-test-of-32-bytes'
  const env = { ...environment, FANFARE_API_KEY: apiKey, FANFARE_TOKEN_SECRET: secret }
  const command = startCommand(['serve', '--port=0', '--data', folder.in('data'), ...args], { env })
  const url = (await command.line('listening on ')).replace(/^.*listening on /, '')
  return {
    url,
    socketUrl: `${url.replace('http', 'ws')}/v2/socket`,
    apiKey,
    token(user, claims = {}) {
      const now = Math.floor(Date.now() / 1000)
      return new SignJWT({ sub: user, iat: now, exp: now + 3_600, ...claims })
        .setProtectedHeader({ alg: 'HS256' })
        .sign(new TextEncoder().encode(secret))
    },
    async call(name, args, headers = {}) {
      const authorization = `Bearer ${apiKey}`
      const body = JSON.stringify(args)
      const answer = await fetch(`${url}/v2/${name}`, { method: 'POST', headers: { authorization, ...headers }, body })
      return { status: answer.status, text: await answer.text() }
    },
    residentBytes() {
      return 1_024 * Number(execFileSync('ps', ['-o', 'rss=', '-p', `${command.process.pid}`], { encoding: 'utf8' }))
    },
    ended: command.ended,
    stop() {
      command.process.kill('SIGTERM')
      return command.ended
    },
    async [Symbol.asyncDispose]() {
      await command[Symbol.asyncDispose]()
      folder[Symbol.dispose]()
    },
  }
}
