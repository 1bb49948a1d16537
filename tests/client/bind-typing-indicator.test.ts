import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { bindTypingIndicator, type TypingBindingOptions } from '../../src/client/bind-typing-indicator.ts'

/** An element as small as one may be: it stands for inputs (with a value) and for `contenteditable` (with text only). */
class FakeElement extends EventTarget {
  value?: string
  textContent: string | null = null
  readonly ownerDocument = { defaultView: new EventTarget() }

  /** Somebody, or something, changes what is written. */
  write(text: string, isComposing = false): void {
    if ('value' in this) this.value = text
    else this.textContent = text
    this.dispatchEvent(Object.assign(new Event('input'), { isComposing }))
  }
}

function bind(options?: TypingBindingOptions, element = Object.assign(new FakeElement(), { value: '' })) {
  const said: string[] = []
  const binding = bindTypingIndicator(element, { send: (state) => said.push(state), intervalMs: () => 1_000 }, options)
  return { element, said, binding }
}

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  expect(vi.getTimerCount(), 'timers left').toBe(0)
  vi.useRealTimers()
})

test('C2 begin is sent at the first change and at most once per interval while typing goes on', () => {
  const { element, said, binding } = bind()
  element.write('h')
  expect(said).toEqual(['begin'])
  for (let ms = 100; ms < 3_000; ms += 100) {
    vi.advanceTimersByTime(100)
    element.write('h'.repeat(ms))
  }
  expect(said).toEqual(['begin', 'begin', 'begin'])
  binding.unbind()
})

test('C2 pause is sent once after 3 s without change, and begin again at the next change', () => {
  const { element, said, binding } = bind()
  element.write('h')
  vi.advanceTimersByTime(2_999)
  expect(said).toEqual(['begin'])
  vi.advanceTimersByTime(1)
  expect(said).toEqual(['begin', 'pause'])
  vi.advanceTimersByTime(60_000)
  expect(said).toEqual(['begin', 'pause'])
  element.write('hi')
  expect(said).toEqual(['begin', 'pause', 'begin'])
  binding.unbind()
})

test('C2 a change within the 3 s puts the pause off', () => {
  const { element, said, binding } = bind()
  element.write('h')
  vi.advanceTimersByTime(2_900)
  element.write('hi')
  vi.advanceTimersByTime(2_900)
  expect(said).toEqual(['begin', 'begin'])
  vi.advanceTimersByTime(100)
  expect(said).toEqual(['begin', 'begin', 'pause'])
  binding.unbind()
})

test('C2 the time before pause can be chosen', () => {
  const { element, said, binding } = bind({ pauseAfterMs: 500 })
  element.write('h')
  vi.advanceTimersByTime(500)
  expect(said).toEqual(['begin', 'pause'])
  binding.unbind()
})

test('C2 finished is sent once when emptied, and the first change after it begins anew', () => {
  const { element, said, binding } = bind()
  element.write('h')
  element.write('')
  element.write('')
  expect(said).toEqual(['begin', 'finished'])
  vi.advanceTimersByTime(60_000)
  expect(said).toEqual(['begin', 'finished'])
  element.write('x')
  expect(said).toEqual(['begin', 'finished', 'begin'])
  binding.unbind()
})

test('C2 finished is sent on blur, from begin and from pause, and only once', () => {
  const { element, said, binding } = bind()
  element.write('h')
  element.dispatchEvent(new Event('blur'))
  element.dispatchEvent(new Event('blur'))
  element.write('hi')
  vi.advanceTimersByTime(3_000)
  element.dispatchEvent(new Event('blur'))
  expect(said).toEqual(['begin', 'finished', 'begin', 'pause', 'finished'])
  binding.unbind()
})

test('C2 finished is sent on pagehide', () => {
  const { element, said, binding } = bind()
  element.write('h')
  element.ownerDocument.defaultView.dispatchEvent(new Event('pagehide'))
  expect(said).toEqual(['begin', 'finished'])
  binding.unbind()
  expect(said).toEqual(['begin', 'finished'])
})

test('C2 finished is sent on unbind, after which nothing is', () => {
  const { element, said, binding } = bind()
  element.write('h')
  binding.unbind()
  binding.unbind()
  element.write('hi')
  element.dispatchEvent(new Event('blur'))
  element.ownerDocument.defaultView.dispatchEvent(new Event('pagehide'))
  vi.advanceTimersByTime(60_000)
  expect(said).toEqual(['begin', 'finished'])
})

test('C2 finished is sent when the message is, and the element stays bound', () => {
  const { element, said, binding } = bind()
  element.write('hi')
  binding.finish()
  binding.finish()
  expect(said).toEqual(['begin', 'finished'])
  element.write('y')
  expect(said).toEqual(['begin', 'finished', 'begin'])
  binding.unbind()
})

test('C2 an element that a script emptied is finished rather than paused', () => {
  const { element, said, binding } = bind()
  element.write('hi')
  element.value = ''
  vi.advanceTimersByTime(3_000)
  expect(said).toEqual(['begin', 'finished'])
  binding.unbind()
})

test('C2 nothing is sent by binding, focusing or leaving an element in which nothing changes', () => {
  const element = Object.assign(new FakeElement(), { value: 'a draft from before' })
  const { said, binding } = bind({}, element)
  element.dispatchEvent(new Event('focus'))
  element.dispatchEvent(new Event('blur'))
  vi.advanceTimersByTime(60_000)
  binding.unbind()
  expect(said).toEqual([])
})

test('C2 paste and IME composition count as changes', () => {
  const { element, said, binding } = bind()
  element.write('に', true)
  vi.advanceTimersByTime(1_000)
  element.write('日本', true)
  vi.advanceTimersByTime(1_000)
  element.write('日本 and all that was pasted')
  expect(said).toEqual(['begin', 'begin', 'begin'])
  binding.unbind()
})

test('C2 a contenteditable element is empty when its text is', () => {
  const element = new FakeElement()
  const said: string[] = []
  const binding = bindTypingIndicator(element, { send: (state) => said.push(state), intervalMs: () => 1_000 })
  element.write('h')
  element.write('')
  expect(said).toEqual(['begin', 'finished'])
  binding.unbind()
})

test('C2 a wall clock that is set back does not silence begin', () => {
  const { element, said, binding } = bind()
  element.write('h')
  vi.setSystemTime(Date.now() - 3_600_000)
  vi.advanceTimersByTime(1_000)
  element.write('hi')
  expect(said).toEqual(['begin', 'begin'])
  binding.unbind()
})
