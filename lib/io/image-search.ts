// Which image files a folder holds, in an order that is the same everywhere, and which class each belongs to.
import type { Dirent } from "node:fs";
import { readdir, realpath, stat } from "node:fs/promises";
import { join } from "node:path";
import { describe } from "../errors.js";
import { codeOf } from "../graph/kinds.js";
import { fileError, fileSystemError, shownName } from "./files.js";
import type { Source } from "./source.js";

/** Names of image files. What a file is shows in its first bytes; its name only says whether to look. */
const EXTENSIONS = /\.(png|jpe?g|jpe|jfif|webp)$/i;

/** Hidden files and folders, among them `._x.png`, which Macs put beside x.png, and what Macs put into ZIP archives. */
const PASSED_OVER = /^\.|^__MACOSX$/;

/** How a folder is looked through. */
export interface Walk {
  readonly source: Source;
  readonly recursive: boolean;
  /** Whether the first folder below is the class of an image. */
  readonly labelled: boolean;
}

/** What was found. */
export interface Found {
  /** Paths relative to the folder, with `/` between names, sorted by code unit. */
  readonly files: readonly string[];
  /** Names of the folders in the folder, sorted likewise. */
  readonly folders: readonly string[];
}

/**
 * The image files of a folder. Links are followed; a folder that is reached twice is read once, or with labels once in every
 * class, so that links may go in circles.
 */
export async function findImages({ source, recursive, labelled }: Walk): Promise<Found> {
  const files: string[] = [];
  const folders: string[] = [];
  const root = await real(source, "");

  const walk = async (relative: string, seen: Set<string>): Promise<void> => {
    for (const entry of await list(source, relative)) {
      const name = relative === "" ? entry.name : `${relative}/${entry.name}`;
      if (!(await isFolder(source, name, entry))) {
        if (EXTENSIONS.test(entry.name)) files.push(name);
        continue;
      }
      if (relative === "") folders.push(entry.name);
      if (!recursive) continue;
      const path = await real(source, name);
      const reached = labelled && relative === "" ? new Set([root]) : seen;
      if (reached.has(path)) continue;
      reached.add(path);
      await walk(name, reached);
    }
  };
  await walk("", new Set([root]));
  if (files.length === 0) {
    const hint = recursive ? undefined : "for images in folders inside the folder pass { recursive: true }";
    throw fileError(source, "no images in the folder", { expected: "PNG, JPEG or WebP files", ...(hint === undefined ? {} : { hint }) });
  }
  return { files: files.sort(), folders: folders.sort() };
}

async function list(source: Source, relative: string): Promise<Dirent[]> {
  try {
    const entries = await readdir(join(source.path, relative), { withFileTypes: true });
    // In order, so that of two ways to a folder the same one is taken everywhere.
    return entries.filter(({ name }) => !PASSED_OVER.test(name)).sort((a, b) => (a.name < b.name ? -1 : 1));
  } catch (cause) {
    throw fileSystemError({ ...source, path: join(source.path, relative) }, cause);
  }
}

async function real(source: Source, relative: string): Promise<string> {
  try {
    return await realpath(join(source.path, relative));
  } catch (cause) {
    throw fileSystemError({ ...source, path: join(source.path, relative) }, cause);
  }
}

async function isFolder(source: Source, relative: string, entry: Dirent): Promise<boolean> {
  if (!entry.isSymbolicLink()) return entry.isDirectory();
  try {
    return (await stat(join(source.path, relative))).isDirectory();
  } catch (cause) {
    // A link to an image that is gone is found when that is opened; one without such a name may have been a class.
    if (EXTENSIONS.test(entry.name)) return false;
    const broken = { ...source, path: join(source.path, relative) };
    if (codeOf(cause) !== "ENOENT" && codeOf(cause) !== "ELOOP") throw fileSystemError(broken, cause);
    throw fileError(broken, "a link to nothing", { hint: "remove or repair the link", cause });
  }
}

/** One class per image. */
export interface Classes {
  readonly labels: Int32Array;
  readonly labelNames: readonly string[];
}

/**
 * Numbers classes by their names' order, folders without images among them: a class has the same number whichever files are there.
 *
 * @param given the names in the order of their numbers; by default the folders there are
 */
export function classesOf({ files, folders }: Found, given: readonly string[] | undefined, source: Source): Classes {
  const names = given ?? folders;
  const numbers = new Map(names.map((name, number) => [name, number]));
  const unknown = folders.find((name) => !numbers.has(name));
  if (unknown !== undefined) {
    throw fileError({ ...source, path: join(source.path, unknown) }, "a folder that is none of the classes", {
      expected: `one of ${describe(names)}`,
      received: `"${shownName(unknown)}"`,
      hint: "name it among { classes }, or move it",
    });
  }
  const labels = files.map((file) => {
    const end = file.indexOf("/");
    if (end >= 0) return numbers.get(file.slice(0, end))!;
    throw fileError({ ...source, path: join(source.path, file) }, "stands in no folder that would name its class", {
      hint: 'leave out labels: "folder", or move it',
    });
  });
  return { labels: Int32Array.from(labels), labelNames: names };
}
