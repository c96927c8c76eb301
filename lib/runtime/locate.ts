// Where the addon may be: in a clone, in an installed package, or somewhere around a program that a bundler made.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const PACKAGE = "node-vae";
const FILE = "node_vae.node";

/** The places to look in, in this order, and whether this module runs out of a bundle instead of its package. */
export interface AddonPlaces {
  readonly paths: readonly string[];
  readonly bundled: boolean;
}

/**
 * The places of the addon: `NODE_VAE_ADDON` alone where it is set, else `build/Release` of the package, its
 * `prebuilds/PLATFORM-ARCH`, and the package `@node-vae/PLATFORM-ARCH`.
 *
 * A bundler puts this module into another file. Then its package is looked for from there, from the program that was started and
 * from the working folder; a copy of the addon beside the bundle comes first.
 */
export function addonPlaces(): AddonPlaces {
  const named = process.env.NODE_VAE_ADDON;
  if (named) return { paths: [resolve(named)], bundled: false };
  const own = ownFile();
  // This file is lib/runtime/locate.ts or dist/runtime/locate.js: its package is two folders up.
  const home = own === undefined ? undefined : join(dirname(own), "..", "..");
  if (home !== undefined && isPackage(home)) return { paths: unique([...inPackage(home), ...platformPackage([own!])]), bundled: false };
  const starts = [own, process.argv[1] === undefined ? undefined : resolve(process.argv[1]), join(process.cwd(), "program.js")].filter(
    (start) => start !== undefined,
  );
  const beside = own === undefined ? [] : [join(dirname(own), FILE)];
  const installed = starts.flatMap((start) => installedPackage(start)).flatMap((folder) => [...inPackage(folder)]);
  return { paths: unique([...beside, ...installed, ...platformPackage(starts)]), bundled: true };
}

/**
 * The file that this module runs from, or undefined where that cannot be known. Bundlers that write CommonJS may leave an empty
 * `import.meta`; then `__filename` names the bundle.
 */
function ownFile(): string | undefined {
  const url = (import.meta as { readonly url?: string }).url;
  if (url?.startsWith("file:")) return fileURLToPath(url);
  return typeof __filename === "string" ? __filename : undefined;
}

function isPackage(folder: string): boolean {
  try {
    return (JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { readonly name?: unknown }).name === PACKAGE;
  } catch {
    return false;
  }
}

function inPackage(folder: string): readonly string[] {
  return [join(folder, "build", "Release", FILE), join(folder, "prebuilds", platform(), FILE)];
}

function platform(): string {
  return `${process.platform}-${process.arch}`;
}

/** The folder of the package as it is installed for the file `start`: one or none. */
function installedPackage(start: string): readonly string[] {
  const found = resolveFrom(start, `${PACKAGE}/package.json`);
  return found === undefined ? [] : [dirname(found)];
}

/** The platform's own package, resolved from the files; its name where it is not there, for the message. */
function platformPackage(starts: readonly string[]): readonly string[] {
  const name = `@node-vae/${platform()}/${FILE}`;
  const found = starts.map((start) => resolveFrom(start, name)).filter((path) => path !== undefined);
  return found.length > 0 ? found : [name];
}

function resolveFrom(start: string, name: string): string | undefined {
  try {
    return createRequire(pathToFileURL(start)).resolve(name);
  } catch {
    return undefined;
  }
}

function unique(paths: readonly string[]): readonly string[] {
  return [...new Set(paths)];
}
