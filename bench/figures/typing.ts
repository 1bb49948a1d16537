/** What typing costs in a large conversation: pushes, and storage. */
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DataFolder, Fanfare, tokenOf, usersOf } from '../fanfare.ts'
import { atMost, type Figure, type Scale } from '../figure.ts'
import { Load } from '../load-process.ts'
import { settled, wakesOf } from '../procfs.ts'
import { shown } from '../statistics.ts'

interface Sizes {
  readonly members: number
  readonly watchers: number
  readonly changes: number
}

const sizes: Readonly<Record<Scale, Sizes>> = {
  full: { members: 10_000, watchers: 20, changes: 20 },
  quick: { members: 50, watchers: 5, changes: 3 },
}

/** What Node names the thread that has the database. */
const storageThread = 'WorkerThread'

/** The server's count of what it has asked its storage for. */
const storageOperations = 'fanfare_storage_batch_operations_sum'

export const typing: Figure = {
  name: 'typing',
  title: 'Typing in a large conversation',

  async measure(scale) {
    const { members, watchers, changes } = sizes[scale]
    await using folder = await DataFolder.make()
    await using server = await Fanfare.start(folder)
    await using load = new Load()
    const { port, pid } = server
    const users = usersOf('m', members)
    const conversation = await server.conversation(users)
    await load.run('open', { port, dialect: 'fanfare', tokens: users.map(tokenOf) })
    await load.run('watch', { conversation, watchers })

    // A message shows that what is counted would be seen.
    const traces = async (): Promise<Traces> => {
      await settled(pid)
      return {
        wakes: wakesOf(pid, storageThread),
        digest: digestOf(folder),
        calls: await server.metric(storageOperations),
      }
    }
    const before = await traces()
    await load.run('deliver', { port, pid, dialect: 'fanfare', messages: 1, window: 1, conversation })
    const afterMessage = await traces()
    const ofMessage = afterMessage.calls - before.calls
    if (ofMessage === 0 || afterMessage.wakes === before.wakes || afterMessage.digest === before.digest) {
      throw new Error('a message left no trace of storage')
    }

    const pushes = await load.run('type', { conversation, changes })
    const afterTyping = await traces()
    const calls = afterTyping.calls - afterMessage.calls
    const wakes = afterTyping.wakes - afterMessage.wakes
    const changed = afterTyping.digest === afterMessage.digest ? 0 : 1

    const perChange = pushes / changes
    return {
      how:
        `A conversation of ${members.toLocaleString('en-US')} members, all of them connected, ${watchers} of whom watch; one types, and ` +
        `changes his state ${changes} times, more slowly than pushes are put together. All pushes of typing to all sessions are counted. ` +
        'Storage calls are those that the server itself counts (`/metrics`). Each would wake the thread that has the database, so its ' +
        'wakings are counted too (`voluntary_ctxt_switches`), and all files of the data folder are compared byte by byte. One message ' +
        'before shows that all three would tell.',
      tables: [
        {
          title: '',
          head: ['', 'measured'],
          rows: [
            ['pushes per change', shown(perChange)],
            [`storage calls of ${changes} changes`, `${calls}`],
            [`wakings of the storage thread by ${changes} changes`, `${wakes}`],
            ['storage calls of one message', `${ofMessage}`],
            ['wakings of the storage thread by one message', `${afterMessage.wakes - before.wakes}`],
            ['files of the data folder', changed === 0 ? 'unchanged' : 'changed'],
          ],
        },
      ],
      targets: [
        atMost(`pushes per change, ${watchers} watch`, perChange, watchers + 1, shown),
        atMost('storage calls', calls, 0, String),
        atMost('changes of the data folder', changed, 0, String),
      ],
      plots: [],
    }
  },
}

/** What storage has done up to now. */
interface Traces {
  readonly calls: number
  readonly wakes: number
  readonly digest: string
}

/** Of all files in the folder, by name. */
function digestOf(folder: DataFolder): string {
  const hash = createHash('sha256')
  for (const name of readdirSync(folder.path).sort()) hash.update(name).update(readFileSync(join(folder.path, name)))
  return hash.digest('hex')
}
