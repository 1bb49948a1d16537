/** What is acknowledged is on disk (M3), whatever the disk and the process do: the real server, and faults as the system makes them. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { appendFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it, type TestContext, vi } from 'vitest'
import type { ConversationId, UserId } from '../../src/protocol/ids.ts'
import type { Message } from '../../src/protocol/records.ts'
import { Random, seedOfTest } from '../../src/testing/random.ts'
import { temporaryFolder } from '../cli/temporary-folder.ts'
import { type ServerProcess, startServerProcess } from '../guarantees/server-process.ts'
import { canTrace, cutPower, lastingDisk, loudly, smallDisk, syncsIn, tracing } from './disk.ts'

// Several servers one after the other, each of its system calls seen by strace, take their time on a busy machine.
vi.setConfig({ testTimeout: 120_000 })

const alice: UserId = 'user/alice'

/** What became of each message that was asked for, by its body, which is its `client_id` too. */
type Fates = Map<string, 'stored' | 'unavailable' | 'unanswered'>

async function newRoom(server: ServerProcess): Promise<ConversationId> {
  return (await server.must(alice, 'create_conversation', { participants: ['user/bob'] })).conversation.id
}

/** Sends one message, and notes what became of it. */
async function say(
  server: ServerProcess,
  room: ConversationId,
  body: string,
  fates: Fates,
  padding = '',
): Promise<void> {
  const attachment = { padding }
  const sent = server.call(alice, 'create_message', { conversation: room, body, attachment, client_id: body })
  const answer = await sent.catch(() => null)
  if (answer?.error) expect(answer.error).toMatchObject({ code: 'unavailable', retryable: true })
  fates.set(body, !answer ? 'unanswered' : answer.error ? 'unavailable' : 'stored')
}

function bodiesOf(fates: Fates, ...wanted: string[]): string[] {
  return [...fates].flatMap(([body, fate]) => (wanted.includes(fate) ? [body] : []))
}

/** The whole history, oldest first. */
async function history(server: ServerProcess, room: ConversationId): Promise<Message[]> {
  const messages: Message[] = []
  for (;;) {
    const after_seq = messages.at(-1)?.seq ?? 0
    const page = await server.must(alice, 'get_messages', { conversation: room, after_seq, limit: 200 })
    messages.push(...page.messages)
    if (page.messages.length < 200) return messages
  }
}

/** After a restart: nothing that was acknowledged is missing, nothing is there twice; and sent again, all is there once. */
async function expectKept(
  server: ServerProcess,
  room: ConversationId,
  fates: Fates,
): Promise<{ unacknowledged: number }> {
  const found = (await history(server, room)).map(({ body }) => body)
  expect(new Set(found).size).toBe(found.length)
  expect(found).toEqual(expect.arrayContaining(bodiesOf(fates, 'stored')))
  for (const body of found) expect(fates.has(body)).toBe(true)
  for (const body of fates.keys()) {
    await server.must(alice, 'create_message', { conversation: room, body, client_id: body })
  }
  const messages = await history(server, room)
  expect(messages.map(({ body }) => body).sort()).toEqual([...fates.keys()].sort())
  const { conversation } = await server.must(alice, 'get_conversation', { conversation: room })
  expect(conversation.last_seq).toBe(1 + fates.size)
  return { unacknowledged: found.filter((body) => fates.get(body) !== 'stored').length }
}

/** A folder whose database has had its first start, with a room in it: from here on each start does the same. */
async function preparedFolder(path: string): Promise<ConversationId> {
  await using server = await startServerProcess(path)
  const room = await newRoom(server)
  expect((await server.stop()).code).toBe(0)
  return room
}

/** How many fsyncs a start of this folder makes until the server listens, and until its first commit is acknowledged. */
async function syncsOfStart(data: string, log: string): Promise<{ listening: number; firstCommit: number }> {
  await using server = await startServerProcess(data, { under: tracing(log) })
  const listening = syncsIn(log)
  await server.must(alice, 'update_user', { name: 'Alice' })
  const firstCommit = syncsIn(log)
  expect((await server.stop()).code).toBe(0)
  await rm(log)
  return { listening, firstCommit }
}

