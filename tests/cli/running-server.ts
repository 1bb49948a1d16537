/** `fanfare serve` as a process, and what a backend asks of it. */
import { type CommandOptions, type RunningCommand, startCommand } from './command.ts'

export interface RunningServer extends RunningCommand {
  readonly url: string
  readonly port: number
}

/** A server on a free port, and where it listens. The test's end kills it. */
export async function startServer(
  data: string,
  args: readonly string[] = [],
  options: CommandOptions = {},
): Promise<RunningServer> {
  const command = startCommand(['serve', '--port=0', '--data', data, ...args], options)
  const url = await urlOf(command)
  return { ...command, url, port: Number(new URL(url).port) }
}

/** The address that the command says it listens on. */
export async function urlOf(command: RunningCommand): Promise<string> {
  return (await command.line('listening on ')).replace(/^.*listening on /, '')
}

/** Calls a command over HTTP (W7). */
export async function call(url: string, name: string, bearer: string, args: object = {}) {
  const answer = await fetch(`${url}/v2/${name}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(args),
  })
  return {
    status: answer.status,
    body: (await answer.json()) as { result?: Record<string, unknown>; error?: { code: string } },
  }
}
