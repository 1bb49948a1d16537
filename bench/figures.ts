/** Everything that is measured, in the order of the results. */
import type { Figure } from './figure.ts'
import { connect } from './figures/connect.ts'
import { delivery } from './figures/delivery.ts'
import { durable } from './figures/durable.ts'
import { memory } from './figures/memory.ts'
import { restart } from './figures/restart.ts'
import { resume } from './figures/resume.ts'
import { sessions } from './figures/sessions.ts'
import { slowReader } from './figures/slow-reader.ts'
import { typing } from './figures/typing.ts'

export const figures: readonly Figure[] = [
  delivery,
  sessions,
  slowReader,
  durable,
  memory,
  typing,
  resume,
  restart,
  connect,
]
