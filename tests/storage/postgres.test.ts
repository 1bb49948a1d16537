import { describe } from 'vitest'
import { storageContract } from '../../src/testing/storage-contract.ts'
import { PostgresDatabase, postgresOfFile, withoutPostgres } from './postgres-database.ts'

describe.skipIf(withoutPostgres)('PostgreSQL', () => {
  const server = postgresOfFile()
  storageContract('PostgreSQL', async (limits) => (await PostgresDatabase.create(server())).opened(limits))
})
