import { randomBytes } from "node:crypto";
import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { describe, VaeError } from "../errors.js";
import { codeOf, messageOf } from "../graph/kinds.js";

/** One call of `read` may not ask for 2 GiB or more on every platform. */
const CHUNK_BYTES = 1 << 30;

/** What a reader knows about the bytes it parses, for its errors. */
export interface Source {
  /** The verb of the error: `"load"`, `"datasets.idx"`, … */
  readonly operation: string;
  /** The file as the caller named it. */
  readonly path: string;
}

/** What is read or written, for the errors of a verb; throws `"argument"` for what is no path. */
export function sourceOf(operation: string, path: unknown, kind: "file" | "folder" = "file"): Source {
  if (typeof path === "string" && path !== "") return { operation, path };
  throw new VaeError({ code: "argument", operation, expected: `the path of a ${kind}`, received: describe(path) });
}

/** A {@link VaeError} with code `"file"` whose problem names the file. */
export function fileError(
  source: Source,
  problem: string,
  parts: { readonly expected?: string; readonly received?: string; readonly hint?: string; readonly cause?: unknown } = {},
): VaeError {
  return new VaeError({ code: "file", operation: source.operation, problem: `${source.path}: ${problem}`, ...parts });
}

/** Says what a failed system call means; an error that is ours already passes through. */
export function fileSystemError(source: Source, cause: unknown): VaeError {
  if (cause instanceof VaeError) return cause;
  const code = codeOf(cause);
  const meanings: Readonly<Record<string, string>> = {
    ENOENT: "no such file or folder",
    EISDIR: "is a folder, not a file",
    ENOTDIR: "a part of the path is a file, not a folder",
    EACCES: "permission denied",
    EPERM: "operation not permitted",
    ENOSPC: "no space left on the device",
    EROFS: "the file system is read-only",
  };
  const problem = meanings[code] ?? messageOf(cause);
  // Relative paths are the usual reason for a missing file: say what they are relative to.
  return fileError(source, problem, code === "ENOENT" ? { hint: `the working folder is ${process.cwd()}`, cause } : { cause });
}

/** Reads a whole file, of any size, into memory of its own. */
export async function readBytes(source: Source): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return await withFile(source.path, "r", async (file) => {
      const { size } = await file.stat();
      const bytes = new Uint8Array(size);
      let filled = 0;
      while (filled < size) {
        const { bytesRead } = await file.read(bytes, filled, Math.min(CHUNK_BYTES, size - filled), filled);
        if (bytesRead === 0) {
          throw fileError(source, "the file shrank while it was read", { expected: `${size} bytes`, received: `${filled} bytes` });
        }
        filled += bytesRead;
      }
      return bytes;
    });
  } catch (cause) {
    throw fileSystemError(source, cause);
  }
}

async function withFile<T>(path: string, flags: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
  const file = await open(path, flags);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

/**
 * Writes the parts one behind the other so that `path` always holds either the old file or the whole new one: they go
 * to a temporary file in the same folder, which is flushed to the disk and then renamed.
 */
export async function writeAtomically(source: Source, parts: readonly Uint8Array[]): Promise<void> {
  const temporary = join(dirname(source.path), `.${basename(source.path)}.${randomBytes(6).toString("hex")}.tmp`);
  try {
    await withFile(temporary, "wx", async (file) => {
      for (const part of parts) await file.writeFile(part);
      await file.sync();
    });
    await rename(temporary, source.path);
    await syncFolder(dirname(source.path));
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined); // what went wrong first is what is told
    throw fileSystemError(source, cause);
  }
}

/** Makes a rename survive a power cut. Not every system lets a folder be opened; there the rename is as safe as it gets. */
async function syncFolder(path: string): Promise<void> {
  try {
    await withFile(path, "r", (folder) => folder.sync());
  } catch {
    // Windows refuses to open folders, some network file systems refuse to flush them.
  }
}
