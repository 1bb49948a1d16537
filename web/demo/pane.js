/**
 * One person's side of the conversation, as it is drawn and written into.
 *
 * @import { ConnectionState, Message } from '/sdk/client.js'
 */
import { copyOf, find } from './elements.js'
import { MessageList } from './message-list.js'
import { nameOf } from './people.js'

/**
 * What a person can do: calls of the SDK. They reject with an error whose text is shown.
 *
 * @typedef {object} Actions
 * @property {(body: string, client_id: string) => Promise<Message>} send
 * @property {(message: Message, body: string) => Promise<Message>} edit
 * @property {(message: Message) => Promise<Message>} remove
 * @property {(message: Message) => Promise<unknown>} read
 * @property {(before_seq: number) => Promise<void>} earlier
 */

export class Pane {
  /** Where the person writes. */
  input
  #me
  #section
  #list
  /** Null until there is a conversation. @type {Actions | null} */
  #actions = null
  #lastReadSeq = 0
  /** The message that is being changed, and what was being written before. @type {{ message: Message, draft: string } | null} */
  #editing = null

  /**
   * @param {string} me
   * @param {string} other
   */
  constructor(me, other) {
    this.#me = `user/${me}`
    this.#section = copyOf('pane')
    this.input = /** @type {HTMLTextAreaElement} */ (find(this.#section, 'textarea'))
    this.#list = new MessageList(me, find(this.#section, '.log'), {
      again: (body, clientId) => this.#send(body, clientId),
      edit: (message) => this.#beginEditing(message),
      remove: (message) => this.#remove(message),
    })
    this.#section.dataset.person = me
    this.#section.ariaLabel = `${nameOf(me)}’s side`
    this.input.placeholder = `Write to ${nameOf(other)}`
    this.input.ariaLabel = `${nameOf(me)}’s message to ${nameOf(other)}`
    find(this.#section, 'h2').textContent = nameOf(me)
    find(this.#section, '.avatar').textContent = nameOf(me).slice(0, 1)
    find(document, '#panes').append(this.#section)
  }

  /**
   * There is a conversation: one can write.
   *
   * @param {Actions} actions
   */
  begin(actions) {
    this.#actions = actions
    const composer = /** @type {HTMLFormElement} */ (find(this.#section, '.composer'))
    composer.addEventListener('submit', (event) => {
      event.preventDefault()
      this.#submit()
    })
    this.input.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') this.#endEditing()
      // While an IME composes, Enter ends the word, not the message.
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return
      event.preventDefault()
      composer.requestSubmit()
    })
    find(composer, '.cancel').onclick = () => this.#endEditing()
    find(this.#section, '.earlier').onclick = () => {
      const [first] = this.#list.messages
      if (first) this.#try(actions.earlier(first.seq))
    }
    this.#section.addEventListener('focusin', () => this.#updateUnread())
    find(composer, 'fieldset').removeAttribute('disabled')
    // Where there is no mouse, the focus would bring up the keyboard.
    if (document.activeElement === document.body && matchMedia('(hover: hover)').matches) this.input.focus()
  }

  /**
   * @param {string} text
   * @param {ConnectionState['status']} status
   */
  showConnection(text, status) {
    const element = find(this.#section, '.connection')
    element.textContent = text
    element.dataset.status = status
  }

  /** @param {string} text */
  showTyping(text) {
    find(this.#section, '.typing').textContent = text
  }

  /** @param {unknown} error Null hides the last one. */
  showError(error) {
    const element = find(this.#section, '.error')
    element.textContent = error ? textOf(error) : ''
    element.hidden = !error
  }

  /**
   * Shows these, and forgets what was shown of the time before them: it may have changed. Who reads the end goes on reading it.
   *
   * @param {readonly Message[]} messages
   * @param {boolean} hasEarlier
   */
  showLatest(messages, hasEarlier) {
    const { isAtEnd } = this.#list
    this.#list.forgetBefore(messages.at(-1)?.seq ?? 0)
    this.showEarlier(messages, hasEarlier)
    if (isAtEnd) this.#list.scrollToEnd()
    find(this.#section, '.empty').hidden = false
    find(this.#section, '.log').ariaBusy = 'false'
  }

  /** Forgets all that the server has told: it may have other data now. */
  forget() {
    this.#list.forgetBefore(Number.POSITIVE_INFINITY)
    this.#lastReadSeq = 0
  }

  /**
   * @param {readonly Message[]} messages
   * @param {boolean} hasEarlier
   */
  showEarlier(messages, hasEarlier) {
    this.#list.showAll(messages)
    find(this.#section, '.earlier').hidden = !hasEarlier
    this.#updateUnread()
  }

  /**
   * Shows a message, or what has become of it.
   *
   * @param {Message} message
   */
  showMessage(message) {
    this.#list.show(message)
    if (message.created_by === this.#me) this.showReadUpTo(message.seq)
    this.#updateUnread()
  }

  /** @param {number} seq */
  showReadUpTo(seq) {
    this.#lastReadSeq = Math.max(this.#lastReadSeq, seq)
    this.#updateUnread()
  }

  /** Who is here has read what is here. */
  #updateUnread() {
    const isUnread = (/** @type {Message} */ { created_by, deleted, seq }) =>
      created_by !== this.#me && !deleted && seq > this.#lastReadSeq
    const unread = this.#list.messages.filter(isUnread)
    const last = unread.at(-1)
    const isHere = document.hasFocus() && this.#section.contains(document.activeElement)
    const badge = find(this.#section, '.unread')
    badge.hidden = !last || isHere
    badge.textContent = `${unread.length} unread`
    if (!last || !isHere) return
    this.#lastReadSeq = last.seq
    // Without a connection it waits for one. What can't be said at all, the next one that is read says too.
    this.#actions?.read(last).catch(() => {})
  }

  #submit() {
    const body = this.input.value.trim()
    if (!body || this.input.readOnly) return
    if (this.#editing) return this.#change(this.#editing.message, body)
    this.#write('')
    this.#send(body, crypto.randomUUID())
  }

  /**
   * @param {string} body
   * @param {string} clientId
   */
  async #send(body, clientId) {
    this.#list.showUnsent(body, clientId)
    try {
      const message = await this.#actions?.send(body, clientId)
      if (message) this.showMessage(message)
    } catch (error) {
      this.#list.showNotSent(textOf(error), clientId)
    }
  }

  /**
   * What was written stays until the change is done, so that it isn't lost where it can't be.
   *
   * @param {Message} message
   * @param {string} body
   */
  async #change(message, body) {
    this.input.readOnly = true
    if (await this.#try(this.#actions?.edit(message, body))) this.#endEditing()
    this.input.readOnly = false
  }

  /** @param {Message} message */
  #remove(message) {
    if (this.#editing?.message.id === message.id) this.#endEditing()
    // Its button goes, and the focus must not go with it.
    find(this.#section, '.log').focus()
    this.#try(this.#actions?.remove(message))
  }

  /** @param {Message} message */
  #beginEditing(message) {
    this.#editing = { message, draft: this.#editing?.draft ?? this.input.value }
    find(this.#section, '.editing').hidden = false
    this.#write(message.body)
    this.input.focus()
  }

  #endEditing() {
    if (!this.#editing) return
    this.#write(this.#editing.draft)
    this.#editing = null
    find(this.#section, '.editing').hidden = true
    this.input.focus()
  }

  /**
   * Shows the message that a call gave, or the error.
   *
   * @param {Promise<Message | void> | undefined} call
   */
  async #try(call) {
    try {
      const message = await call
      if (message) this.showMessage(message)
      this.showError(null)
      return true
    } catch (error) {
      this.showError(error)
      return false
    }
  }

  /** @param {string} text */
  #write(text) {
    this.input.value = text
    // A script that changes an element's text tells nobody; who listens for typing should know that there is none any more.
    if (!text) this.input.dispatchEvent(new Event('input'))
  }
}

/** @param {unknown} error */
function textOf(error) {
  return error instanceof Error ? error.message : String(error)
}
