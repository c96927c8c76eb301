// What is read or written, and what is said when that fails.
import { fileURLToPath } from "node:url";
import { describe, VaeError } from "../errors.js";
import { codeOf, isUrl, messageOf } from "../graph/kinds.js";

/** What a reader or writer knows about its file, for its errors. */
export interface Source {
  /** The verb of the error: `"load"`, `"datasets.idx"`, … */
  readonly operation: string;
  /** The file as the caller named it; of a URL, its path. */
  readonly path: string;
}

/**
 * What is read or written, for the errors of a verb. A path is a text or a `URL` with the protocol `file:`.
 *
 * @throws VaeError `"argument"` for what is no path: another type, an empty text, a URL of another protocol or with a host;
 *   `"file"` for a NUL character, which no file has in its name.
 */
export function sourceOf(operation: string, path: unknown, kind: "file" | "folder" = "file"): Source {
  const text = isUrl(path) ? pathOfUrl(operation, path, kind) : path;
  if (typeof text !== "string" || text === "") throw notAPath(operation, kind, describe(path));
  const source = { operation, path: text };
  if (text.includes("\0")) throw fileError(source, "a path with a NUL character, which no file can have");
  return source;
}

function pathOfUrl(operation: string, { href }: URL, kind: string): string {
  try {
    return fileURLToPath(href); // a text, so that URLs of other realms do as well
  } catch (cause) {
    const remote = /^https?:/i.test(href) ? "download it first" : undefined;
    const reasons: Readonly<Record<string, string>> = {
      ERR_INVALID_URL_SCHEME: "of URLs only those of files are taken, file:///folder/file",
      ERR_INVALID_FILE_URL_HOST: "a file URL has no host: file:///folder/file",
      ERR_INVALID_FILE_URL_PATH: "a / inside a name cannot be escaped",
    };
    throw notAPath(operation, kind, describe(href), remote ?? reasons[codeOf(cause)], cause);
  }
}

function notAPath(operation: string, kind: string, received: string, hint?: string, cause?: unknown): VaeError {
  const parts = { code: "argument", operation, expected: `the path of a ${kind}`, received } as const;
  return new VaeError({ ...parts, ...(hint === undefined ? {} : { hint }), ...(cause === undefined ? {} : { cause }) });
}

const LONGEST_SHOWN = 240;

/** A path for messages: on one line, and no longer than a few. */
export function shownPath(path: string): string {
  const line = path.replace(/\p{Cc}/gu, "\u{fffd}");
  return line.length <= LONGEST_SHOWN ? line : `${line.slice(0, LONGEST_SHOWN / 2)}…${line.slice(-LONGEST_SHOWN / 2)}`;
}

/** A name out of a file or folder, for messages. */
export function shownName(name: string): string {
  return name.length > 60 ? `${name.slice(0, 59)}…` : name;
}

/** A {@link VaeError} with code `"file"` whose problem names the file. */
export function fileError(
  source: Source,
  problem: string,
  parts: { readonly expected?: string; readonly received?: string; readonly hint?: string; readonly cause?: unknown } = {},
): VaeError {
  return new VaeError({ code: "file", operation: source.operation, problem: `${shownPath(source.path)}: ${problem}`, ...parts });
}

/** What a failed system call means. */
const MEANINGS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EISDIR: "is a folder, not a file",
  ENOTDIR: "a part of the path is a file, not a folder",
  EEXIST: "there is already something of this name",
  EACCES: "permission denied",
  EPERM: "operation not permitted",
  ENOSPC: "no space left on the device",
  EDQUOT: "the disk quota is used up",
  EFBIG: "larger than a file may be here",
  EROFS: "the file system is read-only",
  ELOOP: "the links lead in a circle, or there are too many of them",
  ENAMETOOLONG: "a name of the path is too long",
  EMFILE: "the process has too many files open",
  ENFILE: "the system has too many files open",
  EBUSY: "the file is in use",
  ETXTBSY: "the file is a program that is running",
  ENXIO: "no program or device is at the other end",
  ENODEV: "no such device",
  EPIPE: "the program that read it has ended",
  EBADF: "not open for this",
  EIO: "the device reported an error",
  ESTALE: "the file is gone from the server",
  ENOTEMPTY: "the folder is not empty",
};

const HINTS: Readonly<Record<string, string>> = {
  EMFILE: "close files, or raise the limit: ulimit -n",
  EFBIG: "ulimit -f and the file system limit the size of files",
};

/** Says what a failed system call means; an error that is ours already passes through. */
export function fileSystemError(source: Source, cause: unknown): VaeError {
  return cause instanceof VaeError ? cause : systemError(source, codeOf(cause), cause);
}

/** The error of a system call's code, of a call that failed or of one that would. */
export function systemError(source: Source, code: string, cause?: unknown): VaeError {
  const hint = code === "ENOENT" ? hintForMissing(source) : HINTS[code];
  const problem = MEANINGS[code] ?? (cause === undefined ? code : messageOf(cause));
  return fileError(source, problem, { ...(hint === undefined ? {} : { hint }), ...(cause === undefined ? {} : { cause }) });
}

/** Relative paths are the usual reason for a missing file: says what they are relative to. */
function hintForMissing({ path }: Source): string {
  if (/^https?:\/\//i.test(path)) return "this is no path; download it first";
  if (/^file:/i.test(path)) return "a text is taken as a path; for a URL pass new URL(text)";
  return `the working folder is ${workingFolder()}`;
}

/** For messages: also where it was removed, and asking for it fails. */
export function workingFolder(): string {
  try {
    return shownPath(process.cwd());
  } catch {
    return "gone";
  }
}
