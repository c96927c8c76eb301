import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Writes text, making the folder where it is missing. */
export function writeText(path: string, content: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content);
}

/** Where a benchmark of this moment leaves its result. */
export function resultPath(benchmark: string): string {
  return `bench/results/${benchmark}-${new Date().toISOString().slice(0, 16).replace(/[T:]/g, "-")}.json`;
}

/**
 * Writes a result as JSON: to the file asked for, else, unless the run was only a quick look, under bench/results with the
 * benchmark's name and date.
 *
 * @returns the path, or undefined where nothing was written
 */
export function writeResult(
  benchmark: string,
  result: object,
  options: { readonly json?: string; readonly quick?: boolean },
): string | undefined {
  const path = options.json ?? (options.quick ? undefined : resultPath(benchmark));
  if (path !== undefined) writeText(path, `${JSON.stringify({ benchmark, ...result }, null, 2)}\n`);
  return path;
}

/** A line that the next one overwrites on a terminal; silent elsewhere. */
export function report(line: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${line}`);
}

/** Ends the overwritten lines. */
export function endReport(): void {
  report("");
}
