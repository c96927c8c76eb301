import { constants, type Stats } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { newArray } from "../graph/bytes.js";
import { checkMemory } from "../runtime/memory.js";
import { fileError, fileSystemError, type Source, shownPath, systemError } from "./source.js";

/** One call of `read` may not ask for 2 GiB or more on every platform. */
const CHUNK_BYTES = 1 << 30;

/**
 * What the system knows of a regular file, without opening it. Named pipes and devices are refused: opening a pipe waits for a
 * writer that may never come, and a device may never end.
 *
 * @throws VaeError `"file"`, also for a file that is missing or a folder.
 */
export async function checkReadable(source: Source): Promise<Stats> {
  try {
    const found = await stat(source.path);
    checkRegular(source, found);
    return found;
  } catch (cause) {
    throw fileSystemError(source, cause);
  }
}

/**
 * Opens a regular file for reading, as {@link checkReadable} checks it; never waits for a writer. The caller closes it:
 * `await using file = await openRegular(source)`, or `file.createReadStream()`, which does so at its end.
 */
export async function openRegular(source: Source): Promise<FileHandle> {
  await checkReadable(source); // opening alone can have effects on a device
  try {
    // What stands there may have changed meanwhile: not even then does opening wait.
    const file = await open(source.path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    try {
      checkRegular(source, await file.stat());
    } catch (error) {
      await file.close();
      throw error;
    }
    return file;
  } catch (cause) {
    throw fileSystemError(source, cause);
  }
}

function checkRegular(source: Source, kind: Stats): void {
  if (kind.isFile()) return;
  if (kind.isDirectory()) throw systemError(source, "EISDIR");
  const what = kind.isFIFO() ? "a pipe" : kind.isSocket() ? "a socket" : "a device";
  throw fileError(source, `is ${what}, not a regular file`, { hint: "write what it gives to a file, and name that" });
}

/** Reads a whole regular file, of any size that memory holds, into memory of its own. */
export async function readBytes(source: Source): Promise<Uint8Array<ArrayBuffer>> {
  const file = await openRegular(source);
  try {
    const { size } = await file.stat();
    const bytes = roomFor(source, size);
    let filled = 0;
    while (filled < size) {
      const { bytesRead } = await file.read(bytes, filled, Math.min(CHUNK_BYTES, size - filled), filled);
      if (bytesRead === 0) {
        throw fileError(source, "the file shrank while it was read", { expected: `${size} bytes`, received: `${filled} bytes` });
      }
      filled += bytesRead;
    }
    return bytes;
  } catch (cause) {
    throw fileSystemError(source, cause);
  } finally {
    await file.close();
  }
}

/** A file with holes may claim any size: memory is not asked for what the process cannot have. */
function roomFor(source: Source, size: number): Uint8Array<ArrayBuffer> {
  const operation = `${source.operation} ${shownPath(source.path)}`;
  const hint = "free memory, or read a smaller file";
  checkMemory(operation, { "of the file's bytes": size }, hint);
  return newArray(Uint8Array, size, { operation, what: "of the file's bytes", hint });
}
