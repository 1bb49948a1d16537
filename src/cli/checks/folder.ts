/** The data folder and the disk that it is on. */
import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { codeOf } from '../error-code.ts'
import { type Finding, fail, ok, othersMode, warn } from './finding.ts'

const mebibyte = 1_048_576
/** Below it the disk is as good as full: the write-ahead log alone may take as much. */
const leastFreeBytes = 100 * mebibyte
const fewFreeBytes = 1_024 * mebibyte

/** File systems of other machines, by what `statfs` calls them (Linux): locks do not hold there, so two servers could write at once. */
const networkTypes = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
  [0x01021997, '9p'],
  [0x5346414f, 'AFS'],
  [0x00c36400, 'Ceph'],
])

export function checkFolder(folder: string): Finding[] {
  const nearest = nearestThere(folder)
  try {
    accessSync(nearest, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch (error) {
    const code = codeOf(error)
    return [
      fail('data', `${folder} can't be used (${code})`, 'let this user read and write there, or choose another --data'),
    ]
  }
  if (!statSync(nearest).isDirectory()) {
    return [fail('data', `${nearest} is a file`, 'move it, or choose another folder with --data')]
  }
  const { bavail, bsize, type } = statfsSync(nearest)
  return [checkModes(folder, nearest), checkPlace(nearest, type), checkSpace(nearest, bavail * bsize)]
}

function nearestThere(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestThere(dirname(path))
}

function checkModes(folder: string, nearest: string): Finding {
  if (folder !== nearest) return ok('data', `${folder} is not there yet, and will be made`)
  const mode = statSync(folder).mode & othersMode
  if (process.platform !== 'win32' && mode !== 0) {
    return warn('data', `others than its owner may enter ${folder}`, `chmod 700 ${folder}`)
  }
  return ok('data', folder)
}

function checkPlace(folder: string, type: number): Finding {
  const name = networkTypes.get(type)
  return name
    ? fail('disk', `${folder} is on ${name}, where a database can't be locked reliably`, 'use a local disk')
    : ok('disk', 'no network file system that is known here')
}

export function checkSpace(folder: string, freeBytes: number): Finding {
  const found = `${Math.floor(freeBytes / mebibyte)} MiB free where ${folder} is`
  if (freeBytes < leastFreeBytes) return fail('space', found, 'make room: with a full disk no message is taken')
  if (freeBytes < fewFreeBytes) return warn('space', found, 'make room before messages are refused')
  return ok('space', found)
}
