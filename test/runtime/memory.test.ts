// What this process can still have: read off files that a test can make up.
import { describe, expect, test } from "vitest";
import { memoryError, newArray, showBytes, withMemoryErrors } from "../../lib/graph/bytes.js";
import { availableMemory, checkMemory, leastLimit, reserveMemory } from "../../lib/runtime/memory.js";

const files =
  (content: Readonly<Record<string, string>>) =>
  (path: string): string | undefined =>
    content[path];

const meminfo = (kilobytes: number) => `MemTotal:       99999999 kB\nMemFree:  1 kB\nMemAvailable:   ${kilobytes} kB\n`;
const GiB = 2 ** 30;

/** What is left by the least limit, without the margin. */
function least(content: Readonly<Record<string, string>>, spoken = 0) {
  return leastLimit(availableMemory(files({ "/proc/meminfo": meminfo(64 * 2 ** 20), ...content }), spoken, "linux"));
}

const limitsFile = (space: string, data: string) =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax data size             ${data}            unlimited            bytes     \nMax address space         ${space}           unlimited            bytes     \n`;

describe("the limit that leaves least", () => {
  test.each<[string, Readonly<Record<string, string>>, number, RegExp]>([
    ["the machine's memory alone", {}, 64 * GiB - 64 * 2 ** 20, /memory of the machine/],
    [
      "a group of version 2, whose page cache can go",
      {
        "/proc/self/cgroup": "0::/a/b\n",
        "/sys/fs/cgroup/a/b/memory.max": `${GiB}\n`,
        "/sys/fs/cgroup/a/b/memory.current": `${GiB}\n`,
        "/sys/fs/cgroup/a/b/memory.stat": `anon 1\nactive_file 77\ninactive_file ${GiB / 2}\n`,
      },
      (GiB / 2) * (1 - 1 / 8),
      /control group limit of 1\.1 GB/,
    ],
    [
      "a group above, where our own has no limit",
      {
        "/proc/self/cgroup": "0::/a/b\n",
        "/sys/fs/cgroup/a/b/memory.max": "max\n",
        "/sys/fs/cgroup/a/b/memory.current": "5\n",
        "/sys/fs/cgroup/a/memory.max": `${4 * GiB}`,
        "/sys/fs/cgroup/a/memory.current": `${GiB}`,
      },
      3 * GiB - 64 * 2 ** 20,
      /control group limit of 4\.3 GB/,
    ],
    [
      "a container of version 2 that sees its own group at the root",
      { "/sys/fs/cgroup/memory.max": `${GiB}`, "/sys/fs/cgroup/memory.current": "0" },
      GiB - 64 * 2 ** 20,
      /control group/,
    ],
    [
      "a group of version 1",
      {
        "/proc/self/cgroup": "9:name=systemd:/\n4:memory:/docker/x\n0::/\n",
        "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes": `${GiB}`,
        "/sys/fs/cgroup/memory/docker/x/memory.usage_in_bytes": `${GiB / 2}`,
        "/sys/fs/cgroup/memory/docker/x/memory.stat": `inactive_file 1\ntotal_inactive_file ${GiB / 4}\n`,
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": "5",
      },
      0.75 * GiB - 64 * 2 ** 20,
      /control group/,
    ],
    [
      "a container of version 1 that does not see the path of its group",
      {
        "/proc/self/cgroup": "4:memory:/docker/x\n",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes": `${GiB}`,
        "/sys/fs/cgroup/memory/memory.usage_in_bytes": "0",
      },
      GiB - 64 * 2 ** 20,
      /control group/,
    ],
    [
      "a group that is over its limit",
      {
        "/proc/self/cgroup": "0::/a\n",
        "/sys/fs/cgroup/a/memory.max": "1000",
        "/sys/fs/cgroup/a/memory.current": "2000",
      },
      0,
      /control group limit of 1\.0 kB/,
    ],
    [
      "address space",
      { "/proc/self/limits": limitsFile("8192000000", "unlimited"), "/proc/self/status": "VmPeak: 9 kB\nVmSize:   1000000 kB\n" },
      8_192_000_000 - 1_024_000_000 - 512 * 2 ** 20,
      /ulimit -v of 8\.2 GB/,
    ],
    [
      "the data segment",
      { "/proc/self/limits": limitsFile("unlimited", "1024000000"), "/proc/self/status": "VmSize: 9 kB\nVmData:\t 500000 kB\n" },
      512_000_000 * 0.75,
      /ulimit -d of 1\.0 GB/,
    ],
    [
      "nonsense in all files",
      { "/proc/self/cgroup": "?", "/proc/self/limits": "?", "/proc/self/status": "?" },
      64 * GiB - 64 * 2 ** 20,
      /machine/,
    ],
  ])("%s", (_, content, bytes, name) => {
    const found = least(content);
    expect(found.bytes).toBe(bytes);
    expect(found.name).toMatch(name);
  });

  test("what is promised to others is not there any more", () => {
    expect(least({}, 60 * GiB).bytes).toBe(4 * GiB - 64 * 2 ** 20);
  });

  test("elsewhere than on Linux the machine's memory decides", () => {
    for (const platform of ["darwin", "win32"] as const) {
      const [only, ...others] = availableMemory(files({}), 0, platform);
      expect(others).toEqual([]);
      expect(only!.bytes).toBeGreaterThan(2 ** 20);
    }
  });
});

describe("what is asked for", () => {
  const most = () => leastLimit(availableMemory()).bytes;

  test("little is always granted, and what there is not never", () => {
    expect(() => checkMemory("fit", { "of data": 1000 }, "none")).not.toThrow();
    expect(() => checkMemory("fit", { "of data": 2 ** 50 }, "use less")).toThrow(
      /^fit: needs 1\.1 PB of data; [\d.]+ [GM]B are available \(.+\)\n {2}hint: use less$/,
    );
    expect(() => checkMemory("fit", { a: Number.NaN }, "none")).toThrow(/memory|needs/);
  });

  test("what is reserved is not granted twice, until it is released", () => {
    const half = 0.6 * most();
    const release = reserveMemory("fit", { "of weights": half }, "none");
    expect(() => checkMemory("fit", { "of weights": half }, "none")).toThrow(/are available/);
    release();
    release();
    expect(() => checkMemory("fit", { "of weights": half }, "none")).not.toThrow();
  });

  test("several needs are named one by one", () => {
    const { message, code } = memoryError("fit", { needs: { "of weights": 1.1e9, "of data": 2.1e9, "of nothing": 0 }, hint: "buy more" });
    expect(code).toBe("memory");
    expect(message).toBe(
      "fit: needs 3.2 GB: 1.1 GB of weights, 2.1 GB of data; the process cannot have that much in one piece\n  hint: buy more",
    );
  });
});

test.each([
  [0, "0 bytes"],
  [999, "999 bytes"],
  [1000, "1.0 kB"],
  [9949, "9.9 kB"],
  [9951, "10 kB"],
  [999_499, "999 kB"],
  [999_501, "1.0 MB"],
  [268_435_456, "268 MB"],
  [2 ** 40, "1.1 TB"],
])("%d is shown as %s", (bytes, shown) => {
  expect(showBytes(bytes)).toBe(shown);
});

test("an array that the engine cannot make is a VaeError with its size", async () => {
  const room = { operation: "encode", what: "of results", hint: "ask for less" };
  expect(() => newArray(Float32Array, 2 ** 52, room)).toThrow(/^encode: needs 18 PB of results; /);
  const made = withMemoryErrors("fit", "use less", async () => "x".repeat(2 ** 30));
  await expect(made).rejects.toMatchObject({ code: "memory", message: expect.stringMatching(/^fit: .*Invalid string length/) });
  await expect(withMemoryErrors("fit", "", () => Promise.reject(new RangeError("other")))).rejects.toThrow("other");
});
