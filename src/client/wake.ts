/** Where the SDK hears that its page is back: the network, from the page cache, or in front of somebody (C7). */
import { platform } from './platform.ts'

/** Calls `wake` at each `online` and `pageshow`, and when the page becomes visible; nothing where there is no page. Returns what ends it. */
export function onWake(wake: () => void): () => void {
  const { document } = platform
  const changed = () => {
    if (document?.visibilityState === 'visible') wake()
  }
  platform.addEventListener?.('online', wake)
  platform.addEventListener?.('pageshow', wake)
  document?.addEventListener('visibilitychange', changed)
  return () => {
    platform.removeEventListener?.('online', wake)
    platform.removeEventListener?.('pageshow', wake)
    document?.removeEventListener('visibilitychange', changed)
  }
}
