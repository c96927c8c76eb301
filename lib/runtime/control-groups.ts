// Linux control groups: where the limits of this process stand.
import { readFileSync } from "node:fs";

/** Reads a file, or gives undefined where there is none. */
export type ReadFile = (path: string) => string | undefined;

/** A folder of limits. */
export interface ControlGroup {
  readonly folder: string;
  /** The files of both versions have other names. */
  readonly version: 1 | 2;
}

/**
 * The control groups that this process is in, of one controller: its own and all above, since a limit of any of them counts.
 * A container that sees only its own group has that at the root.
 *
 * @param controller `"cpu"`, `"memory"`
 */
export function controlGroups(controller: string, read: ReadFile = readOrUndefined): readonly ControlGroup[] {
  const groups: ControlGroup[] = [];
  for (const line of (read("/proc/self/cgroup") ?? "0::/").split("\n")) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? [];
    if (controllers === undefined || path === undefined) continue;
    const version = controllers === "" ? 2 : 1;
    if (version === 1 && !controllers.split(",").includes(controller)) continue;
    const root = version === 2 ? "/sys/fs/cgroup" : `/sys/fs/cgroup/${controllers}`;
    for (const folder of new Set([...ancestors(path).map((group) => `${root}${group}`), `/sys/fs/cgroup/${controller}`])) {
      groups.push({ folder, version });
    }
  }
  return groups;
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

/** The file's text; undefined where it cannot be read. */
export function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
