// How much memory this process can still have. An operating system that overcommits grants any amount and kills the process
// when it is used; so what is about to be allocated is compared, as a whole and beforehand, with what is left of every limit.
import { freemem, totalmem } from "node:os";
import { type MemoryNeeds, memoryError, showBytes, totalBytes } from "../graph/bytes.js";
import { controlGroups, type ReadFile, readOrUndefined } from "./control-groups.js";

/** What one limit leaves. */
export interface MemoryLimit {
  /** Bytes that can still be had, a margin already taken off. */
  readonly bytes: number;
  /** The limit in words: `"control group limit of 268 MB"`. */
  readonly name: string;
}

/** Less is not looked at: reading the limits would take longer than using it. */
const LEAST_LOOKED_AT = 2 ** 20;

/**
 * Kept free of what a limit leaves, for what is not counted (JavaScript's heap, libraries, other processes in the same group that
 * grow meanwhile): an eighth, at most so much.
 */
const MARGIN = 64 * 2 ** 20;

/** The same for limits of address space, of which threads and JavaScript's heap take more than they use. */
const ADDRESS_MARGIN = 512 * 2 ** 20;

/** Bytes that were found to fit and are not in use yet: fresh memory counts for the system only once it is written to. */
let promised = 0;

/**
 * Throws `"memory"` unless all of it fits at once into what the limits leave.
 *
 * @returns to be called once the memory is in use, or is not wanted any more: until then other calls do not count on it
 */
export function reserveMemory(operation: string, needs: MemoryNeeds, hint: string): () => void {
  const bytes = totalBytes(needs);
  if (!(bytes < LEAST_LOOKED_AT)) {
    const least = leastLimit(availableMemory(readOrUndefined, promised));
    if (!(bytes <= least.bytes)) {
      throw memoryError(operation, { needs, available: `${showBytes(least.bytes)} are available (${least.name})`, hint });
    }
  }
  promised += bytes;
  let kept = bytes;
  return () => {
    promised -= kept;
    kept = 0;
  };
}

/** {@link reserveMemory} for what is in use at once, or not for long. */
export function checkMemory(operation: string, needs: MemoryNeeds, hint: string): void {
  reserveMemory(operation, needs, hint)();
}

/** The limit that leaves least. */
export function leastLimit(limits: readonly MemoryLimit[]): MemoryLimit {
  return limits.reduce((least, limit) => (limit.bytes < least.bytes ? limit : least));
}

/**
 * What the limits on this process leave: those of its control groups and of all above them (of either version; page cache that
 * the kernel would drop counts as free), its own address space and data segment (`ulimit -v`, `-d`), and the machine's memory.
 * Swap is not counted: to train in it is to stand still.
 *
 * @param read reads a file, or gives undefined where there is none
 * @param spoken bytes that are spoken for, though nobody uses them yet
 */
export function availableMemory(
  read: ReadFile = readOrUndefined,
  spoken = 0,
  platform: NodeJS.Platform = process.platform,
): readonly MemoryLimit[] {
  const resident = [...groupLimits(read), machineLimit(read, platform)].map(({ bytes, name }) => {
    return { bytes: Math.max(0, bytes - Math.min(MARGIN, bytes / 8) - spoken), name };
  });
  const addresses = addressLimits(read).map(({ bytes, name }) => ({ bytes: bytes - Math.min(ADDRESS_MARGIN, bytes / 4), name }));
  return [...resident, ...addresses];
}

/** What is left of the limits of control groups. */
function groupLimits(read: ReadFile): readonly MemoryLimit[] {
  return controlGroups("memory", read).flatMap(({ folder, version }) => {
    const files =
      version === 2
        ? { limit: "memory.max", usage: "memory.current", cache: "inactive_file" }
        : { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", cache: "total_inactive_file" };
    const [limit, usage] = [files.limit, files.usage].map((file) => Number(read(`${folder}/${file}`)?.trim() || Number.NaN));
    // No number is "max", or no file; version 1 writes the largest multiple of a page.
    if (limit === undefined || usage === undefined || !(limit < 2 ** 60) || !(usage >= 0)) return [];
    const cache = numberIn(read(`${folder}/memory.stat`), files.cache) ?? 0;
    return [{ bytes: Math.max(0, limit - Math.max(0, usage - cache)), name: `control group limit of ${showBytes(limit)}` }];
  });
}

/** What the machine has. */
function machineLimit(read: ReadFile, platform: NodeJS.Platform): MemoryLimit {
  const total = totalmem();
  const name = `memory of the machine, ${showBytes(total)} in all`;
  const available = platform === "linux" ? numberIn(read("/proc/meminfo"), "MemAvailable:") : undefined;
  if (available !== undefined) return { bytes: available * 1024, name };
  // macOS counts as free only what nobody has ever used, and compresses and swaps before it kills: all but our own share.
  if (platform === "darwin") return { bytes: Math.max(0, total - process.memoryUsage.rss()), name };
  return { bytes: freemem(), name };
}

/** What is left of the limits on address space and data segment, where there are any. */
function addressLimits(read: ReadFile): readonly MemoryLimit[] {
  const limits = read("/proc/self/limits");
  const status = limits === undefined ? undefined : read("/proc/self/status");
  const kinds = [
    { limit: "Max address space", used: "VmSize:", option: "-v" },
    { limit: "Max data size", used: "VmData:", option: "-d" },
  ];
  return kinds.flatMap(({ limit, used, option }) => {
    const most = numberIn(limits, limit);
    const now = numberIn(status, used);
    if (most === undefined || now === undefined) return [];
    return [{ bytes: Math.max(0, most - now * 1024), name: `ulimit ${option} of ${showBytes(most)}` }];
  });
}

/** The number behind a name at the beginning of a line; undefined where there is none. */
function numberIn(text: string | undefined, name: string): number | undefined {
  const line = text?.split("\n").find((candidate) => candidate.startsWith(name) && /^\s/.test(candidate.slice(name.length)));
  const [, digits] = /^\s*(\d+)/.exec(line?.slice(name.length) ?? "") ?? [];
  return digits === undefined ? undefined : Number(digits);
}
