/**
 * The messages of a conversation as lines on the page, in the order of `seq`. What people wrote gets there as text only, never as HTML.
 *
 * @import { Message } from '/sdk/client.js'
 */
import { copyOf, find } from './elements.js'
import { nameOf } from './people.js'

/**
 * What a person can do to a line.
 *
 * @typedef {object} LineActions
 * @property {(body: string, client_id: string) => void} again
 * @property {(message: Message) => void} edit
 * @property {(message: Message) => void} remove
 */

/**
 * `message` is null until the server has it.
 *
 * @typedef {{ readonly element: HTMLElement, message: Message | null }} Line
 */

/** Who is this near to the end, in pixels, follows what is added there. */
const nearEnd = 80

export class MessageList {
  #me
  #log
  #list
  #actions
  #wasAtEnd = true
  /** By message id; what the server hasn't got yet by client id. @type {Map<string, Line>} */
  #lines = new Map()

  /**
   * @param {string} me
   * @param {HTMLElement} log
   * @param {LineActions} actions
   */
  constructor(me, log, actions) {
    this.#me = `user/${me}`
    this.#log = log
    this.#list = find(log, '.messages')
    this.#actions = actions
    log.addEventListener('scroll', () => {
      this.#wasAtEnd = this.isAtEnd
    })
    // Where one writes grows and shrinks, and so does the window: who reads the end goes on reading it.
    new ResizeObserver(() => this.#wasAtEnd && this.scrollToEnd()).observe(log)
  }

  /** Whether one reads the latest lines. */
  get isAtEnd() {
    return this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < nearEnd
  }

  /** What the server has, oldest first. */
  get messages() {
    const messages = [...this.#lines.values()].flatMap(({ message }) => message ?? [])
    return messages.sort((one, other) => one.seq - other.seq)
  }

  /**
   * Shows a message, or what has become of it. One that is older than what is shown changes nothing.
   *
   * @param {Message} message
   */
  show(message) {
    const { id, revision, created_by } = message
    const clientId = message.client_id ?? ''
    const line = this.#lines.get(id) ?? this.#lines.get(clientId) ?? this.#add(created_by)
    if (line.message && line.message.revision >= revision) return
    line.message = message
    this.#lines.delete(clientId)
    this.#lines.set(id, line)
    const wasAtEnd = this.isAtEnd
    this.#draw(line.element, message)
    this.#place(line.element, message.seq)
    if (wasAtEnd) this.scrollToEnd()
  }

  /**
   * Shows these without moving what is being read.
   *
   * @param {readonly Message[]} messages
   */
  showAll(messages) {
    this.#keepPlace(() => {
      for (const message of messages) this.show(message)
    })
  }

  /**
   * Shows what is on its way, at the end, or once more on its way.
   *
   * @param {string} body
   * @param {string} clientId
   */
  showUnsent(body, clientId) {
    const line = this.#lines.get(clientId) ?? this.#add(this.#me)
    this.#lines.set(clientId, line)
    line.element.className = 'message own unsent'
    find(line.element, '.body').textContent = body
    find(line.element, '.mark').textContent = 'Sending…'
    find(line.element, '.again').onclick = () => this.#actions.again(body, clientId)
    this.scrollToEnd()
  }

  /**
   * @param {string} reason
   * @param {string} clientId
   */
  showNotSent(reason, clientId) {
    const line = this.#lines.get(clientId)
    if (!line) return
    line.element.classList.add('failed')
    find(line.element, '.mark').textContent = `Not sent. ${reason}`
  }

  /** @param {number} seq */
  forgetBefore(seq) {
    this.#keepPlace(() => {
      for (const [id, { element, message }] of this.#lines) {
        if (!message || message.seq >= seq) continue
        element.remove()
        this.#lines.delete(id)
      }
    })
  }

  scrollToEnd() {
    this.#log.scrollTop = this.#log.scrollHeight
  }

  /**
   * Lets the first line that is in sight stand where it is, whatever comes and goes above it.
   *
   * @param {() => void} change
   */
  #keepPlace(change) {
    const { scrollTop } = this.#log
    const lines = /** @type {HTMLElement[]} */ ([...this.#list.children])
    const read = lines.find(({ offsetTop, offsetHeight }) => offsetTop + offsetHeight > scrollTop)
    const top = read?.offsetTop ?? 0
    change()
    this.#log.scrollTop += (read?.offsetTop ?? 0) - top
  }

  /**
   * @param {string} author
   * @returns {Line}
   */
  #add(author) {
    const element = copyOf('message')
    find(element, '.author').textContent = `${nameOf(author.slice('user/'.length))}: `
    this.#list.append(element)
    return { element, message: null }
  }

  /**
   * @param {HTMLElement} element
   * @param {Message} message
   */
  #draw(element, message) {
    const { body, created_at, created_by, deleted, edited_at } = message
    element.className = `message ${created_by === this.#me ? 'own' : 'others'} ${deleted ? 'deleted' : ''}`
    find(element, '.body').textContent = deleted ? 'Message deleted' : body
    find(element, '.mark').textContent = edited_at && !deleted ? 'edited' : ''
    find(element, 'time').textContent = timeText(created_at)
    find(element, 'time').setAttribute('datetime', created_at)
    const short = body.length > 30 ? `${body.slice(0, 30)}…` : body
    find(element, '.edit').ariaLabel = `Edit: ${short}`
    find(element, '.delete').ariaLabel = `Delete: ${short}`
    find(element, '.edit').onclick = () => this.#actions.edit(message)
    find(element, '.delete').onclick = () => this.#actions.remove(message)
  }

  /**
   * Moves an element only if it isn't where it belongs.
   *
   * @param {HTMLElement} element
   * @param {number} seq
   */
  #place(element, seq) {
    element.dataset.seq = `${seq}`
    /** @type {Element | null} */
    let next = null
    let before = this.#list.lastElementChild
    while (before instanceof HTMLElement && !(Number(before.dataset.seq) < seq)) {
      next = before
      before = before.previousElementSibling
    }
    if (next !== element) this.#list.insertBefore(element, next)
  }
}

/**
 * Of today the time alone, of other days the date too.
 *
 * @param {string} timestamp
 */
function timeText(timestamp) {
  const time = new Date(timestamp)
  const isToday = time.toDateString() === new Date().toDateString()
  return time.toLocaleString([], isToday ? { timeStyle: 'short' } : { dateStyle: 'medium', timeStyle: 'short' })
}
