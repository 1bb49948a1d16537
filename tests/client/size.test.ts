import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { bundleClient } from './bundle-client.ts'

const limitBytes = 8_192

test('C8 all of the SDK is at most 8 kB, minified and gzipped', async () => {
  const { code, imports } = await bundleClient({ minify: true })
  const bytes = gzipSync(code, { level: 9 }).length
  console.log(`the SDK: ${code.length} bytes minified, ${bytes} gzipped`)
  expect(bytes).toBeLessThanOrEqual(limitBytes)
  expect(imports, 'it has no dependency').toEqual([])
})
