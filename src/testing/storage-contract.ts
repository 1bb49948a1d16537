/**
 * What every storage adapter must do, whatever database it is for: the seam's contract as tests, each titled with the number of the
 * rule it proves. An adapter's test file calls `storageContract` with a way to open a fresh database.
 */
import { describe } from 'vitest'
import { conversationsContract } from './storage-contract/conversations.ts'
import { followingContract } from './storage-contract/following.ts'
import { logContract } from './storage-contract/log.ts'
import { messagesContract } from './storage-contract/messages.ts'
import { participantsContract } from './storage-contract/participants.ts'
import { readMarkersContract } from './storage-contract/read-markers.ts'
import { resumingContract } from './storage-contract/resuming.ts'
import { retentionContract } from './storage-contract/retention.ts'
import { rightsContract } from './storage-contract/rights.ts'
import type { OpenStorage } from './storage-contract/stage.ts'
import { userChannelsContract } from './storage-contract/user-channels.ts'
import { usersContract } from './storage-contract/users.ts'

export type { OpenedStorage, OpenStorage } from './storage-contract/stage.ts'

/** Registers the suite for the adapter `name`. `open` is called once or more in each test, and makes a database of its own each time. */
export function storageContract(name: string, open: OpenStorage): void {
  describe(`${name}: the storage contract`, () => {
    logContract(open)
    conversationsContract(open)
    participantsContract(open)
    rightsContract(open)
    messagesContract(open)
    readMarkersContract(open)
    usersContract(open)
    userChannelsContract(open)
    followingContract(open)
    resumingContract(open)
    retentionContract(open)
  })
}
