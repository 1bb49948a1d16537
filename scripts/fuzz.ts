/**
 * Throws at the server what chance makes, and looks whether it stands: frames at the decoder, bytes at the door, and whole commands at
 * sessions. The same seed throws the same, though what sessions answer may come in another order.
 *
 *     npm run fuzz -- [--inputs 1000000] [--seed N]
 */
import { parseArgs } from 'node:util'
import { WebSocket } from 'ws'
import { closeCodes, errorCodes } from '../src/protocol/codes.ts'
import { decodeCommand, isObject } from '../src/protocol/frames.ts'
import { Random } from '../src/testing/random.ts'
import { anything, command, mutilated } from '../tests/hostile/frames-by-chance.ts'
import { frameBytes, shakeHands } from '../tests/hostile/raw-frames.ts'
import { type ServerProcess, startServerProcess } from '../tests/hostile/server-process.ts'
import { nobodys } from '../tests/server/sample-args.ts'

export interface FuzzReport {
  readonly seed: number
  /** How many inputs each part had. */
  readonly decoded: number
  readonly bytes: number
  readonly commands: number
  /** What went wrong, in sentences: there should be nothing. */
  readonly faults: readonly string[]
  /** How often sessions answered what, and closed with what. */
  readonly outcomes: { readonly [code: string]: number }
  /** What the server held when a fifth was done, and at the end. */
  readonly residentBytes: readonly [early: number, late: number]
  readonly seconds: number
}

/** Of all inputs so many are commands to sessions, and so many bytes on a connection; the others are decoded only. */
const commandShare = 0.15
const bytesShare = 0.15
const sessionsAtOnce = 8
const commandsAtOnce = 40
/** A reply that has not come by then will not come. */
const replyTimeoutMs = 60_000
/** So much may the server's memory grow from a fifth of the way to the end. */
const growthBytes = 128 * 1_048_576
const mostFrameBytes = 65_536
/** What a session may be closed with for a frame that is no command, and WebSocket's own codes for bytes that are no frame. */
const ownCodes = [1002, 1003, 1006, 1007, 1008, 1009]

/** Rates and numbers of sessions would only slow this down; sizes stay. */
const args = ['commands', 'messages', 'typing'].map((what) => `--max-${what}-per-second=0`)
const serverArgs = [
  ...args,
  '--max-sessions-per-second-per-address=0',
  '--max-unauthenticated-per-address=0',
  '--listeners',
]

export async function fuzz(inputs: number, seed: number): Promise<FuzzReport> {
  const startedAt = performance.now()
  const faults: string[] = []
  const outcomes = new Map<string, number>()
  const count = (outcome: string) => outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
  const commands = Math.ceil(inputs * commandShare)
  const bytes = Math.ceil(inputs * bytesShare)
  const decoded = inputs - commands - bytes
  decodeAll(new Random(seed), decoded, faults)

  await using server = await startServerProcess(serverArgs)
  const known = await furnish(server)
  const rounds = 5
  const resident: number[] = []
  for (let round = 0; round < rounds && faults.length === 0; round++) {
    const share = (total: number) => Math.ceil(total / rounds)
    await throwBytes(server, new Random(seed + 1_000 + round), known, share(bytes), faults)
    await Promise.all(
      Array.from({ length: sessionsAtOnce }, (_, index) => {
        const random = new Random(seed + 2_000 + round * sessionsAtOnce + index)
        return throwCommands(server, random, `fuzz${index}`, known, share(commands / sessionsAtOnce), faults, count)
      }),
    )
    resident.push(server.residentBytes())
  }
  const [early = 0, late = 0] = [resident[0], resident.at(-1)]
  if (late - early > growthBytes) faults.push(`the server's memory grew from ${early} to ${late} bytes`)

  const answer = await server.call('get_conversations', {}, { 'fanfare-as': 'user/fuzz0' })
  if (answer.status !== 200) faults.push(`in the end the server answers ${answer.status}: ${answer.text}`)
  const { code, stdout, stderr } = await server.stop()
  if (code !== 0 || stderr !== '') faults.push(`the server ended with ${code} and said: ${stderr}`)
  for (const line of stdout.split('\n')) if (/"level":"(error|fatal)"/.test(line)) faults.push(`the log says: ${line}`)
  return {
    seed,
    decoded,
    bytes,
    commands,
    faults,
    outcomes: Object.fromEntries([...outcomes].sort(([, one], [, other]) => other - one)),
    residentBytes: [early, late],
    seconds: Math.round((performance.now() - startedAt) / 100) / 10,
  }
}

