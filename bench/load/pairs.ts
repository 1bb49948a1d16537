/** Durable messages between two: the first half of the sessions send, each to its own one of the second half. */
import { setTimeout as sleep } from 'node:timers/promises'
import { type Cpu, cpuOf, cpuSince } from '../procfs.ts'
import { createMessage } from './dialects.ts'
import type { Session } from './sessions.ts'
import { atRate, type Latency, latencyOf } from './timing.ts'

const body = 'x'.repeat(100)

export interface Saturate {
  readonly pid: number
  /** Where each sender sends. */
  readonly conversations: readonly string[]
  /** Messages that each sender has under way at once. */
  readonly window: number
  readonly warmUpMs: number
  readonly measuredMs: number
}

export interface Saturated {
  readonly acknowledged: number
  readonly seconds: number
  readonly cpu: Cpu
  /** From sending to the reply. */
  readonly toReply: Latency
}

/** Sends as fast as the server replies. It ends when the last push has been read, both on the author's session and on the other's. */
export async function saturate(sessions: readonly Session[], job: Saturate): Promise<Saturated> {
  const { pid, conversations, window, warmUpMs, measuredMs } = job
  const latencies: number[] = []
  let measuring = false
  let sending = true
  const pairs = new Pairs(sessions, conversations, {
    replied(sender, milliseconds) {
      if (measuring) latencies.push(milliseconds)
      if (sending) pairs.send(sender)
    },
    delivered() {},
  })
  for (const sender of conversations.keys()) for (let more = window; more > 0; more--) pairs.send(sender)

  await sleep(warmUpMs)
  const before = cpuOf(pid)
  const start = performance.now()
  measuring = true
  await sleep(measuredMs)
  measuring = false
  const seconds = (performance.now() - start) / 1000
  const cpu = cpuSince(before, pid)
  sending = false
  await pairs.settled()
  return { acknowledged: latencies.length, seconds, cpu, toReply: latencyOf(latencies) }
}

export interface Pace {
  readonly conversations: readonly string[]
  readonly perSecond: number
  readonly measuredMs: number
}

export interface Paced {
  readonly sent: number
  readonly toReply: Latency
  /** From sending to the other's push. */
  readonly toDelivery: Latency
}

/** Sends so many messages a second, whether or not the server keeps up. */
export async function pace(sessions: readonly Session[], job: Pace): Promise<Paced> {
  const { conversations, perSecond, measuredMs } = job
  const replies: number[] = []
  const deliveries: number[] = []
  const pairs = new Pairs(sessions, conversations, {
    replied: (_, milliseconds) => replies.push(milliseconds),
    delivered: (milliseconds) => deliveries.push(milliseconds),
  })
  const total = Math.floor((perSecond * measuredMs) / 1000)
  await atRate(total, perSecond, (index) => pairs.send(index % conversations.length))
  await pairs.settled()
  return { sent: total, toReply: latencyOf(replies), toDelivery: latencyOf(deliveries) }
}

interface Watch {
  replied(sender: number, milliseconds: number): void
  delivered(milliseconds: number): void
}

/** The sessions, two by two, and when what is under way was sent: replies and pushes of one conversation come in its order. */
class Pairs {
  readonly #sessions: readonly Session[]
  readonly #conversations: readonly string[]
  #lastId = 1
  /** Replies, and pushes to both, that are still to come. */
  #awaited = 0
  readonly #unreplied: number[][]
  readonly #undelivered: number[][]
  #whenSettled = () => {}

  constructor(sessions: readonly Session[], conversations: readonly string[], watch: Watch) {
    this.#sessions = sessions
    this.#conversations = conversations
    this.#unreplied = conversations.map(() => [])
    this.#undelivered = conversations.map(() => [])
    for (const sender of conversations.keys()) {
      sessions[sender]!.onFrame = (kind) => {
        if (kind === 'reply') watch.replied(sender, performance.now() - this.#unreplied[sender]!.shift()!)
        this.#came()
      }
      sessions[conversations.length + sender]!.onFrame = () => {
        watch.delivered(performance.now() - this.#undelivered[sender]!.shift()!)
        this.#came()
      }
    }
  }

  send(sender: number): void {
    const now = performance.now()
    this.#unreplied[sender]!.push(now)
    this.#undelivered[sender]!.push(now)
    this.#awaited += 3
    this.#sessions[sender]!.send(createMessage(++this.#lastId, this.#conversations[sender]!, body))
  }

  /** Resolves when nothing is under way any more. */
  settled(): Promise<void> {
    return new Promise((resolve) => {
      this.#whenSettled = resolve
      if (this.#awaited === 0) resolve()
    })
  }

  #came(): void {
    this.#awaited--
    if (this.#awaited === 0) this.#whenSettled()
  }
}
