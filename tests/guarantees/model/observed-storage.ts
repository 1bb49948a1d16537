/** The real storage, each answer of which is held against the truth in the moment in which the engine gets it. */
import { isDeepStrictEqual } from 'node:util'
import { FanfareError } from '../../../src/protocol/codes.ts'
import type { Admitted, Storage, Written } from '../../../src/storage/storage.ts'
import { trueConversations, trueReadMarkers } from './true-conversations.ts'
import { trueEvents, trueMessages } from './true-messages.ts'
import { trueUserChannels, trueUsers } from './true-users.ts'
import type { Truth } from './truth.ts'

type Verb = (...args: never[]) => Promise<unknown>
type Foretold = (...args: never[]) => unknown

export class ObservedStorage {
  readonly #truth: Truth
  readonly #report: (violation: string) => void
  /** What each operation is to do, by noun and verb. Those that are not there are judged by what comes of them. */
  readonly #foretold: Record<string, Record<string, Foretold>>
  readonly #underWay = new Set<Promise<unknown>>()

  /** `report` is told where an answer is not the true one. */
  constructor(truth: Truth, report: (violation: string) => void) {
    this.#truth = truth
    this.#report = report
    this.#foretold = {
      conversations: trueConversations(truth),
      messages: trueMessages(truth),
      readMarkers: trueReadMarkers(truth),
      events: trueEvents(truth),
      users: trueUsers(truth),
      userChannels: trueUserChannels(truth),
    }
  }

  /** Stands before `storage`; its promises are storage's own, so that the engine's turns stay as they are. */
  observe(storage: Storage): Storage {
    const nouns = Object.entries(storage).map(([noun, verbs]) => [
      noun,
      isNoun(verbs) ? this.#noun(noun, verbs) : verbs,
    ])
    return Object.fromEntries(nouns)
  }

  /** Resolves when everything that was asked for is answered, and what came of the answers too. */
  async settled(): Promise<void> {
    do {
      await Promise.allSettled(this.#underWay)
      await new Promise((resolve) => setImmediate(resolve))
    } while (this.#underWay.size > 0)
  }

  #noun(noun: string, verbs: Record<string, Verb>): Record<string, Verb> {
    return Object.fromEntries(
      Object.entries(verbs).map(([verb, ask]) => [
        verb,
        (...args: never[]) => {
          const asked = ask(...args)
          this.#underWay.add(asked)
          // Registered before the engine's own, so it is called before it.
          asked.then(
            (said) => this.#answered(asked, noun, verb, args, said),
            (error: unknown) => this.#answered(asked, noun, verb, args, error),
          )
          return asked
        },
      ]),
    )
  }

  #answered(asked: Promise<unknown>, noun: string, verb: string, args: unknown[], answer: unknown): void {
    this.#underWay.delete(asked)
    const foretold = this.#foretold[noun]?.[verb]
    if (!foretold || (answer instanceof FanfareError && answer.code === 'unavailable')) return
    const expected = outcomeOf(() => foretold(...(structuredClone(args) as never[])))
    const entry = this.#truth.takeEntry((answer as Partial<Written<unknown>> | null)?.entry?.position ?? 0)
    const actual = plain(essence(answer))
    if (!isDeepStrictEqual(actual, plain(expected))) {
      const [said, wanted] = [actual, plain(expected)].map((outcome) => JSON.stringify(outcome))
      this.#report(`M ${noun}.${verb} ${JSON.stringify(args)} answered\n  ${said}\n  and not\n  ${wanted}`)
    }
    if (isWritten(answer)) this.#compareEntry(`${noun}.${verb}`, answer, entry)
  }

  #compareEntry(operation: string, { entry }: Written<unknown>, expected: ReturnType<Truth['takeEntry']>): void {
    const place = expected && !expected.user ? { conversation: expected.talk?.id, seq: expected.seq } : null
    const isRight = entry ? expected && isDeepStrictEqual(plain(entry.place), plain(place)) : !expected
    if (!isRight) {
      this.#report(`E2 ${operation} wrote ${JSON.stringify(entry?.place)} to the log, and not ${JSON.stringify(place)}`)
    }
    const before = this.#truth.log.entries.at(entry ? -2 : -1)
    if (entry && before && before.position >= entry.position) this.#report(`E2 ${operation} went back in the log`)
  }
}

function isNoun(value: unknown): value is Record<string, Verb> {
  return typeof value === 'object' && value !== null
}

function isWritten(answer: unknown): answer is Written<unknown> {
  return typeof answer === 'object' && answer !== null && 'entry' in answer && 'result' in answer
}

/** The part of an answer that can be foretold. */
function essence(answer: unknown): unknown {
  if (answer instanceof FanfareError) return { refused: answer.code }
  if (answer instanceof Error) return { fault: answer.message }
  if (isWritten(answer)) return answer.result
  if (typeof answer !== 'object' || answer === null) return answer
  if ('missed' in answer) {
    const { missed, ...channel } = answer as Admitted
    return { ...channel, resumed: missed !== null }
  }
  if ('version' in answer) return { participants: (answer as { participants?: unknown }).participants }
  return answer
}

function outcomeOf(operation: () => unknown): unknown {
  try {
    return operation()
  } catch (error) {
    if (error instanceof FanfareError) return { refused: error.code }
    throw error
  }
}

/** As JSON knows it: without what is undefined, and without prototypes. */
function plain(value: unknown): unknown {
  return value === undefined ? null : JSON.parse(JSON.stringify(value))
}
