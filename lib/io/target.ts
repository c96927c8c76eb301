// Where a path leads that is to be written.
import type { Stats } from "node:fs";
import { lstat, readlink, realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, sep } from "node:path";
import { codeOf } from "../graph/kinds.js";
import { fileError, fileSystemError, type Source, shownPath, systemError, workingFolder } from "./source.js";

/** What is written to, links followed. */
export type Target =
  /** A regular file, or none yet. */
  | { readonly kind: "file"; readonly path: string; readonly existing: Stats | undefined }
  /** A pipe, a device or a socket. */
  | { readonly kind: "stream"; readonly path: string }
  /** A file of the process that is open already, such as /dev/stdout. */
  | { readonly kind: "descriptor"; readonly path: string; readonly descriptor: number };

/** As many as Linux follows. */
const MOST_LINKS = 40;

/**
 * Follows links to what is written: also one whose file is not there yet, which is made where the link points.
 *
 * @throws VaeError `"file"` for a folder, and where the folder that the file belongs to is missing.
 */
export async function findTarget(source: Source): Promise<Target> {
  try {
    return await follow(source);
  } catch (cause) {
    throw fileSystemError(source, cause);
  }
}

async function follow(source: Source): Promise<Target> {
  let { path } = source;
  let stream: string | undefined;
  for (let links = 0; links <= MOST_LINKS; links++) {
    const name = basename(path);
    if (path.endsWith("/") || path.endsWith(sep) || name === "" || name === "." || name === "..") throw systemError(source, "EISDIR");
    const folder = await realFolder(source, dirname(path));
    const real = join(folder, name);
    const descriptor = ownDescriptor(real);
    if (descriptor !== undefined) return { kind: "descriptor", path: real, descriptor };
    const found = await orUndefined(lstat(real));
    if (found?.isSymbolicLink()) {
      // The links of /proc/…/fd lead to pipes by names that are no paths; only the system itself can follow those.
      const behind = await orUndefined(stat(real));
      if (behind !== undefined && !behind.isFile() && !behind.isDirectory()) stream = real;
      const link = await readlink(real);
      // Not normalised: ".." behind a link to a folder is not the folder that the link stands in.
      path = isAbsolute(link) ? link : `${folder}/${link}`;
      continue;
    }
    if (found?.isDirectory()) throw systemError(source, "EISDIR");
    if (found === undefined && stream !== undefined) return { kind: "stream", path: stream };
    return found === undefined || found.isFile() ? { kind: "file", path: real, existing: found } : { kind: "stream", path: real };
  }
  throw systemError(source, "ELOOP");
}

async function realFolder(source: Source, folder: string): Promise<string> {
  try {
    return await realpath(folder);
  } catch (cause) {
    if (codeOf(cause) !== "ENOENT") throw cause;
    const hint = `the folder ${shownPath(folder)} is not there; make it first (the working folder is ${workingFolder()})`;
    throw fileError(source, "no such file or folder", { hint, cause });
  }
}

/** The number of an open file of this process, where a path without links is its name. */
function ownDescriptor(path: string): number | undefined {
  const [, owner = String(process.pid), number] = /^(?:\/proc\/(\d+)(?:\/task\/\d+)?|\/dev)\/fd\/(\d+)$/.exec(path) ?? [];
  return number !== undefined && owner === String(process.pid) ? Number(number) : undefined;
}

async function orUndefined<T>(found: Promise<T>): Promise<T | undefined> {
  try {
    return await found;
  } catch (cause) {
    if (codeOf(cause) === "ENOENT") return undefined;
    throw cause;
  }
}