/** The decoder says of any text whether it is a command, never throws, and gives nothing that is none. */
function decodeAll(random: Random, inputs: number, faults: string[]): void {
  const names = [nobodys.conversation, nobodys.message, 'user/alice']
  let text = ''
  try {
    for (let input = 0; input < inputs && faults.length === 0; input++) {
      const whole = command(random, names, input)
      text = random.pick([
        () => whole,
        () => likeACommand(random, names),
        () => mutilated(random, whole),
        () => mutilated(random, text),
      ])()
      const frame = decodeCommand(text)
      if (typeof frame === 'string') continue
      const { id, command: name, args: given, ...more } = frame
      const isRight =
        (id === undefined || Number.isSafeInteger(id)) &&
        typeof name === 'string' &&
        (given === undefined || isObject(given)) &&
        Object.keys(more).length === 0
      if (!isRight) faults.push(`the decoder takes for a command: ${text}`)
      // What comes of a text that is cut and doubled must not grow for ever.
      if (text.length > 4 * mostFrameBytes) text = ''
    }
  } catch (error) {
    faults.push(`the decoder throws ${error} for ${text}`)
  }
}

/** What has some of a command's keys, each with anything in it. */
function likeACommand(random: Random, names: readonly string[]): string {
  const keys = ['id', 'command', 'args', 'args', '__proto__', 'more'].filter(() => random.below(3) > 0)
  const good: { [key: string]: unknown } = { id: 7, command: 'ping', args: {} }
  const value = (key: string) => (random.below(2) === 0 ? good[key] : anything(random, names))
  return JSON.stringify(Object.fromEntries(keys.map((key) => [key, value(key)])))
}

/** A conversation of all who will send commands, with a message; gives the texts that mean something there. */
async function furnish(server: ServerProcess): Promise<string[]> {
  const users = Array.from({ length: sessionsAtOnce }, (_, index) => `user/fuzz${index}`)
  const as = { 'fanfare-as': users[0] as string }
  const made = JSON.parse((await server.call('create_conversation', { participants: users }, as)).text)
  const conversation = made.result.conversation.id as string
  const said = JSON.parse((await server.call('create_message', { conversation, body: 'b' }, as)).text)
  return [conversation, said.result.message.id, nobodys.message, 'user/alice', ...users.slice(0, 2), 'begin', 'a']
}

/** Half of what frames name is there. */
function real(random: Random, [conversation = '', message = '']: readonly string[], text: string): string {
  if (random.below(2) === 0) return text
  return text.replaceAll(nobodys.conversation, conversation).replaceAll(nobodys.message, message)
}

/** Frames of WebSocket, right and wrong, cut and joined by chance, from who has connected and who has not. */
async function throwBytes(
  server: ServerProcess,
  random: Random,
  known: readonly string[],
  inputs: number,
  faults: string[],
): Promise<void> {
  const token = await server.token('bytes')
  for (let thrown = 0; thrown < inputs && faults.length === 0; ) {
    await using tcp = await shakeHands(server)
    tcp.socket.on('error', () => {})
    const connect = JSON.stringify({ command: 'connect', args: { token } })
    if (random.below(2) === 0) tcp.socket.write(frameBytes({ opcode: 1, payload: connect }))
    const frames: Uint8Array[] = []
    const length = 1 + random.below(60)
    for (; frames.length < length; thrown++) frames.push(anyFrame(random, known, thrown))
    const bytes = Buffer.concat(frames)
    for (let at = 0; at < bytes.length; ) {
      const size = 1 + random.below(random.pick([4, 4_000, 100_000]))
      tcp.socket.write(bytes.subarray(at, at + size))
      at += size
    }
    // The server reads on, or has closed: either way it is done with these when it has answered the next one.
    if (random.below(4) === 0) tcp.socket.destroy()
    else tcp.socket.end(frameBytes({ opcode: 8, payload: Uint8Array.of(3, 232) }))
    await tcp.closed
  }
}

function anyFrame(random: Random, known: readonly string[], id: number): Uint8Array {
  const whole = real(random, known, command(random, known, id))
  const text = random.below(3) === 0 ? mutilated(random, whole) : whole
  const good = frameBytes({ opcode: 1, payload: text })
  switch (random.below(8)) {
    case 0:
      return frameBytes({
        opcode: random.below(16),
        fin: random.below(2) === 0,
        reserved: random.below(4) === 0 ? random.below(8) : 0,
        masked: random.below(8) > 0,
        payload: text.slice(0, random.below(300)),
        ...(random.below(8) === 0 && { length: BigInt(random.below(2 ** 31)) << BigInt(random.below(33)) }),
      })
    case 1: {
      const broken = Buffer.from(good)
      for (let times = random.below(6); times >= 0; times--) broken[random.below(broken.length)] = random.below(256)
      return broken
    }
    case 2:
      return good.subarray(0, random.below(good.length))
    case 3: {
      const cut = random.below(text.length + 1)
      return Buffer.concat([
        frameBytes({ opcode: 1, fin: false, payload: text.slice(0, cut) }),
        frameBytes({ opcode: 0, payload: text.slice(cut) }),
      ])
    }
    default:
      return good
  }
}

