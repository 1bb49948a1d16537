/**
 * What is counted and measured, for Prometheus. docs/metrics.md says of each what it means and when to worry. What is counted on the way
 * of a message are plain numbers, which become samples only when somebody asks.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { ObservedCommand, Observer, RefusalFacts, SessionFacts } from '../engine/observer.ts'
import { closeCodes, type ErrorCode } from '../protocol/codes.ts'
import type { StorageObserver } from '../storage/storage.ts'

/** What is not counted as it happens, but read when somebody asks. */
export interface Readings {
  readonly sessions: { readonly user: number; readonly listener: number; readonly unconnected: number }
  readonly queueBytes: number
  readonly typingLeases: number
  readonly sentBytes: number
  readonly receivedBytes: number
}

/** A value, and the labels that tell it from the others of its metric. */
type Sample = readonly [labels: Readonly<Record<string, string>>, value: number]

/** What a peer may close with; whatever else it says is `other`, lest anybody make as many series as there are numbers. */
const knownCodes: ReadonlySet<string> = new Set([
  ...Object.keys(closeCodes),
  ...['1000', '1001', '1002', '1003', '1005', '1006', '1007', '1008', '1011'],
])

export class Metrics implements Omit<Observer, 'replaced'>, StorageObserver {
  readonly #registry = new Registry()
  readonly #readings: () => Readings
  readonly #commands = new Tally<ObservedCommand, ErrorCode | 'ok'>()
  readonly #refusals = new Tally<RefusalFacts['where'], ErrorCode>()
  readonly #closes = new Tally<string, ''>()
  readonly #pushes = { event: 0, typing: 0 }
  readonly #resumes = { resumed: 0, reset: 0 }
  readonly #totals = { sessions: 0, gaps: 0, faults: 0, failedOperations: 0 }
  readonly #resumeEvents: Histogram
  readonly #batchSeconds: Histogram
  readonly #batchOperations: Histogram
  #ofProcess = false

