/** Every command in one table, and the one way through it: who may, are the arguments right, do it, reply, publish. */
import { FanfareError } from '../protocol/codes.ts'
import type { Args, CommandName } from '../protocol/commands.ts'
import { parseArgs } from './arguments.ts'
import { Call, type Caller } from './call.ts'
import { type Command, type CommandTable, Later, type ReadCommand, type WriteCommand } from './command.ts'
import { conversationCommands } from './conversations.ts'
import type { Engine } from './engine.ts'
import { messageCommands } from './messages.ts'
import type { ObservedCommand } from './observer.ts'
import type { Reads } from './reads.ts'
import { sessionCommands } from './sessions.ts'
import { userCommands } from './users.ts'

/** Every command of the contract. */
export const commands: CommandTable = {
  ...sessionCommands,
  ...userCommands,
  ...conversationCommands,
  ...messageCommands,
}

/** Where the answer goes: one of the two is called, once. */
export interface Responder {
  result(result: unknown): void
  error(error: FanfareError): void
}

/** So often at the most it is read again because the session was told something new meanwhile. */
const triesToBeFresh = 3

const table = new Map(Object.entries(commands) as [CommandName, Command<CommandName>][])

/** Whether a command can be given over HTTP (W7). */
export function isSessionOnly(name: string): boolean {
  const callers = table.get(name as CommandName)?.callers
  return callers === 'session' || callers === 'listener'
}

/** The command, as observers are told of it. */
export function observed(name: string): ObservedCommand {
  return table.has(name as CommandName) ? (name as CommandName) : 'unknown'
}

/**
 * Does one command and answers it. It never throws. The reply comes before the event that the command makes (E3). A read is one of `reads`
 * until it is answered.
 */
export function execute(
  engine: Engine,
  caller: Caller,
  reads: Reads | null,
  name: string,
  args: unknown,
  responder: Responder,
): void {
  let among: Reads | null = null
  const done = (result: unknown) => {
    responder.result(result)
    engine.answered(observed(name), null)
    among?.end()
  }
  const fail = (cause: unknown) => {
    const error = engine.toError(cause, observed(name))
    responder.error(error)
    engine.answered(observed(name), error.code)
    among?.end()
  }
  engine.began()
  try {
    const command = table.get(name as CommandName)
    if (!command) throw new FanfareError('unknown_command', `there is no command ${JSON.stringify(name.slice(0, 64))}`)
    requireCaller(command, caller)
    const call = new Call(engine, caller)
    const parsed = parseArgs(command.args, args) as Args<CommandName>
    if ('write' in command) write(command, call, parsed, done, fail)
    else if ('act' in command) settle(command.act(call, parsed), done, fail)
    else {
      among = reads
      among?.begin()
      read(command, call, parsed, done, fail)
    }
  } catch (error) {
    fail(error)
  }
}

type Done = (result: unknown) => void
type Fail = (cause: unknown) => void
type AnyArgs = Args<CommandName>

function write(command: WriteCommand<CommandName>, call: Call, args: AnyArgs, done: Done, fail: Fail): void {
  const { engine, caller } = call
  const withdrawn = caller.session?.withdrawn
  command
    .write(call, args)
    .then(({ result, entry }) => {
      // A record that was made before is given as it is, be it that its deletion was told since it was read.
      if (!entry && 'client_id' in args && isGone(call, withdrawn)) return write(command, call, args, done, fail)
      done(result)
      if (entry) engine.fanout.publish(entry, call.held, caller.session?.id ?? null)
    }, fail)
    .catch((error: unknown) => engine.toError(error, 'publishing what a command did'))
}

/**
 * Where storage does not answer in the order of the log, what it has read may be older than what the session was told since. It is read
 * again then: always where something is gone (E4, E5), and a few times where there is only more, lest nothing be answered while much happens.
 */
function read(
  command: ReadCommand<CommandName>,
  call: Call,
  args: AnyArgs,
  done: Done,
  fail: Fail,
  tries = triesToBeFresh,
): void {
  const { session } = call.caller
  const withdrawn = session?.withdrawn
  const told = session?.told
  const answer = (result: unknown) => {
    const isOld = isGone(call, withdrawn) || (tries > 0 && !call.engine.storage.inOrder && session?.told !== told)
    if (isOld) read(command, call, args, done, fail, tries - 1)
    else done(result)
  }
  try {
    settle(command.read(call, args), answer, fail)
  } catch (error) {
    fail(error)
  }
}

function isGone({ engine, caller }: Call, withdrawn: number | undefined): boolean {
  return !engine.storage.inOrder && caller.session?.withdrawn !== withdrawn
}

function settle(result: unknown, done: Done, fail: Fail): void {
  if (result instanceof Later) result.settle(done, fail)
  else if (result instanceof Promise) result.then(done, fail)
  else done(result)
}

function requireCaller({ callers }: Command<CommandName>, { backend, session }: Caller): void {
  if (callers === 'backend' && !backend) {
    throw new FanfareError('forbidden', 'only the application may do this, with the API key')
  }
  if (session?.listener && callers !== 'listener') {
    throw new FanfareError('forbidden', 'a listener only receives; connect with a token to do this')
  }
}
