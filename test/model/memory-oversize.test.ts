// Fifty models and calls that do not fit, in a process with a limit: none is killed, every one is told what it needs.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";

const script = fileURLToPath(new URL("../support/oversize.mjs", import.meta.url));
const library = fileURLToPath(new URL("../../dist", import.meta.url));
const scratch = mkdtempSync(join(tmpdir(), "node-vae-oversize-"));
afterAll(() => rmSync(scratch, { recursive: true }));

interface Outcome {
  readonly name: string;
  readonly milliseconds: number;
  readonly type?: string;
  readonly code: string;
  readonly message?: string;
}

/** Runs all programs in a shell that sets a limit first. */
function run(limit: string) {
  const command = `${limit}; exec "$@"`;
  const { stdout, stderr, status, signal } = spawnSync("sh", ["-c", command, "sh", process.execPath, script, library, scratch], {
    encoding: "utf8",
    timeout: 110_000,
  });
  const outcomes = stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Outcome);
  return { outcomes, ended: { status, signal, stderr } };
}

function expectAllTold({ outcomes, ended }: ReturnType<typeof run>): void {
  expect(ended).toEqual({ status: 0, signal: null, stderr: "" });
  expect(outcomes.length).toBeGreaterThanOrEqual(50);
  const others = outcomes.filter(({ name, code }) => !["memory", "works"].includes(code) && !OTHERWISE[code]?.test(name));
  expect(others).toEqual([]);
  const memory = outcomes.filter(({ code }) => code === "memory");
  expect(memory.length).toBeGreaterThan(35);
  for (const { type, message } of memory) {
    expect(type).toBe("VaeError");
    expect(message).toMatch(/needs \d+(\.\d+)? [kMGTPE]B.*; .*\d (bytes|[kMGTPE]B).*\n {2}hint: /s);
  }
}

/** What is refused for another reason than memory: no kernel counts so far, or a signal ended the call. */
const OTHERWISE: Readonly<Record<string, RegExp>> = {
  shape:
    /^fit (dense\(2147483648\)|dense\(1099511627776\)|latent 1073741824|images, filters|a large kernel|a sequence)|for images$|rows beyond reason/,
  "23": /without end/, // a TimeoutError
};

test.skipIf(process.platform === "win32")("with 8 GB of address space", () => {
  expectAllTold(run("ulimit -v 8000000"));
});

/** A control group of 256 MB; undefined where this process may not make one. */
function smallGroup(): string | undefined {
  const folders = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
  for (const [version, root] of folders.entries()) {
    const folder = join(root, `node-vae-test-${process.pid}`);
    try {
      mkdirSync(folder);
      writeFileSync(join(folder, version === 0 ? "memory.limit_in_bytes" : "memory.max"), String(256e6), { flag: "r+" });
      return folder;
    } catch {
      try {
        rmdirSync(folder);
      } catch {
        // It was never there.
      }
    }
  }
  return undefined;
}

describe("in a control group of 256 MB", () => {
  const group = process.platform === "linux" ? smallGroup() : undefined;
  afterAll(() => {
    if (group !== undefined) rmdirSync(group);
  });

  test.skipIf(group === undefined)("which this process must be allowed to make", () => {
    expectAllTold(run(`echo $$ > ${group}/cgroup.procs`));
  });
});
