/** What `fanfare doctor` finds out of the broker between nodes. */
import { openNats } from '../../broker/nats.ts'
import { type Finding, ok, warn } from './finding.ts'

/** A server starts without a broker too, and then finds in the database what others write: so one that is away is worth a look. */
export async function checkBroker(url: string): Promise<Finding> {
  let trouble: string | null = null
  const broker = openNats(url, 'fanfare.doctor', (told) => {
    trouble ??= told
  })
  await broker.start(
    () => {},
    () => {},
  )
  const { connected } = broker
  await broker.close()
  if (connected) return ok('broker', 'answers, and carries between nodes')
  return warn(
    'broker',
    trouble ?? 'does not answer',
    'until it does, nodes find within a second what others have written',
  )
}
