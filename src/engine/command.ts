/** The shape of a row in the table of commands. */
import type { z } from 'zod'
import type { Args, CommandName, Result } from '../protocol/commands.ts'
import type { Written } from '../storage/storage.ts'
import type { Call } from './call.ts'

/**
 * Who may give a command: `session` a connected session only; `listener` those, and listeners too; `user` anyone for a user, the
 * backend with `Fanfare-As` included; `backend` the API key only.
 */
export type Callers = 'session' | 'listener' | 'user' | 'backend'

interface Row<N extends CommandName> {
  readonly callers: Callers
  readonly args: z.ZodType<Args<N>>
}

/**
 * A command that only reads. What it asks of storage it gives back as it is, or as a `Later`. It may be done again, where what it has read
 * is older than what its session was told since.
 */
export interface ReadCommand<N extends CommandName> extends Row<N> {
  readonly read: (call: Call, args: Args<N>) => Result<N> | Promise<Result<N>> | Later<Result<N>>
}

/** A command that leaves the log as it is and does something all the same. It is done once. */
export interface ActCommand<N extends CommandName> extends Row<N> {
  readonly act: (call: Call, args: Args<N>) => Result<N> | Promise<Result<N>> | Later<Result<N>>
}

/**
 * A result that is made of what storage says, in the turn in which it says it. A promise of a promise would come some turns later, and
 * so the reply behind the pushes of what was committed since: who has just left would get one more page (E5).
 */
export class Later<R> {
  /** Calls one of the two, once. */
  readonly settle: (done: (result: R) => void, fail: (error: unknown) => void) => void

  constructor(settle: Later<R>['settle']) {
    this.settle = settle
  }

  /** `make` may throw what the command is then answered with. */
  static of<T, R>(asked: Promise<T>, make: (said: T) => R): Later<R> {
    return new Later((done, fail) => {
      asked.then((said) => done(make(said))).catch(fail)
    })
  }
}

/**
 * A command that may write to the log. It gives back the storage's own promise, as it is: all of these then take the same number of
 * turns from the commit to the reply and the fan-out, which keeps them in the order of the log (E3).
 */
export interface WriteCommand<N extends CommandName> extends Row<N> {
  readonly write: (call: Call, args: Args<N>) => Promise<Written<Result<N>>>
}

export type Command<N extends CommandName> = ReadCommand<N> | ActCommand<N> | WriteCommand<N>
export type CommandTable<N extends CommandName = CommandName> = { readonly [Name in N]: Command<Name> }
