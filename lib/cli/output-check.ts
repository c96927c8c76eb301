// Whether an output can be written, asked before the work whose result it is to hold.
import { fstatSync, statSync } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { VaeError } from "../errors.js";
import { checkWritable, fileError, realTarget, shownPath, sourceOf } from "../io/files.js";
import { loadSharp } from "../io/image-file.js";

/** Something that a command reads, and that its output must not overwrite. */
export interface Input {
  /** As messages call it: `--data`, `the model`. */
  readonly name: string;
  readonly path: string;
}

const IMAGE = /\.(png|jpe?g|webp)$/i;

/**
 * Throws when a file cannot be written or must not be, because it is one that the command reads, by whatever path or link, or
 * would become a part of a folder of images that it reads.
 *
 * @param example a name for the file when a folder was given
 */
export async function checkOutput(out: string, inputs: readonly Input[], example: string): Promise<void> {
  const source = sourceOf("--out", out);
  if (/[/\\]$/.test(out) || (await statOf(out))?.isDirectory()) {
    throw fileError(source, "is a folder, not a file", { hint: `name a file in it: --out ${shownPath(join(out, example))}` });
  }
  await checkWritable(source);
  const target = await realTarget(source);
  for (const input of inputs) await checkApart(out, target, input);
  if (IMAGE.test(out)) await loadSharp("--out");
}

async function checkApart(out: string, target: string, { name, path }: Input): Promise<void> {
  const [mine, other] = [await statOf(out), await statOf(path)];
  if (other?.isFile() && mine?.ino === other.ino && mine.dev === other.dev) {
    throw refusal(`${shownPath(out)} is the file of ${name}: it would be overwritten`);
  }
  if (other?.isDirectory() && IMAGE.test(out) && target.startsWith(`${await realpath(path)}${sep}`)) {
    throw refusal(`${shownPath(out)} would be one of the images of ${name} ${shownPath(path)}`);
  }
}

function refusal(problem: string): VaeError {
  return new VaeError({ code: "argument", operation: "--out", problem, hint: "write to another file" });
}

/** What stands at a path, links followed; undefined when that cannot be told, which whoever needs it says better. */
async function statOf(path: string) {
  return stat(path, { bigint: true }).catch(() => undefined);
}

/** Says what was written: on standard output, unless that is where it was written to. */
export function reportDone(out: string, text: string): void {
  const stream = isStandardOutput(out) ? process.stderr : process.stdout;
  stream.write(`${text}\n`);
}

function isStandardOutput(out: string): boolean {
  try {
    const [file, output] = [statSync(out, { bigint: true }), fstatSync(1, { bigint: true })];
    return file.ino === output.ino && file.dev === output.dev;
  } catch {
    return false;
  }
}
