/** Runs an operation's steps in one transaction on one connection. */
import { isSeveral, type Query, type Steps } from '../sql/steps.ts'
import { ask, type Client, lockSpace } from './connections.ts'
import { Trouble } from './errors.ts'

/** Told of what an operation does with the log: that it asks for an entry, and where that stands. */
export interface Logging {
  asked(): void
  placed(position: number): void
  /** The operation is about to tell how far the log goes. */
  reached(position: number): void
}

/**
 * How much an operation must be kept from others. One that changes something sees at each step what is committed by then, and locks what
 * must not change; one that only reads, or reads most of the time, sees one moment of the database throughout.
 */
export type Isolation = 'changing' | 'reading' | 'reading, or making'

const begin: Readonly<Record<Isolation, string>> = {
  changing: 'BEGIN ISOLATION LEVEL READ COMMITTED',
  reading: 'BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY',
  'reading, or making': 'BEGIN ISOLATION LEVEL REPEATABLE READ',
}

/** The commit was asked for and not answered: nobody knows whether it was done. */
export class Unanswered extends Trouble {}

/**
 * Runs the steps. When it resolves all of it is on disk. When it rejects nothing was changed, but with `Unanswered`, after which that is not
 * known. After any `Trouble` the connection is of no more use.
 */
export async function transaction<R>(
  client: Client,
  isolation: Isolation,
  steps: Steps<R>,
  logging: Logging,
): Promise<R> {
  let begun = false
  try {
    for (let step = steps.next(); ; ) {
      if (step.done) {
        if (begun) await commit(client)
        return step.value
      }
      const asked = step.value
      if (!isSeveral(asked) && asked.wanted === 'end') {
        if (begun) throw new Error('the end of the log must be asked for before all else')
        const position = await endOfLog(client)
        logging.reached(position)
        step = steps.next(position)
        continue
      }
      // On its way together with the first query; where it fails, so does that.
      if (!begun) client.query(begin[isolation]).catch(() => {})
      begun = true
      step = steps.next(await answer(client, asked, logging))
    }
  } catch (error) {
    if (begun && !(error instanceof Trouble)) await ask(client, 'ROLLBACK')
    throw error
  }
}

/** Before the transaction's own moment is chosen: see `whole_position`. */
export async function endOfLog(client: Client): Promise<number> {
  const [row] = await ask<{ position: number }>(client, 'SELECT whole_position() AS position')
  return (row as { position: number }).position
}

async function answer(client: Client, asked: Query | readonly Query[], logging: Logging): Promise<unknown> {
  return isSeveral(asked)
    ? Promise.all(asked.map((query) => answerOne(client, query, logging)))
    : answerOne(client, asked, logging)
}

async function answerOne(client: Client, { wanted, text, values }: Query, logging: Logging): Promise<unknown> {
  switch (wanted) {
    case 'row':
      return (await prepared(client, text, values)).rows[0]
    case 'rows':
      return (await prepared(client, text, values)).rows
    case 'changes':
      return (await prepared(client, text, values)).rowCount
    case 'position': {
      logging.asked()
      const { rows } = await prepared(client, `${text} RETURNING position`, values)
      const { position } = rows[0] as { position: number }
      logging.placed(position)
      return position
    }
    case 'lock':
      return void (await prepared(client, `SELECT pg_advisory_xact_lock(${lockSpace}, hashtext($1))`, [text]))
    case 'end':
      throw new Error('the end of the log is asked for alone')
    case 'scrubbed':
      // PostgreSQL has no way to be told so; its vacuum comes by itself.
      return undefined
  }
}

/**
 * Commits. The time-out of statements does not hold for this one. A warning says that PostgreSQL was told to give up waiting for a standby that
 * must have the commit too: then it counts as unanswered.
 */
async function commit(client: Client): Promise<void> {
  let warning: string | undefined
  const onNotice = ({ severity, message }: { severity: string | undefined; message: string | undefined }) => {
    if (severity === 'WARNING') warning = message ?? severity
  }
  client.on('notice', onNotice)
  try {
    const { command } = await client.query('COMMIT')
    if (command !== 'COMMIT') throw new Error(`the commit was answered with ${command}`)
  } catch (error) {
    const trouble = new Trouble(error)
    throw trouble.isPassing ? trouble : new Unanswered(error)
  } finally {
    client.off('notice', onNotice)
  }
  if (warning !== undefined) throw new Unanswered(new Error(warning))
}

/** A text is parsed and planned once on each connection, under a name that it has everywhere. */
const names = new Map<string, string>()

async function prepared(client: Client, text: string, values: readonly unknown[]) {
  let name = names.get(text)
  if (!name) {
    name = `fanfare_${names.size}`
    names.set(text, name)
  }
  try {
    return await client.query({ name, text, values: values as unknown[] })
  } catch (error) {
    throw new Trouble(error)
  }
}
