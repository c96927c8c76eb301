import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism, cpus, totalmem } from "node:os";
import { basename, isAbsolute } from "node:path";

/** Where and how numbers were measured. No names of hosts, users or folders. */
export interface Machine {
  readonly cpu: string;
  /** Processors that this process may use. */
  readonly processors: number;
  /** As the first processor sees them: `L1 data 32K`, … */
  readonly caches: readonly string[];
  readonly memoryGiB: number;
  readonly system: string;
  readonly node: string;
  readonly date: string;
  readonly command: string;
}

/** @param args the command line behind `npm run bench --` */
export function describeMachine(args: readonly string[]): Machine {
  return {
    cpu: (cpus()[0]?.model ?? "unknown").trim(),
    processors: availableParallelism(),
    caches: caches(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${process.platform} ${process.arch}`,
    node: process.version,
    date: new Date().toISOString(),
    command: ["npm run bench --", ...args.map(withoutFolder)].join(" "),
  };
}

function withoutFolder(argument: string): string {
  return isAbsolute(argument) ? basename(argument) : argument;
}

/** Linux only; elsewhere there is no portable way to ask. */
function caches(): string[] {
  const folder = "/sys/devices/system/cpu/cpu0/cache";
  try {
    return readdirSync(folder)
      .filter((name) => name.startsWith("index"))
      .map((name) => {
        const [level, type, size] = ["level", "type", "size"].map((file) => readFileSync(`${folder}/${name}/${file}`, "utf8").trim());
        return `L${level} ${type?.toLowerCase()} ${size}`;
      });
  } catch {
    return [];
  }
}