/** Where nothing can be traced there is nothing to prove: that may be so at a developer's, and not where all of it must be proved. */
async function requireTracing(skip: TestContext['skip']): Promise<void> {
  if (await canTrace()) return
  const reason = 'strace is not installed, or may not trace here: faults of fsync were not tried'
  if (process.env.CI) throw new Error(reason)
  skip(loudly(reason))
}

const padding = 'x'.repeat(4_000)

describe('a full disk', () => {
  it('M3 what is refused while the disk is full was not stored, reading goes on, and so does all once there is room', async ({
    skip,
  }) => {
    await using disk = await smallDisk(4 * 1024 * 1024)
    if (!disk) return skip(loudly('this machine mounts no tmpfs for a test: a full disk was not tried'))
    const data = join(disk.path, 'data')
    const fates: Fates = new Map()
    await using server = await startServerProcess(data)
    const room = await newRoom(server)
    for (let count = 0; count < 5; count++) await say(server, room, `before ${count}`, fates)
    expect(bodiesOf(fates, 'stored')).toHaveLength(5)

    const ballast = join(disk.path, 'ballast')
    writeFileSync(ballast, '')
    const fill = async () => {
      for (;;) await appendFile(ballast, Buffer.alloc(4_096))
    }
    await expect(fill()).rejects.toThrow('ENOSPC')
    // What room there is in the files that exist already is soon used up.
    for (let round = 0; bodiesOf(fates, 'unavailable').length < 20; round++) {
      await Promise.all([0, 1, 2, 3].map((each) => say(server, room, `full ${round}.${each}`, fates, padding)))
      expect(round).toBeLessThan(1_000)
    }
    expect((await history(server, room)).map(({ body }) => body).sort()).toEqual(bodiesOf(fates, 'stored').sort())

    await rm(ballast)
    for (let count = 0; count < 5; count++) await say(server, room, `after ${count}`, fates, padding)
    expect(bodiesOf(fates, 'stored')).toEqual(expect.arrayContaining(['after 0', 'after 4']))
    const ending = await server.stop()
    expect(ending.code).toBe(0)
    expect(troublesIn(ending)).toEqual([expect.stringMatching(/^database or disk is full: .*make room/)])

    await using again = await startServerProcess(data)
    expect((await history(again, room)).map(({ body }) => body).sort()).toEqual(bodiesOf(fates, 'stored').sort())
    await expectKept(again, room, fates)
  })
})

describe('a disk that fails', () => {
  it('M3 after a write that failed nothing more is acknowledged, the operator is told once, and a restart has all that was', async () => {
    using folder = temporaryFolder()
    const data = folder.in('data')
    const room = await preparedFolder(data)
    const fates: Fates = new Map()
    {
      // A file that would grow over the limit is a failed write (EFBIG), to SQLite one of the disk.
      await using server = await startServerProcess(data, { under: ['bash', '-c', 'ulimit -f 400; exec "$0" "$@"'] })
      await sayUntilItFails(server, room, fates)
    }
    await using again = await startServerProcess(data)
    await expectKept(again, room, fates)
  })

  it('M3 after an fsync that failed nothing more is acknowledged, the operator is told once, and a restart has all that was', async ({
    skip,
  }) => {
    await requireTracing(skip)
    using folder = temporaryFolder()
    const data = folder.in('data')
    const log = folder.in('trace')
    const room = await preparedFolder(data)
    const { firstCommit } = await syncsOfStart(data, log)
    const fates: Fates = new Map()
    {
      // Once only: an fsync that is tried again says that all is well, also of what the system has dropped.
      await using server = await startServerProcess(data, { under: tracing(log, `error=EIO:when=${firstCommit + 4}`) })
      await sayUntilItFails(server, room, fates)
      expect(bodiesOf(fates, 'stored')).not.toEqual([])
    }
    await using again = await startServerProcess(data)
    await expectKept(again, room, fates)
  })

  it('M3 an fsync that fails while the log is moved into the database ends it too, and a restart has all that was acknowledged', async ({
    skip,
  }) => {
    await requireTracing(skip)
    using folder = temporaryFolder()
    const data = folder.in('data')
    const log = folder.in('trace')
    const room = await preparedFolder(data)
    const { firstCommit } = await syncsOfStart(data, log)
    const fates: Fates = new Map()
    {
      // That of the checkpoint which follows a deletion: the commits of the message and of its deletion come before.
      await using server = await startServerProcess(data, { under: tracing(log, `error=EIO:when=${firstCommit + 2}`) })
      const { message } = await server.must(alice, 'create_message', { conversation: room, body: 'deleted' })
      await server.must(alice, 'delete_message', { message: message.id })
      await expect
        .poll(async () => (await server.call(alice, 'get_unread_count', {})).error?.code, { timeout: 60_000 })
        .toBe('unavailable')
      await expectFailed(server)
    }
    await using again = await startServerProcess(data)
    expect(await history(again, room)).toMatchObject([{ deleted: true, body: '' }])
    await say(again, room, 'goes on', fates)
    expect(bodiesOf(fates, 'stored')).toEqual(['goes on'])
  })
})

