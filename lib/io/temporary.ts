// Temporary files beside the file that they become, and those that killed programs left behind.
import { createHash, randomBytes } from "node:crypto";
import { readlinkSync } from "node:fs";
import { lstat, readdir, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import { codeOf } from "../graph/kinds.js";

/** Nothing that is still written goes untouched for so long. */
const ABANDONED_MS = 24 * 60 * 60 * 1000;

/** Longer names leave no room for the rest within the 255 bytes that file systems allow. */
const LONGEST_STEM = 200;

/** What stands behind the stem: machine and process, then chance. */
const TAIL = /^(?:([0-9a-f]{8})-(\d+)-)?[0-9a-f]{12}\.tmp$/;

/** Which processes can be asked for by number: those of this machine, and in this container. */
const machine = hash(`${hostname()} ${processNamespace()}`).slice(0, 8);

/** A name for a new temporary file beside `target`, hidden, that says whose it is. */
export function temporaryFor(target: string): string {
  return join(dirname(target), `${stemOf(target)}${machine}-${process.pid}-${randomBytes(6).toString("hex")}.tmp`);
}

/**
 * Removes what killed programs left beside `target`: temporary files of processes of this machine that are gone, and of any
 * others when nothing was written to them for a day. What cannot be removed stays.
 */
export async function removeLeftOvers(target: string): Promise<void> {
  const folder = dirname(target);
  const stem = stemOf(target);
  const names = await readdir(folder).catch(() => []);
  const found = names.filter((name) => name.startsWith(stem) && TAIL.test(name.slice(stem.length)));
  for (const name of found) {
    const path = join(folder, name);
    const [, host, process] = TAIL.exec(name.slice(stem.length))!;
    try {
      const gone = host === machine && !lives(Number(process));
      if (gone || Date.now() - (await lstat(path)).mtimeMs > ABANDONED_MS) await rm(path, { force: true });
    } catch {
      // Another program's, in a folder where one may not remove it; or another save has removed it.
    }
  }
}

function stemOf(target: string): string {
  const name = basename(target);
  return `.${Buffer.byteLength(name) <= LONGEST_STEM ? name : hash(name).slice(0, 32)}.`;
}

function lives(process_: number): boolean {
  try {
    process.kill(process_, 0); // 0 is no signal: it only asks
    return true;
  } catch (error) {
    return codeOf(error) !== "ESRCH";
  }
}

/** Containers that share a folder, and even the machine's name, may each have a process of the same number. */
function processNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
