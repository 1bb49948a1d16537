import { test } from 'vitest'
import { LocalBroker } from '../../src/broker/local.ts'
import { loneBrokerContract } from '../../src/testing/broker-contract.ts'

loneBrokerContract('the local broker', {
  test,
  stage: async () => ({
    open: () => new LocalBroker(),
    stop: async () => {},
    goOn: async () => {},
    async [Symbol.asyncDispose]() {},
  }),
})
