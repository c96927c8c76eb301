import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { VaeError } from "../errors.js";

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
export function processorQuota(read: (path: string) => string | undefined = readOrUndefined): number {
  const quotas = [Number.POSITIVE_INFINITY];
  for (const line of (read("/proc/self/cgroup") ?? "0::/").split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const isVersion2 = controllers === "";
    if (!isVersion2 && !controllers.split(",").includes("cpu")) continue;
    const root = isVersion2 ? "/sys/fs/cgroup" : `/sys/fs/cgroup/${controllers}`;
    for (const folder of new Set([...ancestors(path).map((group) => `${root}${group}`), "/sys/fs/cgroup/cpu"])) {
      const [quota, period] = isVersion2
        ? (read(`${folder}/cpu.max`) ?? "max").trim().split(" ")
        : [read(`${folder}/cpu.cfs_quota_us`), read(`${folder}/cpu.cfs_period_us`)];
      const processors = Number(quota) / Number(period ?? 100_000);
      if (processors > 0) quotas.push(processors);
    }
  }
  return Math.min(...quotas);
}

/** `/a/b` -> `/a/b`, `/a` and the root. */
function ancestors(path: string): string[] {
  const parts = path.split("/").filter((part) => part !== "");
  return Array.from({ length: parts.length + 1 }, (_, dropped) =>
    parts
      .slice(0, parts.length - dropped)
      .map((part) => `/${part}`)
      .join(""),
  );
}

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
