/** What one check has found. */
export interface Finding {
  /** `fail`: a server could not work so. `warn`: it could, and somebody should look. */
  readonly state: 'ok' | 'warn' | 'fail'
  readonly what: string
  readonly found: string
  /** What to do; null where nothing is to be done. */
  readonly advice: string | null
}

export function ok(what: string, found: string): Finding {
  return { state: 'ok', what, found, advice: null }
}

export function warn(what: string, found: string, advice: string): Finding {
  return { state: 'warn', what, found, advice }
}

export function fail(what: string, found: string, advice: string): Finding {
  return { state: 'fail', what, found, advice }
}

/** The bits of a file's mode by which others than its owner may do something with it. */
export const othersMode = 0o077
