/** Sessions on all nodes of a cluster that are in one conversation, and whether what is typed on one is seen on the others. */
import type { UserId } from '../../../src/protocol/ids.ts'
import { connect, type RawSession } from '../../../src/testing/raw-session.ts'
import type { ClusterNode } from './cluster.ts'
import { pause } from './load.ts'

/** What was not heard is said again so often. */
const sayAgainMs = 500

/** Users of one test's own. */
export function strangers(): readonly [UserId, UserId, UserId] {
  const of = (name: string): UserId => `user/${name}-${crypto.randomUUID().slice(0, 8)}`
  return [of('alice'), of('bob'), of('carol')]
}

/** A session on each node, of a user of its own, and a conversation of all, which each has been told of. */
export async function openRoom(nodes: readonly ClusterNode[]) {
  const stack = new AsyncDisposableStack()
  const users = strangers()
  const sessions: RawSession[] = []
  for (const [index, node] of nodes.entries()) sessions.push(stack.use(await connect(node, users[index] as UserId)))
  const [host] = sessions as [RawSession]
  const { conversation } = await host.command('create_conversation', { participants: [...users] })
  for (const session of sessions) await session.next()
  return {
    users,
    sessions: sessions as [RawSession, RawSession, RawSession],
    conversation: conversation.id,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}

/** Nodes that are watched through a fault, by sessions of before it. */
export interface Hearing extends AsyncDisposable {
  /**
   * Says which nodes are not heard by all others within that time. It goes by typing, which is never stored: all else comes by the log
   * too, a little later, and would not tell that the broker carries nothing.
   */
  unheard(withinMs: number): Promise<string[]>
}

export async function openHearing(nodes: readonly ClusterNode[]): Promise<Hearing> {
  const room = await openRoom(nodes)
  const { conversation, users } = room
  const watch = async (session: RawSession) => {
    const watching = { session, ended: false }
    void session.closed.then(() => {
      watching.ended = true
    })
    await session.command('subscribe_typing', { conversation })
    return watching
  }
  const watching = await Promise.all(room.sessions.map(watch))
  const stack = new AsyncDisposableStack()
  stack.use(room)
  return {
    async unheard(withinMs) {
      for (const [index, { ended }] of watching.entries()) {
        if (!ended) continue
        const session = await connect(nodes[index] as ClusterNode, users[index] as UserId)
        watching[index] = await watch(stack.use(session))
      }
      const problems: string[] = []
      for (const [index, { session: typist }] of watching.entries()) {
        const user = users[index] as UserId
        let waitedFor = watching.length - 1
        const seen = watching
          .filter(({ session }) => session !== typist)
          .map(async ({ session }) => {
            await session.nextTyping(({ data }) => data[conversation]?.[user]?.event === 'begin')
            waitedFor--
          })
        const all = Promise.all(seen).catch(() => {})
        for (const end = performance.now() + withinMs; waitedFor > 0 && performance.now() < end; ) {
          await typist.command('typing', { conversation, event: 'begin' })
          await Promise.race([all, pause(sayAgainMs)])
        }
        if (waitedFor > 0) problems.push(`${nodes[index]?.url} is not heard by ${waitedFor} others`)
      }
      return problems
    },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  }
}
