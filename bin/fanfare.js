#!/usr/bin/env node
// The command. This file alone is read by whatever Node is installed, so it is plain JavaScript and imports nothing before it
// has looked at the version. It never starts itself again under another Node: what runs is what was called.
const oldest = 24
const major = Number(process.versions.node.split('.')[0])

if (major < oldest) {
  refuse()
} else {
  start()
}

async function refuse() {
  const { existsSync } = await import('node:fs')
  const { fileURLToPath } = await import('node:url')
  // Where npm puts the Node that comes along: beside the package, or in the repository.
  const brought = ['../../.bin/node', '../node_modules/.bin/node']
    .map((path) => fileURLToPath(new URL(path, import.meta.url)))
    .find((path) => existsSync(path))
  const remedy = brought
    ? `call it with the Node that came along, ${brought}`
    : 'install a newer Node, or in a clone of the repository use npm start, which brings its own'
  process.stderr.write(`fanfare: needs Node ${oldest} or later, and this is Node ${process.versions.node}; ${remedy}\n`)
  process.exitCode = 2
}

async function start() {
  const { existsSync } = await import('node:fs')
  // In the repository Node runs the TypeScript itself. It does not do so below node_modules, so the package holds JavaScript.
  const source = new URL('../src/cli/main.ts', import.meta.url)
  const built = new URL('../dist/cli/main.js', import.meta.url)
  const { main } = await import(existsSync(source) ? source.href : built.href)
  await main(process.argv.slice(2), process.env)
}
