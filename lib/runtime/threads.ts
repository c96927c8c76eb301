import { availableParallelism } from "node:os";
import { VaeError } from "../errors.js";
import { controlGroups, type ReadFile, readOrUndefined } from "./control-groups.js";

/** More threads than any machine that this runs on; a larger number is a mistake. */
export const MAX_THREADS = 1024;

/**
 * Threads when none are asked for: `NODE_VAE_THREADS`, else one per processor that this process may use, but no more than
 * its control group's processor quota, rounded up (containers on a large machine see all its processors, and threads
 * beyond the quota only get throttled).
 */
export function defaultThreads(environment: NodeJS.ProcessEnv = process.env): number {
  const named = environment.NODE_VAE_THREADS;
  if (named !== undefined && named !== "") return checkThreads("NODE_VAE_THREADS", Number(named));
  return Math.max(1, Math.min(availableParallelism(), Math.ceil(processorQuota()), MAX_THREADS));
}

export function checkThreads(operation: string, threads: number): number {
  if (Number.isSafeInteger(threads) && threads >= 1 && threads <= MAX_THREADS) return threads;
  throw new VaeError({
    code: "argument",
    operation,
    expected: `threads as a whole number from 1 to ${MAX_THREADS}`,
    received: String(threads),
  });
}

/**
 * Processors that the control groups of this process allow, or Infinity. A quota of any group above counts too.
 *
 * @param read reads a file, or gives undefined where there is none
 */
export function processorQuota(read: ReadFile = readOrUndefined): number {
  const quotas = controlGroups("cpu", read).map(({ folder, version }) => {
    const [quota, period] =
      version === 2
        ? (read(`${folder}/cpu.max`) ?? "max").trim().split(" ")
        : [read(`${folder}/cpu.cfs_quota_us`), read(`${folder}/cpu.cfs_period_us`)];
    const processors = Number(quota) / Number(period ?? 100_000);
    return processors > 0 ? processors : Number.POSITIVE_INFINITY;
  });
  return quotas.reduce((least, quota) => Math.min(least, quota), Number.POSITIVE_INFINITY);
}
