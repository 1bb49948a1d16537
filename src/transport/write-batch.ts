/**
 * Writes to many sockets in one system call. Linux takes a list of them by `io_submit`, and does each at once, as `write` would; so the
 * way into the system, and Node's way there, are paid once for all of them (docs/adr/0012).
 */

/** By number: the C library has no functions for most of these calls. */
const callsOf: { readonly [architecture: string]: Calls } = {
  x64: { setup: 206n, destroy: 207n, getEvents: 208n, submit: 209n, socketPair: 53n, close: 3n },
  arm64: { setup: 0n, destroy: 1n, getEvents: 4n, submit: 2n, socketPair: 199n, close: 57n },
}

interface Calls {
  readonly setup: bigint
  readonly destroy: bigint
  readonly getEvents: bigint
  readonly submit: bigint
  readonly socketPair: bigint
  readonly close: bigint
}

const unixFamily = 1n
const streamSocket = 1n

/** `struct iocb` of linux/aio_abi.h, in words: how many it has, and where those are that are not zero. */
const request = { words: 16, id: 0, operation: 4, descriptor: 5, addressLow: 6, addressHigh: 7, length: 8 } as const
/** IOCB_CMD_PWRITE; to what has no places, like a socket, it just writes. */
const write = 1
/** `struct io_event`: the request's id, and how many bytes were taken, or an error below zero. */
const event = { words: 8, id: 0, result: 4 } as const
const wordBytes = 4
const pointerBytes = 8

/** All processes of a machine share 65,536 of them (fs.aio-max-nr). */
const mostWrites = 1_024
/** For the bytes of all writes of a batch; what they share is there once. */
const roomBytes = 1_048_576
/** What is longer may find no room in a batch that isn't full. */
const usualBytes = 65_536

/** Where the parts of the memory begin that the system shares with us. */
const memory = (() => {
  const requests = 0
  const pointers = requests + mostWrites * request.words * wordBytes
  const events = pointers + mostWrites * pointerBytes
  const context = events + mostWrites * event.words * wordBytes
  const room = context + pointerBytes
  return { requests, pointers, events, context, room, bytes: room + roomBytes }
})()

type SystemCall = (number: bigint, a: bigint, b: bigint, c: bigint, d: bigint, e: bigint) => bigint

export interface Unwritten {
  /** How many writes were added before it. */
  readonly place: number
  /** What was not taken, be it since something is wrong with the socket. */
  readonly rest: Uint8Array
}

export class WriteBatch {
  readonly #calls: Calls
  readonly #systemCall: SystemCall
  readonly #context: bigint
  /** Where the system reads and writes by address, and nowhere else. It stays in its place, for as long as the batch lives. */
  readonly #memory = new ArrayBuffer(memory.bytes)
  readonly #address: bigint
  readonly #requests = new Uint32Array(this.#memory, memory.requests, mostWrites * request.words)
  readonly #events = new Int32Array(this.#memory, memory.events, mostWrites * event.words)
  readonly #room = new Uint8Array(this.#memory, memory.room, roomBytes)
  readonly #roomAddress: number
  #count = 0
  #usedBytes = 0
  /** The bytes that were added last, and where in the room they are. */
  #last: Uint8Array | null = null
  #lastStart = 0

