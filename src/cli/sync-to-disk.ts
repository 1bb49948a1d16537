import { closeSync, fsyncSync, openSync } from 'node:fs'

/** Puts a file's content, or a folder's list of names, on disk. Windows opens no folders, and needs none of this. */
export function syncToDisk(path: string): void {
  if (process.platform === 'win32') return
  const opened = openSync(path, 'r')
  try {
    fsyncSync(opened)
  } finally {
    closeSync(opened)
  }
}
