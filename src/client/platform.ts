/** The little that the SDK needs of the platform it runs on, declared here so that its core compiles without DOM and Node types (C8). */

/** What the SDK needs of a WebSocket. Those of browsers, Deno, Bun and Node are this, and so is that of the package `ws`. */
export interface Socket {
  onopen: ((event: never) => void) | null
  onmessage: ((event: never) => void) | null
  onclose: ((event: never) => void) | null
  onerror: ((event: never) => void) | null
  /** 2 and 3 mean that it closes or is closed. */
  readonly readyState?: number
  send(text: string): void
  close(): void
}

/** A class of WebSockets: the platform's own, or that of the package `ws`. */
export type WebSocketClass = new (url: string) => Socket

/** What the SDK needs of an AbortSignal. */
export interface Signal {
  readonly aborted: boolean
  readonly reason: unknown
  addEventListener(type: 'abort', listener: () => void): void
  removeEventListener(type: 'abort', listener: () => void): void
}

interface Listened<T extends string> {
  addEventListener(type: T, listener: () => void): void
  removeEventListener(type: T, listener: () => void): void
}

/** Only a page, and in part a worker, has what it may listen to. */
interface Platform extends Partial<Listened<'online' | 'pageshow'>> {
  setTimeout(run: () => void, ms: number): unknown
  clearTimeout(timer: unknown): void
  queueMicrotask(run: () => void): void
  readonly performance: { now(): number }
  /** Node has none. */
  reportError?(error: unknown): void
  readonly document?: { readonly visibilityState: string } & Listened<'visibilitychange'>
  readonly crypto: { getRandomValues(bytes: Uint8Array): Uint8Array }
  readonly TextEncoder: new () => { encode(text: string): Uint8Array }
  /** Node 20 has none. */
  readonly WebSocket?: WebSocketClass
}

/** Its functions are looked up at each call, so that a test's clock can take their place. */
export const platform = globalThis as unknown as Platform