  /** Throws where the system refuses it. */
  private constructor(calls: Calls, systemCall: SystemCall, addressOf: (memory: ArrayBuffer) => bigint) {
    this.#calls = calls
    this.#systemCall = systemCall
    this.#address = addressOf(this.#memory)
    this.#roomAddress = Number(this.#address) + memory.room
    const pointers = new BigUint64Array(this.#memory, memory.pointers, mostWrites)
    for (let id = 0; id < mostWrites; id++) {
      this.#requests[id * request.words + request.id] = id
      this.#requests[id * request.words + request.operation] = write
      pointers[id] = this.#address + BigInt(memory.requests + id * request.words * wordBytes)
    }
    const made = systemCall(calls.setup, BigInt(mostWrites), this.#address + BigInt(memory.context), 0n, 0n, 0n)
    this.#context = new BigUint64Array(this.#memory, memory.context, 1)[0] ?? 0n
    if (made !== 0n) throw new Error('no asynchronous I/O here')
    if (this.#works()) return
    this.#systemCall(calls.destroy, this.#context, 0n, 0n, 0n, 0n)
    throw new Error('no writes to sockets by io_submit')
  }

  /** Tries it: a filter of system calls may let through some of these only, and a system may do for files what it doesn't for sockets. */
  #works(): boolean {
    const ends = this.#address + BigInt(memory.events)
    if (this.#getEvents(0) !== 0) return false
    if (this.#systemCall(this.#calls.socketPair, unixFamily, streamSocket, 0n, ends, 0n) !== 0n) return false
    const [one, other] = this.#events.slice(0, 2) as unknown as [number, number]
    this.add(one, new Uint8Array(1))
    const unwritten = this.submit()
    for (const end of [one, other]) this.#systemCall(this.#calls.close, BigInt(end), 0n, 0n, 0n, 0n)
    return unwritten.length === 0
  }

  /**
   * Null where there is no such thing: on other systems than Linux, with a Node that has no `node:ffi` (26.10 has it) or must not use it, and
   * where the system refuses it. Then each write is a call of its own.
   */
  static open(): WriteBatch | null {
    const calls = process.platform === 'linux' ? callsOf[process.arch] : undefined
    const ffi = calls && foreignFunctions()
    if (!ffi) return null
    try {
      const u64 = 'u64'
      const signature = { arguments: ['i64', u64, u64, u64, u64, u64], return: 'i64' } as const
      const library = ffi.dlopen(null, { syscall: signature })
      return new WriteBatch(calls, (...args) => library.functions.syscall(...args), ffi.getRawPointer)
    } catch {
      return null
    }
  }

  /** Whether it is to be submitted before more is added. */
  get full(): boolean {
    return this.#count === mostWrites || this.#usedBytes > roomBytes - usualBytes
  }

  /**
   * Adds a write; false where it is full, or has no room for so many bytes. Until `submit`, nothing may be done that could close a descriptor: by then
   * the system might have given its number to another file.
   */
  add(descriptor: number, bytes: Uint8Array): boolean {
    if (this.full || (bytes !== this.#last && !this.#copy(bytes))) return false
    const address = this.#roomAddress + this.#lastStart
    const at = this.#count * request.words
    const words = this.#requests
    words[at + request.descriptor] = descriptor
    words[at + request.addressLow] = address
    words[at + request.addressHigh] = address / 0x1_0000_0000
    words[at + request.length] = bytes.length
    this.#count++
    return true
  }

  #copy(bytes: Uint8Array): boolean {
    if (bytes.length > roomBytes - this.#usedBytes) return false
    this.#room.set(bytes, this.#usedBytes)
    this.#last = bytes
    this.#lastStart = this.#usedBytes
    this.#usedBytes += bytes.length
    return true
  }

  /** Does all writes, without waiting, and gives those of which the system did not take all bytes. Then the batch is empty. */
  submit(): readonly Unwritten[] {
    const unwritten: Unwritten[] = []
    let submitted = 0
    for (let next = 0; next < this.#count; ) {
      const some = this.#submit(next, this.#count - next)
      // It stops at one that can't be done, be it that the descriptor isn't open. That one is left out.
      if (some > 0) submitted += some
      else unwritten.push(this.#unwritten(next, 0))
      next += Math.max(1, some)
    }
    while (submitted > 0) {
      // Below zero where a signal came.
      const some = Math.max(0, this.#getEvents(submitted))
      for (let at = 0; at < some * event.words; at += event.words) {
        const id = this.#events[at + event.id] as number
        const result = this.#events[at + event.result] as number
        if (result !== this.#requests[id * request.words + request.length]) unwritten.push(this.#unwritten(id, result))
      }
      submitted -= some
    }
    this.#count = 0
    this.#usedBytes = 0
    this.#last = null
    return unwritten
  }

  /** With a copy of the bytes, for the room is the next batch's. */
  #unwritten(id: number, result: number): Unwritten {
    const at = id * request.words
    const start = ((this.#requests[at + request.addressLow] as number) - this.#roomAddress) >>> 0
    const end = start + (this.#requests[at + request.length] as number)
    return { place: id, rest: this.#room.slice(start + Math.max(0, result), end) }
  }

  #submit(from: number, count: number): number {
    const pointers = this.#address + BigInt(memory.pointers + from * pointerBytes)
    return Number(this.#systemCall(this.#calls.submit, this.#context, BigInt(count), pointers, 0n, 0n))
  }

  /** Waits for that many, which are there: a write to a socket that must not wait is done when it is submitted. */
  #getEvents(count: number): number {
    const n = BigInt(count)
    return Number(
      this.#systemCall(this.#calls.getEvents, this.#context, n, n, this.#address + BigInt(memory.events), 0n),
    )
  }
}

/** Node warns that this module may still change, which an operator can do nothing about. */
function foreignFunctions(): typeof import('node:ffi') | null {
  const { emitWarning } = process
  process.emitWarning = () => {}
  try {
    return process.getBuiltinModule('node:ffi') ?? null
  } catch {
    return null
  } finally {
    process.emitWarning = emitWarning
  }
}