/** Four at once, until the disk fails. Then nothing is acknowledged, also when it would work again. */
async function sayUntilItFails(server: ServerProcess, room: ConversationId, fates: Fates): Promise<void> {
  for (let round = 0; bodiesOf(fates, 'unavailable').length === 0; round++) {
    await Promise.all([0, 1, 2, 3].map((each) => say(server, room, `${round}.${each}`, fates, padding)))
    expect(round).toBeLessThan(1_000)
  }
  const acknowledged = bodiesOf(fates, 'stored')
  for (let late = 0; late < 5; late++) await say(server, room, `late ${late}`, fates)
  expect(bodiesOf(fates, 'stored')).toEqual(acknowledged)
  expect(bodiesOf(fates, 'unanswered')).toEqual([])
  await expectFailed(server)
}

/** It answers everything with why it does nothing, told the operator once, and ends as it always does. */
async function expectFailed(server: ServerProcess): Promise<void> {
  const { error } = await server.call(alice, 'get_conversations', {})
  expect(error).toMatchObject({ code: 'unavailable', message: expect.stringMatching(/is kept; .*check its disk/) })
  const ending = await server.stop()
  expect(ending.code).toBe(0)
  const told = /fanfare\.db can't be relied on any more \(disk I\/O error\): what was acknowledged is kept/
  expect(troublesIn(ending)).toEqual([expect.stringMatching(told)])
}

/** What the server told its operator of storage that failed. */
function troublesIn({ stdout }: { readonly stdout: string }): string[] {
  const lines = stdout.split('\n').filter((line) => line.startsWith('{'))
  return lines
    .map((line) => JSON.parse(line) as { event: string; reason: string })
    .flatMap(({ event, reason }) => (event === 'storage_failed' ? reason : []))
}

