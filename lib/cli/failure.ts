import { VaeError } from "../errors.js";

/**
 * Prints what went wrong: a {@link VaeError} as message and hint, anything else, being a defect of ours, with its stack.
 *
 * @returns the exit code
 */
export function reportFailure(error: unknown, debug: boolean): number {
  const expected = error instanceof VaeError;
  const text = error instanceof Error ? (expected && !debug ? error.message : (error.stack ?? error.message)) : String(error);
  process.stderr.write(`error: ${text}\n`);
  if (expected && debug && error.cause !== undefined) process.stderr.write(`caused by: ${causeText(error.cause)}\n`);
  if (!expected) process.stderr.write("This is a defect of node-vae. Please report it with the command line and the lines above.\n");
  return 1;
}

function causeText(cause: unknown): string {
  return cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
}