  /** `readings` is called when the metrics are asked for, and not before. */
  constructor(readings: () => Readings) {
    this.#readings = readings
    this.#aboutSessions()
    this.#aboutWork()
    this.#resumeEvents = this.#histogram(
      'fanfare_resume_events',
      'Events that a session which resumed had missed.',
      [0, 1, 10, 100, 1_000, 10_000],
    )
    this.#batchSeconds = this.#histogram(
      'fanfare_storage_batch_seconds',
      'How long operations that went to the database together took to be done and on disk.',
      [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5],
    )
    this.#batchOperations = this.#histogram(
      'fanfare_storage_batch_operations',
      'How many operations went to the database together.',
      [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000],
    )
  }

  /** All of it, in Prometheus' text format; `type` is its content type. */
  async text(): Promise<{ readonly type: string; readonly text: string }> {
    // Only for who asks: this watches the event loop and the garbage collector from now on.
    if (!this.#ofProcess) collectDefaultMetrics({ register: this.#registry, prefix: 'fanfare_' })
    this.#ofProcess = true
    return { type: this.#registry.contentType, text: await this.#registry.metrics() }
  }

  sessionConnected(_: SessionFacts, missed: { events: number; gaps: number } | 'reset' | null): void {
    this.#totals.sessions++
    if (missed === 'reset') {
      this.#resumes.reset++
    } else if (missed) {
      this.#resumes.resumed++
      this.#totals.gaps += missed.gaps
      this.#resumeEvents.observe(missed.events)
    }
  }

  sessionEnded(_: SessionFacts, code: number): void {
    this.#closes.add(knownCodes.has(`${code}`) ? `${code}` : 'other', '')
  }

  answered(command: ObservedCommand, error: ErrorCode | null): void {
    this.#commands.add(command, error ?? 'ok')
  }

  refused({ where, code }: RefusalFacts): void {
    this.#refusals.add(where, code)
  }

  pushed(what: 'event' | 'typing', sessions: number): void {
    this.#pushes[what] += sessions
  }

  fault(): void {
    this.#totals.faults++
  }

  committed(operations: number, ms: number): void {
    this.#batchOperations.observe(operations)
    this.#batchSeconds.observe(ms / 1000)
  }

  failed(operations: number): void {
    this.#totals.failedOperations += operations
  }

  #aboutSessions(): void {
    const read = this.#readings
    this.#expose(
      Gauge,
      'fanfare_sessions',
      'Sessions that are open, by kind: user, listener, unconnected.',
      ['kind'],
      () => samplesOf('kind', read().sessions),
    )
    this.#expose(Counter, 'fanfare_sessions_total', 'Sessions that have connected.', [], () => [
      [{}, this.#totals.sessions],
    ])
    this.#expose(Counter, 'fanfare_closes_total', 'Sessions that have ended, by close code.', ['code'], () =>
      this.#closes.samples('code'),
    )
    this.#expose(
      Counter,
      'fanfare_resumes_total',
      'Sessions that came back with a cursor, by result: resumed, or reset where it was past retention or no good.',
      ['result'],
      () => samplesOf('result', this.#resumes),
    )
    this.#expose(
      Counter,
      'fanfare_gaps_total',
      'Gaps told to sessions that had missed too much of a conversation.',
      [],
      () => [[{}, this.#totals.gaps]],
    )
    this.#expose(
      Gauge,
      'fanfare_queue_bytes',
      'Bytes that wait for peers who take less than they are sent.',
      [],
      () => [[{}, read().queueBytes]],
    )
    this.#expose(Counter, 'fanfare_sent_bytes_total', 'Bytes sent to sessions.', [], () => [[{}, read().sentBytes]])
    this.#expose(Counter, 'fanfare_received_bytes_total', 'Bytes received from sessions.', [], () => [
      [{}, read().receivedBytes],
    ])
  }

  #aboutWork(): void {
    const read = this.#readings
    this.#expose(
      Counter,
      'fanfare_commands_total',
      'Commands that were answered, by command and result: ok, or the error code.',
      ['command', 'result'],
      () => this.#commands.samples('command', 'result'),
    )
    this.#expose(
      Counter,
      'fanfare_refusals_total',
      'What was asked for and not done, by place (upgrade, http, session) and error code.',
      ['where', 'code'],
      () => this.#refusals.samples('where', 'code'),
    )
    this.#expose(Counter, 'fanfare_pushes_total', 'Frames pushed to sessions, by kind: event, typing.', ['kind'], () =>
      samplesOf('kind', this.#pushes),
    )
    this.#expose(Gauge, 'fanfare_typing_leases', 'Users who are typing, once for each conversation.', [], () => [
      [{}, read().typingLeases],
    ])
    this.#expose(
      Counter,
      'fanfare_storage_failed_operations_total',
      'Operations that were not done, since nothing could be stored.',
      [],
      () => [[{}, this.#totals.failedOperations]],
    )
    this.#expose(Counter, 'fanfare_faults_total', "Faults of the server's own; each is in the log.", [], () => [
      [{}, this.#totals.faults],
    ])
  }

  #expose(
    Kind: typeof Counter | typeof Gauge,
    name: string,
    help: string,
    labelNames: string[],
    samples: () => Iterable<Sample>,
  ): void {
    const metric: Counter | Gauge = new Kind({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        metric.reset()
        for (const [labels, value] of samples()) metric.inc(labels, value)
      },
    })
  }

  #histogram(name: string, help: string, buckets: number[]): Histogram {
    return new Histogram({ name, help, buckets, registers: [this.#registry] })
  }
}

/** Counts by two words. */
class Tally<One extends string, Other extends string> {
  readonly #counts = new Map<One, Map<Other, number>>()

  add(one: One, other: Other): void {
    let counts = this.#counts.get(one)
    if (!counts) {
      counts = new Map()
      this.#counts.set(one, counts)
    }
    counts.set(other, (counts.get(other) ?? 0) + 1)
  }

  *samples(oneLabel: string, otherLabel?: string): Iterable<Sample> {
    for (const [one, counts] of this.#counts) {
      for (const [other, count] of counts) {
        yield [otherLabel ? { [oneLabel]: one, [otherLabel]: other } : { [oneLabel]: one }, count]
      }
    }
  }
}

function samplesOf(label: string, values: Readonly<Record<string, number>>): Sample[] {
  return Object.entries(values).map(([name, value]) => [{ [label]: name }, value])
}
