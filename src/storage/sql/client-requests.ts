/** What a `client_id` stands for: one record for each user and command, for ever (M3). */
import type { UserId } from '../../protocol/ids.ts'
import { get, run, type Steps } from './steps.ts'

type Command = 'create_conversation' | 'create_message' | 'edit_message'

/**
 * Says which record this request made when it came first. Where this is the first time it gives undefined, and from now on the request
 * stands for `record`: whoever asks the same meanwhile waits for how this operation ends.
 */
export function* claimRequest<Id extends string>(
  user: UserId,
  command: Command,
  clientId: string | null,
  record: Id,
): Steps<Id | undefined> {
  if (clientId === null) return undefined
  const claimed = yield* run(
    `INSERT INTO client_request ("user", command, client_id, record) VALUES ($1, $2, $3, $4)
     ON CONFLICT DO NOTHING`,
    user,
    command,
    clientId,
    record,
  )
  if (claimed === 1) return undefined
  const earlier = yield* get<{ record: Id }>(
    'SELECT record FROM client_request WHERE "user" = $1 AND command = $2 AND client_id = $3',
    user,
    command,
    clientId,
  )
  return earlier?.record
}

/** The request stands for another record than it was claimed for. */
export function* pointRequest(user: UserId, command: Command, clientId: string | null, record: string): Steps<void> {
  if (clientId === null) return
  yield* run(
    'UPDATE client_request SET record = $4 WHERE "user" = $1 AND command = $2 AND client_id = $3',
    user,
    command,
    clientId,
    record,
  )
}
