/**
 * The page that `fanfare dev` serves, and an example of the SDK: two people who write to each other. All that concerns the chat is in
 * this file; what it looks like is in pane.js, and who the two are in people.js.
 *
 * @import { ConnectionState, TypingSet } from '/sdk/client.js'
 */
import { createChat } from '/sdk/client.js'
import { Pane } from './pane.js'
import { introduce, nameOf, sides } from './people.js'

const pageLength = 50

/**
 * Opens one person's side of the conversation with another.
 *
 * @param {string} me
 * @param {string} other
 */
function open(me, other) {
  const pane = new Pane(me, other)
  const chat = createChat({ url: location.origin, token: () => getToken(me, pane) })
  chat.onState((state) => pane.showConnection(connectionText(state), state.status))
  begin().catch(tell)

  /** Finds or makes the conversation, and joins it to the pane. Calls wait for a connection, and outlive one that breaks. */
  async function begin() {
    const { conversation } = await chat.createDirectConversation(`user/${other}`)

    chat.subscribe(({ record_type, record }) => {
      if (record_type === 'message' && record.conversation === conversation.id) pane.showMessage(record)
      if (record_type === 'user_conversation' && record.conversation === conversation.id) {
        pane.showReadUpTo(record.last_read_seq)
      }
    })
    chat.subscribeTypingIndicator(conversation, (typing) => pane.showTyping(typingText(typing)))
    chat.bindTypingIndicator(conversation, pane.input)
    // Events that were missed come after each break. What can't come any more is asked for.
    chat.onGap((gap) => gap.conversation === conversation.id && load().catch(tell))
    chat.onReset(() => {
      pane.forget()
      load().catch(tell)
    })

    pane.begin({
      // With the same `client_id` a message that is sent twice is there once, and the pane knows its own line again.
      send: (body, client_id) => chat.createMessage(conversation, body, {}, null, { client_id }),
      edit: ({ id, revision }, body) => chat.editMessage(id, { body, revision }),
      remove: (message) => chat.deleteMessage(message),
      read: (message) => chat.markAsLastMessageRead(conversation, message),
      earlier: async (before_seq) => {
        const messages = await chat.getMessages(conversation, { before_seq, limit: pageLength })
        pane.showEarlier(messages, messages.length === pageLength)
      },
    })
    await load()

    async function load() {
      const messages = await chat.getMessages(conversation, { limit: pageLength })
      const { user_conversation } = await chat.getConversation(conversation)
      pane.showReadUpTo(user_conversation.last_read_seq)
      pane.showLatest(messages, messages.length === pageLength)
    }
  }

  /** @param {unknown} error */
  function tell(error) {
    // Why a chat is closed stands where its connection is told.
    if (chat.state.status !== 'closed') pane.showError(error)
  }
}

/**
 * In an application this asks its own backend, which knows who is logged in. Null, as for somebody who may not chat, ends the chat; after an
 * error it is asked again.
 *
 * @param {string} user
 * @param {Pane} pane
 * @returns {Promise<string | null>}
 */
async function getToken(user, pane) {
  const answer = await fetch('/demo/token', { method: 'POST', body: JSON.stringify({ user }) })
  if (answer.ok) return (await answer.json()).token
  if (answer.status !== 400) throw new Error(`no token: ${answer.status}`)
  // Nobody may have that name.
  pane.showError((await answer.json()).error.message)
  return null
}

/** @param {ConnectionState} state */
function connectionText({ status, error }) {
  if (status === 'connected') return 'Connected'
  if (status === 'closed') return `Not connected: ${error?.message} Then reload this page.`
  return error ? 'Connection lost, trying again…' : 'Connecting…'
}

/**
 * Who has just finished is in the set too, once.
 *
 * @param {TypingSet} typing
 */
function typingText(typing) {
  const texts = { begin: 'is typing…', pause: 'has stopped for a moment', finished: null }
  for (const [user, { event }] of Object.entries(typing)) {
    if (texts[event]) return `${nameOf(user.slice('user/'.length))} ${texts[event]}`
  }
  return ''
}

introduce()
for (const { me, other } of sides) open(me, other)
