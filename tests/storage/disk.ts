/** Disks that fail as real ones do, as far as this machine lets a test make them. */
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

/** Says why a test is skipped also where nobody looks at single tests, and gives the text back. */
export function loudly(reason: string): string {
  process.stderr.write(`SKIPPED: ${reason}\n`)
  return `SKIPPED: ${reason}`
}

/** A file system of a test's own. */
export interface Disk extends AsyncDisposable {
  /** Where it is mounted. */
  readonly path: string
  /** Takes it away and puts it there again, as a machine does that starts anew. Only of a disk that lasts. */
  remount(): Promise<void>
}

/** A disk in memory of so many bytes; null where nothing may be mounted here. */
export function smallDisk(bytes: number): Promise<Disk | null> {
  return mounted((path) => ['-t', 'tmpfs', '-o', `size=${bytes}`, 'none', path], null)
}

/** An ext4 in a file; null where it can't be made or mounted here. */
export async function lastingDisk(): Promise<Disk | null> {
  const image = join(tmpdir(), `fanfare-disk-${process.pid}-${Date.now()}.img`)
  writeFileSync(image, Buffer.alloc(48 * 1024 * 1024))
  try {
    await run('/sbin/mkfs.ext4', ['-q', image])
  } catch {
    rmSync(image)
    return null
  }
  return await mounted((path) => ['-o', 'loop', image, path], image)
}

async function mounted(how: (path: string) => string[], image: string | null): Promise<Disk | null> {
  const path = mkdtempSync(join(tmpdir(), 'fanfare-disk-'))
  const forget = () => {
    rmSync(path, { recursive: true })
    if (image) rmSync(image)
  }
  try {
    await run('mount', how(path))
  } catch {
    forget()
    return null
  }
  return {
    path,
    async remount() {
      await run('umount', [path])
      await run('mount', how(path))
    },
    async [Symbol.asyncDispose]() {
      await run('umount', [path])
      forget()
    },
  }
}

/**
 * Ends a file system as a power cut does: what was not fsynced is gone. False where the tool for it is not here. Nobody may be writing
 * to it just then: Linux may say of an fsync under way that it went well, which without power it could tell nobody.
 */
export async function cutPower({ path }: Disk): Promise<boolean> {
  try {
    await run('/usr/sbin/xfs_io', ['-x', '-c', 'shutdown', path])
    return true
  } catch {
    return false
  }
}

/** Whether strace is here and may trace. */
export async function canTrace(): Promise<boolean> {
  try {
    await run('strace', ['-D', '-o', '/dev/null', '-e', 'trace=none', 'true'])
    return true
  } catch {
    return false
  }
}

/** Starts a program under strace, which sees its fsyncs and writes them into `log`; `inject` says what they do instead. */
export function tracing(log: string, inject?: string): string[] {
  const calls = 'fsync,fdatasync'
  // As a grandchild (-D), so that the program is the child that is killed.
  const args = ['-D', '-f', '-qq', '-o', log, '-e', `trace=${calls}`, '-e', 'signal=none']
  return ['strace', ...args, ...(inject ? ['-e', `inject=${calls}:${inject}`] : [])]
}

/** How many fsyncs have ended well so far. */
export function syncsIn(log: string): number {
  return existsSync(log)
    ? readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => line.endsWith('= 0')).length
    : 0
}
