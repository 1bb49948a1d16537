/** The SDK as one file of plain JavaScript, as an application's own bundler makes it. */
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const door = fileURLToPath(new URL('../../src/client/index.ts', import.meta.url))

export async function bundleClient({ minify }: { readonly minify: boolean }): Promise<{
  readonly code: string
  /** What it imports besides its own files. */
  readonly imports: readonly string[]
}> {
  const bundle = await rolldown({ input: door })
  try {
    const { output } = await bundle.generate({ format: 'esm', minify })
    if (output.length !== 1) throw new Error(`the bundle is ${output.length} files`)
    return output[0]
  } finally {
    await bundle.close()
  }
}
