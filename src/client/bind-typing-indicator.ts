/** Where an input's changes become typing states (C2). The only file that touches the DOM, through what little of it stands here. */
import type { TypingState } from '../protocol/typing.ts'
import { platform } from './platform.ts'

interface Target {
  addEventListener(type: string, listener: () => void): void
  removeEventListener(type: string, listener: () => void): void
}

/** An `<input>`, a `<textarea>` or an element that is `contenteditable`. */
export interface TypingElement extends Target {
  /** What is written, where the element has it as a text; elsewhere `textContent` is, and pictures. */
  readonly value?: unknown
  /** What is written in an element that is `contenteditable`. */
  readonly textContent: string | null
  /** Finds what stands in such an element besides text. */
  querySelector?(selectors: string): unknown
  /** Leads to the page's window, whose leaving ends the typing. */
  readonly ownerDocument?: { readonly defaultView: Target | null } | null
}

/** What `bindTypingIndicator` may be told besides. */
export interface TypingBindingOptions {
  /** Milliseconds without a change after which `pause` is sent; 3,000 unless given. */
  readonly pauseAfterMs?: number | undefined
}

/** What a binding tells, and how often it may say that typing goes on. */
export interface Typist {
  send(state: TypingState): void
  intervalMs(): number
}

/** An element that is bound. */
export interface TypingBinding {
  /** Says `finished`, unless that was said already: the message has been sent. The element stays bound. */
  finish(): void
  /** Says `finished` likewise, and listens no longer. Calling it again does nothing. */
  unbind(): void
}

/**
 * Listens to what is written into `element`: `begin` at the first change and at most once per interval while changes go on, `pause` when
 * they rest, `finished` when the element is emptied, loses the focus, or its page is left.
 */
export function bindTypingIndicator(
  element: TypingElement,
  typist: Typist,
  { pauseAfterMs = 3_000 }: TypingBindingOptions = {},
): TypingBinding {
  const page = element.ownerDocument?.defaultView
  let said: TypingState = 'finished'
  let begunAt = 0
  let timer: unknown

  const say = (state: TypingState) => {
    said = state
    typist.send(state)
  }
  const finish = () => {
    platform.clearTimeout(timer)
    if (said !== 'finished') say('finished')
  }
  const isEmpty = () => {
    const { value } = element
    // An `<li>` has a value that is a number, and nothing that is written.
    if (typeof value === 'string') return !value
    return !element.textContent && !element.querySelector?.('img')
  }
  const changed = () => {
    if (isEmpty()) return finish()
    platform.clearTimeout(timer)
    // An element that a script empties tells nothing of it.
    timer = platform.setTimeout(() => (isEmpty() ? finish() : say('pause')), pauseAfterMs)
    const now = platform.performance.now()
    if (said === 'begin' && now - begunAt < typist.intervalMs()) return
    begunAt = now
    say('begin')
  }

  element.addEventListener('input', changed)
  element.addEventListener('blur', finish)
  page?.addEventListener('pagehide', finish)
  return {
    finish,
    unbind() {
      element.removeEventListener('input', changed)
      element.removeEventListener('blur', finish)
      page?.removeEventListener('pagehide', finish)
      finish()
    },
  }
}