/** Commands of one user, many at once: each that is whole is answered, and by a code of the contract that is no fault. */
async function throwCommands(
  server: ServerProcess,
  random: Random,
  user: string,
  known: readonly string[],
  inputs: number,
  faults: string[],
  count: (outcome: string) => void,
): Promise<void> {
  let session: Session | null = null
  for (let id = 1; id <= inputs && faults.length === 0; ) {
    session ??= await Session.open(server, user)
    const frames = new Map<number, string>()
    while (frames.size < commandsAtOnce && id <= inputs) {
      const text = real(random, known, command(random, known, id))
      if (Buffer.byteLength(text) <= mostFrameBytes) frames.set(id, text)
      id++
    }
    const unanswered = await session.give(frames, count)
    for (const [, text] of unanswered) faults.push(`no answer (closed: ${session.code}) to ${text.slice(0, 2_000)}`)
    faults.push(...session.faults.splice(0))
    // What is left of a command may cost the session, or be one that wants no answer.
    if (random.below(3) === 0) {
      const rest = mutilated(random, real(random, known, command(random, known, id)))
      const code = await session.sendAndPing(random.below(20) === 0 ? Buffer.from(rest) : rest)
      if (code === null) continue
      count(`${code}`)
      if (!(code in closeCodes || ownCodes.includes(code)))
        faults.push(`closed with ${code} for ${rest.slice(0, 2_000)}`)
      session = null
      // He may have left.
      await server.call('add_participants', { conversation: known[0], participants: [`user/${user}`] }, adder)
    }
  }
  session?.close()
}

const adder = { 'fanfare-as': 'user/fuzz0' }

/** A plain session that keeps nothing of what comes. */
class Session {
  readonly faults: string[] = []
  readonly #webSocket: WebSocket
  readonly #waiting = new Map<number, (outcome: string) => void>()
  code: number | null = null

  private constructor(webSocket: WebSocket) {
    this.#webSocket = webSocket
    webSocket.on('message', (data) => this.#receive(data.toString()))
    webSocket.on('error', () => {})
    webSocket.on('close', (code) => {
      this.code = code
      for (const settle of [...this.#waiting.values()]) settle('closed')
    })
  }

  static async open(server: ServerProcess, user: string): Promise<Session> {
    const webSocket = new WebSocket(server.socketUrl, { perMessageDeflate: false })
    await new Promise((resolve, reject) => webSocket.once('open', resolve).once('error', reject))
    const session = new Session(webSocket)
    const args = { token: await server.token(user) }
    const outcome = await session.#send(0, JSON.stringify({ id: 0, command: 'connect', args }))
    if (outcome !== 'result') session.faults.push(`connect of ${user} is answered ${outcome}`)
    return session
  }

  /** Gives all of them at once; those that were not answered are left. */
  async give(frames: ReadonlyMap<number, string>, count: (outcome: string) => void): Promise<Map<number, string>> {
    const left = new Map(frames)
    const given = [...frames].map(async ([id, text]) => {
      const outcome = await this.#send(id, text)
      count(outcome)
      if (outcome !== 'closed' && outcome !== 'nothing') left.delete(id)
    })
    await Promise.all(given)
    return left
  }

  /** The code that the session was closed with then; null where it goes on. */
  async sendAndPing(frame: string | Uint8Array): Promise<number | null> {
    this.#webSocket.send(frame)
    await this.#send(-1, '{"id":-1,"command":"ping"}')
    return this.code
  }

  close(): void {
    this.#webSocket.close()
  }

  /** Resolves with `result`, the code of an error, `closed`, or `nothing` when none of these came in time. */
  #send(id: number, text: string): Promise<string> {
    if (this.code !== null) return Promise.resolve('closed')
    return new Promise((resolve) => {
      const timer = setTimeout(() => settle('nothing'), replyTimeoutMs)
      const settle = (outcome: string) => {
        clearTimeout(timer)
        this.#waiting.delete(id)
        resolve(outcome)
      }
      this.#waiting.set(id, settle)
      this.#webSocket.send(text)
    })
  }

  #receive(text: string): void {
    // Long replies are not read in whole: what they begin with says enough.
    const [, id, kind] = /^\{"id":(-?\d+),"(result|error)":/.exec(text) ?? []
    if (id === undefined || kind === undefined) return
    const code = kind === 'result' ? 'result' : String(/"code":"([a-z_]+)"/.exec(text)?.[1])
    if (code !== 'result' && !(code in errorCodes)) this.faults.push(`an error that there is not: ${text}`)
    if (code === 'internal') this.faults.push(`a fault of the server's own: ${text}`)
    this.#waiting.get(Number(id))?.(code)
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { inputs: { type: 'string' }, seed: { type: 'string' } } })
  const inputs = Number(values.inputs ?? 1_000_000)
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 31))
  console.log(`throwing ${inputs} inputs with --seed ${seed}`)
  const report = await fuzz(inputs, seed)
  console.log(JSON.stringify(report, null, 2))
  if (report.faults.length > 0) process.exitCode = 1
}

if (import.meta.main) await main()