describe('a crash', () => {
  it('M3 what is acknowledged was fsynced before', async ({ skip }) => {
    await requireTracing(skip)
    using folder = temporaryFolder()
    const log = folder.in('trace')
    await using server = await startServerProcess(folder.in('data'), { under: tracing(log) })
    const room = await newRoom(server)
    const before = syncsIn(log)
    for (let count = 1; count <= 20; count++) {
      await server.must(alice, 'create_message', { conversation: room, body: `${count}` })
      expect(syncsIn(log) - before).toBeGreaterThanOrEqual(count)
    }
  })

  it('M3 killed at whichever fsync, nothing acknowledged is lost, and what is sent again is there once', async ({
    skip,
  }) => {
    await requireTracing(skip)
    const random = new Random(seedOfTest())
    using folder = temporaryFolder()
    const data = folder.in('data')
    const log = folder.in('trace')
    const room = await preparedFolder(data)
    const { listening } = await syncsOfStart(data, log)
    const fates: Fates = new Map()
    let unacknowledged = 0
    for (let round = 0; round < 6; round++) {
      const writers = 1 + random.below(3)
      const kill = `signal=KILL:when=${listening + 1 + random.below(20)}`
      await using server = await startServerProcess(data, { under: tracing(log, kill) })
      const writer = async (name: string) => {
        for (let count = 0; !bodiesOf(fates, 'unanswered').some((body) => body.startsWith(name)); count++) {
          await say(server, room, `${name}.${count}`, fates)
        }
      }
      await Promise.all(Array.from({ length: writers }, (_, index) => writer(`${round}.${index}`)))
      expect(await server.ended).toMatchObject({ code: null, stderr: '' })

      await using again = await startServerProcess(data)
      unacknowledged += (await expectKept(again, room, fates)).unacknowledged
      for (const body of fates.keys()) fates.set(body, 'stored')
      expect((await again.stop()).code).toBe(0)
    }
    // Some were stored and not acknowledged: the crash came between, and sending again found them.
    expect(unacknowledged).toBeGreaterThan(0)
  })

  it('M3 killed between commit and reply, a conversation and an edit are there once too when asked for again', async ({
    skip,
  }) => {
    await requireTracing(skip)
    using folder = temporaryFolder()
    const data = folder.in('data')
    const log = folder.in('trace')
    const room = await preparedFolder(data)
    const { firstCommit } = await syncsOfStart(data, log)
    const fresh = { participants: ['user/bob' as const], client_id: 'the same' }
    {
      await using server = await startServerProcess(data, { under: tracing(log, `signal=KILL:when=${firstCommit}`) })
      await expect(server.call(alice, 'create_conversation', fresh)).rejects.toThrow()
      await server.ended
    }
    const edit = { body: 'edited', client_id: 'the same' }
    let message: Message
    {
      await using server = await startServerProcess(data)
      expect((await server.must(alice, 'get_conversations', {})).conversations).toHaveLength(2)
      expect((await server.must(alice, 'create_conversation', fresh)).created).toBe(false)
      expect((await server.must(alice, 'get_conversations', {})).conversations).toHaveLength(2)
      message = (await server.must(alice, 'create_message', { conversation: room, body: 'original' })).message
      expect((await server.stop()).code).toBe(0)
    }
    {
      await using server = await startServerProcess(data, { under: tracing(log, `signal=KILL:when=${firstCommit}`) })
      await expect(server.call(alice, 'edit_message', { message: message.id, ...edit })).rejects.toThrow()
      await server.ended
    }
    await using server = await startServerProcess(data)
    const edited = await history(server, room)
    expect(edited).toMatchObject([{ body: 'edited', revision: message.revision + 1 }])
    expect((await server.must(alice, 'edit_message', { message: message.id, ...edit })).message).toEqual(edited[0])
    expect(await history(server, room)).toEqual(edited)
  })
})

describe('a power cut', () => {
  it('M3 what was acknowledged is there afterwards, though the system had not yet written all that it was given', async ({
    skip,
  }) => {
    await using disk = await lastingDisk()
    if (!disk) return skip(loudly('this machine mounts no ext4 for a test: a power cut was not tried'))
    const data = join(disk.path, 'data')
    const room = await preparedFolder(data)
    const fates: Fates = new Map()
    const unsynced = join(disk.path, 'unsynced')
    {
      await using server = await startServerProcess(data)
      const writer = async (name: string) => {
        for (let count = 0; fates.size < 300 && bodiesOf(fates, 'stored').length === fates.size; count++) {
          await say(server, room, `${name} ${count}`, fates, padding)
        }
      }
      const writers = Promise.all(['one', 'two', 'three', 'four'].map(writer))
      await expect.poll(() => bodiesOf(fates, 'stored').length, { timeout: 60_000, interval: 1 }).toBeGreaterThan(40)
      writeFileSync(unsynced, 'nobody was promised anything')
      await server.freeze()
      const cut = await cutPower(disk)
      await server.kill()
      await writers
      if (!cut) return skip(loudly('xfs_io is not installed, or may not end a file system: a power cut was not tried'))
    }
    await disk.remount()
    expect(existsSync(unsynced) ? readFileSync(unsynced, 'utf8') : '').toBe('')
    await using server = await startServerProcess(data)
    await expectKept(server, room, fates)
    expect(bodiesOf(fates, 'stored').length).toBeGreaterThan(40)
  })
})
