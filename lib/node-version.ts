/// <reference lib="esnext.disposable" preserve="true" />
// Imported first by every entry, so that an old Node says a sentence instead of `toReversed is not a function`.
import { VaeError } from "./errors.js";

declare global {
  // Named by public signatures. Where @types/node or the DOM declare them, this adds nothing; where neither does, signatures
  // still type-check.
  interface AbortSignal {}
  interface URL {}
}

/** The oldest Node that the library runs on; `engines` of package.json says the same. */
export const OLDEST_NODE = 20;

/** Throws where the version of Node, `"18.19.1"`, is too old. Other runtimes that say a version of Node are taken at their word. */
export function checkNodeVersion(version: string | undefined): void {
  if (version === undefined || Number.parseInt(version, 10) >= OLDEST_NODE) return;
  throw new VaeError({
    code: "native",
    operation: "importing node-vae",
    problem: `it does not run on Node ${version}`,
    expected: `Node ${OLDEST_NODE} or later`,
    hint: `install a current Node, for example with a version manager: nvm install ${OLDEST_NODE + 4}`,
  });
}

checkNodeVersion(globalThis.process?.versions?.node);
