import { chmodSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { relative } from 'node:path'
import { expect, test } from 'vitest'
import { openDataFolder } from '../../src/cli/data-folder.ts'
import { OperatorError } from '../../src/engine/operator-error.ts'
import { temporaryFolder } from './temporary-folder.ts'

test('CLI a missing data folder is made with those above it, for its owner alone', () => {
  using folder = temporaryFolder()
  const path = folder.in('above', 'data')
  expect(openDataFolder(path)).toBe(path)
  expect(statSync(path).mode & 0o777).toBe(0o700)
})

test('CLI a data folder that is there stays as it is, and is known by its whole path', () => {
  using folder = temporaryFolder()
  mkdirSync(folder.in('data'))
  chmodSync(folder.in('data'), 0o750)
  writeFileSync(folder.in('data', 'kept'), 'kept')
  symlinkSync(folder.in('data'), folder.in('link'))
  expect(openDataFolder(relative('.', folder.in('data')))).toBe(folder.in('data'))
  expect(openDataFolder(folder.in('link'))).toBe(folder.in('link'))
  expect(statSync(folder.in('data')).mode & 0o777).toBe(0o750)
  expect(readFileSync(folder.in('data', 'kept'), 'utf8')).toBe('kept')
})

test.each([
  ['file', 'there is a file of that name'],
  ['file/data', 'a part of its path is a file'],
  ['nowhere', 'there is a file of that name'],
])('CLI a data folder that cannot be made is told with the reason, and nothing is touched: %s', (name, reason) => {
  using folder = temporaryFolder()
  writeFileSync(folder.in('file'), 'kept')
  symlinkSync(folder.in('file'), folder.in('nowhere'))
  expect(() => openDataFolder(folder.in(name))).toThrow(
    new OperatorError(
      `the data folder ${folder.in(name)} can't be used: ${reason}; put that right, or choose another one with --data or FANFARE_DATA`,
    ),
  )
  expect(readFileSync(folder.in('file'), 'utf8')).toBe('kept')
})

// To root every folder is writable, but those of a file system that nobody may write.
test('CLI a data folder in which nothing can be written is told', () => {
  expect(() => openDataFolder('/proc/self')).toThrow(/^the data folder \/proc\/self can't be used: .+; put that right/)
})

test('CLI a data folder in a file system that lets nobody make one is told, and not tried for ever', () => {
  for (const path of ['/proc/fanfare', '/proc/fanfare/data']) {
    expect(() => openDataFolder(path)).toThrow(
      `the data folder ${path} can't be used: its file system lets nobody make`,
    )
  }
})
