/** The one table of commands: what each does, and what it takes besides options. */
import { file, type Kind, user } from './kind.ts'
import { type Secret, secrets } from './secrets.ts'

interface Row {
  /** For the help. The first sentence says what it does. */
  readonly help: string
  /** What stands behind the command's name; null where only options do. */
  readonly operand: Kind<unknown> | null
  readonly secrets: readonly Secret[]
}

const bothSecrets = Object.values(secrets)

export const commands = {
  serve: { help: 'Starts the server.', operand: null, secrets: bothSecrets },
  dev: {
    help: 'Starts it for this machine only, with a page on which to try it. The page gives a token to whoever asks.',
    operand: null,
    secrets: bothSecrets,
  },
  token: {
    help: "Prints a token for a user, signed with the server's token secret.",
    operand: user,
    secrets: [secrets.tokenSecret],
  },
  rotate: {
    help: 'Gives a user a new user channel at a running server. Whoever listens by the old name is out.',
    operand: user,
    secrets: [secrets.apiKey],
  },
  disconnect: {
    help: "Closes all of a user's sessions at a running server.",
    operand: user,
    secrets: [secrets.apiKey],
  },
  backup: {
    help: 'Copies the database into a new file, whole and checked, also while the server runs.',
    operand: file,
    secrets: [],
  },
  copy: {
    help: 'Copies the embedded database of a stopped server into an empty PostgreSQL database, all of it or nothing.',
    operand: null,
    secrets: [],
  },
  doctor: {
    help: 'Looks at all that a server with these options needs, and says what is wrong and what to do. It changes nothing.',
    operand: null,
    secrets: bothSecrets,
  },
} satisfies Record<string, Row>

export type Command = keyof typeof commands

export const commandNames = Object.keys(commands) as Command[]

/** Whether somebody who types `text` means a command. */
export function isCommand(text: string | undefined): text is Command {
  return text !== undefined && Object.hasOwn(commands, text)
}
