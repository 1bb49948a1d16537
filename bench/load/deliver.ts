/** Messages from one session to all of them: the clock stops when the last push has been read. */
import { type Cpu, cpuOf, cpuSince } from '../procfs.ts'
import { type DialectName, dialects } from './dialects.ts'
import type { Session } from './sessions.ts'
import { Wire } from './wire.ts'

/** Bytes of a message's body. */
const bodyBytes = 300

export interface Deliver {
  readonly port: number
  /** Whose CPU is read. */
  readonly pid: number
  readonly dialect: DialectName
  readonly messages: number
  /** Messages under way at once. */
  readonly window: number
  /** Where they are published; empty where there is only one place. */
  readonly conversation: string
}

export interface Delivered {
  readonly deliveries: number
  readonly seconds: number
  readonly cpu: Cpu
}

/** Publishes to `sessions`, all of which get every message. The last publisher of a `publisherPath` stays for the next time. */
export async function deliver(sessions: readonly Session[], job: Deliver): Promise<Delivered> {
  const { port, pid, messages, window, conversation } = job
  const { publish, publisherPath } = dialects[job.dialect]
  const publisher = publisherPath === null ? sessions[0]! : await publisherAt(port, publisherPath)
  const body = 'x'.repeat(bodyBytes)
  const needed = messages * sessions.length
  const { promise: done, resolve } = Promise.withResolvers<void>()

  let sent = 0
  let delivered = 0
  const publishMore = () => {
    while (sent < messages && sent - delivered / sessions.length < window) {
      sent++
      publisher.send(publish(sent + 1, conversation, body))
    }
  }
  for (const session of sessions) {
    session.onFrame = (kind) => {
      if (kind !== 'push' || ++delivered % sessions.length !== 0) return
      if (delivered === needed) resolve()
      else publishMore()
    }
  }

  const before = cpuOf(pid)
  const start = performance.now()
  publishMore()
  await done
  return { deliveries: needed, seconds: (performance.now() - start) / 1000, cpu: cpuSince(before, pid) }
}

const publishers = new Map<number, Wire>()

async function publisherAt(port: number, path: string): Promise<Wire> {
  const publisher = publishers.get(port) ?? new Wire(port, path, () => {})
  publishers.set(port, publisher)
  await publisher.upgraded
  return publisher
}
