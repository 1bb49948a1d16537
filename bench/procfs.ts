/** What the kernel says of a process: the CPU that it has used, its memory, and how often its threads woke up. Linux only. */
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** The kernel counts in these, whatever its own clock is (USER_HZ). */
const tickSeconds = 0.01

/** CPU seconds. */
export interface Cpu {
  readonly user: number
  readonly system: number
}

/** The CPU that the process has used up to now, all threads together, to 10 ms. */
export function cpuOf(pid: number): Cpu {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The second field is the program's name, in brackets, and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return { user: Number(fields[11]) * tickSeconds, system: Number(fields[12]) * tickSeconds }
}

/** What the process has used since `before`. */
export function cpuSince(before: Cpu, pid: number): Cpu {
  const now = cpuOf(pid)
  return { user: now.user - before.user, system: now.system - before.system }
}

/** The memory that the process holds, in bytes (RSS). */
export function memoryOf(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

/** How often the threads of this name went to sleep, and so woke up, since they began. */
export function wakesOf(pid: number, thread: string): number {
  let wakes = 0
  for (const task of readdirSync(`/proc/${pid}/task`)) {
    const status = readFileSync(`/proc/${pid}/task/${task}/status`, 'utf8')
    if (/^Name:\t(.*)$/m.exec(status)?.[1] !== thread) continue
    wakes += Number(/^voluntary_ctxt_switches:\s+(\d+)$/m.exec(status)?.[1])
  }
  return wakes
}

/** Resolves when the process has had nothing to do for a moment: what came before is none of what is measured next. */
export async function settled(pid: number): Promise<void> {
  let before = total(cpuOf(pid))
  for (;;) {
    await sleep(100)
    const now = total(cpuOf(pid))
    if (now === before) return
    before = now
  }
}

/** User and system together. */
export function total({ user, system }: Cpu): number {
  return user + system
}
