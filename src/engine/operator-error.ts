/**
 * Something that only whoever runs the server can put right: a taken port, a folder that can't be written, a database of a newer
 * version. The message is one line and says what is wrong, what was kept and what to do; the command prints it without a stack and
 * ends with exit code 2.
 */
export class OperatorError extends Error {
  override readonly name = 'OperatorError'
}
