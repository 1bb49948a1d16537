/** Every command in one table, and the one way through it: who may, are the arguments right, do it, reply, publish. */
import { FanfareError } from '../protocol/codes.ts'
import type { Args, CommandName } from '../protocol/commands.ts'
import { parseArgs } from './arguments.ts'
import { Call, type Caller } from './call.ts'
import { type Command, type CommandTable, Later } from './command.ts'
import { conversationCommands } from './conversations.ts'
import type { Engine } from './engine.ts'
import { messageCommands } from './messages.ts'
import type { ObservedCommand } from './observer.ts'
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

/** Does one command and answers it. It never throws. The reply comes before the event that the command makes (E3). */
export function execute(engine: Engine, caller: Caller, name: string, args: unknown, responder: Responder): void {
  const done = (result: unknown) => {
    responder.result(result)
    engine.answered(observed(name), null)
  }
  const fail = (cause: unknown) => {
    const error = engine.toError(cause, observed(name))
    responder.error(error)
    engine.answered(observed(name), error.code)
  }
  engine.began()
  try {
    const command = table.get(name as CommandName)
    if (!command) throw new FanfareError('unknown_command', `there is no command ${JSON.stringify(name.slice(0, 64))}`)
    requireCaller(command, caller)
    const call = new Call(engine, caller)
    const parsed = parseArgs(command.args, args) as Args<CommandName>
    if ('write' in command) {
      command
        .write(call, parsed)
        .then(({ result, entry }) => {
          done(result)
          if (entry) engine.fanout.publish(entry, call.held, caller.session?.id ?? null)
        }, fail)
        .catch((error: unknown) => engine.toError(error, `publishing what ${name} did`))
      return
    }
    const { session } = caller
    const read = () => {
      const departures = session?.departures
      // Where other nodes write, what was read may be of a conversation that the caller has been told since to be out of (E5): it is read
      // again then. A node that is alone reads in the order in which it tells.
      const answer = (result: unknown) => (engine.alone || session?.departures === departures ? done(result) : read())
      const result = command.read(call, parsed)
      if (result instanceof Later) result.settle(answer, fail)
      else if (result instanceof Promise) result.then(answer, fail)
      else done(result)
    }
    read()
  } catch (error) {
    fail(error)
  }
}

function requireCaller({ callers }: Command<CommandName>, { backend, session }: Caller): void {
  if (callers === 'backend' && !backend) {
    throw new FanfareError('forbidden', 'only the application may do this, with the API key')
  }
  if (session?.listener && callers !== 'listener') {
    throw new FanfareError('forbidden', 'a listener only receives; connect with a token to do this')
  }
}
