/** An application that uses Fanfare: a web server of its own, and so at another origin, with a page and a backend that makes tokens. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { Page } from 'playwright-core'
import { rolldown } from 'rolldown'
import type { Window } from './chromium.ts'

const html = `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <title>An application</title>
    <link rel="icon" href="data:,">
    <script type="module" src="/page.js"></script>
  </head>
  <body>
    <input id="source" value="from elsewhere">
    <input id="input">
    <textarea id="textarea"></textarea>
    <div id="editable" contenteditable></div>
    <ul><li id="item" contenteditable></li></ul>
  </body>
</html>`

export class Application implements AsyncDisposable {
  readonly #server: ReturnType<typeof createServer>

  constructor(server: ReturnType<typeof createServer>) {
    this.#server = server
  }

  /** Its origin. */
  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  /** Opens its page for `user` (without `user/`), who chats through the Fanfare server at `chat`. */
  async open(window: Window, user: string, chat: string, origin = this.url): Promise<Page> {
    return await window.open(`${origin}/?${new URLSearchParams({ user, chat })}`)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
    await once(this.#server, 'close')
  }
}

/** Starts an application that ends with its scope. `token` is what its backend says of who is logged in. */
export async function startApplication(token: (user: string) => Promise<string>): Promise<Application> {
  script ??= bundle()
  const page = await script
  const server = createServer(async ({ url = '' }, response) => {
    const user = /^\/chat-token\/(\w+)$/.exec(url)?.[1]
    if (user) response.setHeader('content-type', 'text/plain').end(await token(user))
    else if (url === '/page.js') response.setHeader('content-type', 'text/javascript').end(page)
    else response.setHeader('content-type', 'text/html').end(html)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return new Application(server)
}

let script: Promise<string> | undefined

/** The page's script and the SDK as one file, as an application's own bundler makes it. */
async function bundle(): Promise<string> {
  await using built = await rolldown({ input: fileURLToPath(new URL('page/application.ts', import.meta.url)) })
  const { output } = await built.generate({ format: 'esm' })
  return output[0].code
}
