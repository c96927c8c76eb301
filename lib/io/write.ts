import { constants, fstat, type Stats, write } from "node:fs";
import { access, type FileHandle, open, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { setTimeout } from "node:timers/promises";
import { promisify } from "node:util";
import { codeOf } from "../graph/kinds.js";
import { fileError, fileSystemError, type Source } from "./source.js";
import { findTarget, type Target } from "./target.js";
import { removeLeftOvers, temporaryFor } from "./temporary.js";

type Parts = readonly Uint8Array[];

/** One call of `write` may not be given 2 GiB or more on every platform. */
const CHUNK_BYTES = 1 << 30;

/** A pipe without a reader is given so long to find one. */
const READER_MS = 10_000;

const writeTo = promisify(write);

/**
 * Writes the parts one behind the other so that `path` always holds either the old file or the whole new one: they go to a
 * temporary file in the same folder, which is flushed to the disk and then renamed. Of what stands there only the contents
 * are replaced:
 *
 * - A link is followed and stays, also one whose file is not there yet.
 * - The file keeps its mode, and its owner and group as far as the process may give files away; one that the process may not
 *   write is refused. A new file has the mode that the umask leaves. Access lists and extended attributes are not kept.
 * - A file with several names (hard links) becomes two: the other names keep the old contents.
 * - Where the folder lets no file be made or the file cannot be renamed to (a file mounted into a container), an existing file
 *   is written in place: what it needs of new space first, so that a full disk leaves the old contents, but a program killed
 *   in the middle leaves neither.
 * - Pipes, devices and files that are open already (`/dev/stdout`, `/dev/fd/3`) are written straight. A pipe that nobody reads
 *   is an error after ten seconds.
 *
 * Temporary files that killed programs left beside the file are removed. Of several calls for the same path at a time the last
 * one wins; none hinders another. In one process they take turns.
 *
 * @throws VaeError `"file"`; the old file is then still there, and no temporary one.
 */
export async function writeAtomically(source: Source, parts: Parts): Promise<void> {
  await inTurn(`name ${source.path}`, async () => {
    const target = await findTarget(source);
    try {
      // Names that lead to the same file take turns, too, for what is written in place.
      await inTurn(`file ${target.path}`, () => writeTarget(source, target, parts));
    } catch (cause) {
      throw fileSystemError(source, cause);
    }
  });
}

/**
 * Throws what {@link writeAtomically} would throw at once, as far as that can be known without writing: better now than after
 * an hour of work.
 */
export async function checkWritable(source: Source): Promise<void> {
  const target = await findTarget(source);
  try {
    if (target.kind === "descriptor") await promisify(fstat)(target.descriptor);
    else if (target.kind === "stream") await access(target.path, constants.W_OK);
    else if (target.existing !== undefined) await checkOpens(target.path);
    else await checkTakesFiles(target.path);
  } catch (cause) {
    throw fileSystemError(source, cause);
  }
}

/** The path that a path leads to, links followed, whether or not there is a file; throws as {@link writeAtomically} does. */
export async function realTarget(source: Source): Promise<string> {
  return (await findTarget(source)).path;
}

async function writeTarget(source: Source, target: Target, parts: Parts): Promise<void> {
  switch (target.kind) {
    case "descriptor":
      return writeAll(target.descriptor, parts);
    case "stream": {
      const file = await openStream(source, target.path);
      return closing(file, () => writeAll(file.fd, parts));
    }
    case "file":
      return replaceFile(target.path, target.existing, parts);
  }
}

/** The system's answer to the question itself: modes alone do not tell, on read-only file systems and others. */
async function checkOpens(path: string): Promise<void> {
  await (await open(path, constants.O_WRONLY)).close();
}

/** Makes a file where one will be made, and removes it. */
async function checkTakesFiles(path: string): Promise<void> {
  const temporary = temporaryFor(path);
  try {
    await (await open(temporary, "wx")).close();
  } finally {
    await rm(temporary, { force: true });
  }
}

async function replaceFile(path: string, existing: Stats | undefined, parts: Parts): Promise<void> {
  // A file that one may not write is not to be replaced either, though the folder would allow it.
  if (existing !== undefined) await checkOpens(path);
  await removeLeftOvers(path);
  const temporary = temporaryFor(path);
  try {
    // What nobody else may read is not to be read while it is written.
    const file = await open(temporary, "wx", existing === undefined ? 0o666 : 0o600);
    await closing(file, async () => {
      await writeAll(file.fd, parts);
      if (existing !== undefined) await takeAfter(file, existing);
      await flush(file);
    });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true }).catch(() => undefined); // what went wrong first is what is told
    if (existing === undefined || !IN_PLACE.has(codeOf(cause))) throw cause;
    return writeInPlace(path, parts);
  }
  await syncFolder(dirname(path));
}

