/** A line of the log as a person reads it: `18:44:00.000 info  started  url=http://127.0.0.1:8080`. */

/** What a terminal would take as a command, or as the end of the line, or would write backwards; JSON escapes only the first 32. */
const unprintable = /[\u007f-\u009f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]/g

/** Turns a line of JSON into words. A stack stands below its line, indented. */
export function readable(line: string): string {
  const { level, time, event, error, ...facts } = JSON.parse(line) as Record<string, unknown>
  const words = [
    String(time).slice('2016-11-16T'.length, -1),
    String(level).padEnd(5),
    printable(String(event)),
    ...Object.entries(facts).map(([name, fact]) => `${name}=${printable(fact)}`),
  ]
  const stack = typeof error === 'string' ? error.split('\n').map((row) => `\n    ${escaped(row)}`) : []
  return `${words.join(' ')}${stack.join('')}\n`
}

function printable(fact: unknown): string {
  return typeof fact === 'string' && /^[\w.:/@~-]+$/.test(fact) ? fact : plain(JSON.stringify(fact))
}

function escaped(text: string): string {
  return plain(JSON.stringify(text)).slice(1, -1)
}

function plain(json: string): string {
  return json.replace(unprintable, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
