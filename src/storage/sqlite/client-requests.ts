/** What a `client_id` stands for: one record for each user and command, for ever (M3). */
import type { UserId } from '../../protocol/ids.ts'
import type { Database } from './database.ts'

type Command = 'create_conversation' | 'create_message' | 'edit_message'

/** The record that this request made when it came first, or undefined. */
export function earlierRequest<Id extends string>(
  db: Database,
  user: UserId,
  command: Command,
  clientId: string | null,
): Id | undefined {
  if (clientId === null) return undefined
  return db.get<{ record: Id }>(
    'SELECT record FROM client_request WHERE user = ? AND command = ? AND client_id = ?',
    user,
    command,
    clientId,
  )?.record
}

export function rememberRequest(
  db: Database,
  user: UserId,
  command: Command,
  clientId: string | null,
  record: string,
): void {
  if (clientId === null) return
  db.run(
    'INSERT INTO client_request (user, command, client_id, record) VALUES (?, ?, ?, ?)',
    user,
    command,
    clientId,
    record,
  )
}