/** The folder is not writable, or the file is mounted there or another's, so that no file can take its place. */
const IN_PLACE: ReadonlySet<string> = new Set(["EACCES", "EPERM", "EROFS", "EBUSY"]);

/** Gives a file owner, group and mode of the one that it replaces. */
async function takeAfter(file: FileHandle, { uid, gid, mode }: Stats): Promise<void> {
  const own = await file.stat();
  const give = (owner: number, group: number): Promise<boolean> =>
    file.chown(owner, group).then(
      () => true,
      () => false,
    );
  const whole = (own.uid === uid && own.gid === gid) || (await give(uid, gid));
  // Only root may give a file to another owner, but everybody to groups of their own.
  const group = whole || own.gid === gid || (await give(own.uid, gid));
  // What the old group might do is not for another one: that gets what everybody may.
  const permissions = mode & (group ? 0o777 : 0o707 | ((mode & 0o007) << 3));
  await file.chmod(whole ? mode & 0o7777 : permissions).catch(() => undefined); // some file systems know no modes
}

/** Writes what is beyond the old end first: when the disk is full, that is where it fails, and the old contents are whole. */
async function writeInPlace(path: string, parts: Parts): Promise<void> {
  const file = await open(path, "r+");
  await closing(file, async () => {
    const { size } = await file.stat();
    const total = parts.reduce((sum, { byteLength }) => sum + byteLength, 0);
    try {
      await writeAll(file.fd, parts, { begin: size, end: total });
    } catch (cause) {
      await file.truncate(size).catch(() => undefined);
      throw cause;
    }
    await writeAll(file.fd, parts, { begin: 0, end: Math.min(size, total) });
    if (total < size) await file.truncate(total);
    await flush(file);
  });
}

/**
 * Writes all bytes of the parts, or those from `begin` to `end` to the same place in the file. A pipe that is full is waited
 * for.
 */
async function writeAll(descriptor: number, parts: Parts, range?: { readonly begin: number; readonly end: number }): Promise<void> {
  let start = 0;
  for (const part of parts) {
    const { begin, end } = range ?? { begin: 0, end: Number.POSITIVE_INFINITY };
    const last = Math.min(part.byteLength, end - start);
    for (let from = Math.max(0, begin - start); from < last; ) {
      const length = Math.min(CHUNK_BYTES, last - from);
      try {
        const { bytesWritten } = await writeTo(descriptor, part, from, length, range === undefined ? null : start + from);
        from += bytesWritten;
      } catch (cause) {
        if (codeOf(cause) !== "EAGAIN") throw cause;
        await setTimeout(5);
      }
    }
    start += part.byteLength;
  }
}

/** Opens a pipe or device without waiting inside the system, where nothing could end the wait. */
async function openStream(source: Source, path: string): Promise<FileHandle> {
  const giveUp = performance.now() + READER_MS;
  const isPipe = (await stat(path)).isFIFO();
  for (;;) {
    try {
      return await open(path, constants.O_WRONLY | (constants.O_NONBLOCK ?? 0));
    } catch (cause) {
      if (!isPipe || codeOf(cause) !== "ENXIO") throw cause;
      if (performance.now() > giveUp) throw fileError(source, "nothing reads from this pipe", { cause });
      await setTimeout(20);
    }
  }
}

async function closing<T>(file: FileHandle, use: () => Promise<T>): Promise<T> {
  try {
    return await use();
  } finally {
    await file.close();
  }
}

/** To the disk. Some file systems cannot be asked for it. */
async function flush(file: FileHandle): Promise<void> {
  try {
    await file.sync();
  } catch (cause) {
    if (!["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"].includes(codeOf(cause))) throw cause;
  }
}

/** Makes a rename survive a power cut. Not every system lets a folder be opened; there the rename is as safe as it gets. */
async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, "r");
    await closing(folder, () => folder.sync());
  } catch {
    // Windows refuses to open folders, some network file systems refuse to flush them.
  }
}

const turns = new Map<string, Promise<void>>();

/** Calls with the same key one behind the other, in the order of the calls; a failed one does not stop the next. */
async function inTurn(key: string, work: () => Promise<void>): Promise<void> {
  const before = turns.get(key) ?? Promise.resolve();
  const mine = before.then(work, work);
  turns.set(key, mine);
  try {
    await mine;
  } finally {
    if (turns.get(key) === mine) turns.delete(key);
  }
}
