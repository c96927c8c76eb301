// Environments that end in the middle of something: worker threads terminated, processes exiting, results that find no memory.
// What they run is dist/, since a worker thread cannot load TypeScript. `npm run stress` is the long version.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { expect, test } from "vitest";
import { Device } from "../../lib/runtime/device.js";

const library = new URL("../../dist/", import.meta.url).href;

test("workers and processes that end at random moments leave the process alive", { timeout: 600_000 }, () => {
  const program = fileURLToPath(new URL("../stress/workers.mjs", import.meta.url));
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [program, "--rounds", "28"], { encoding: "utf8" });
  expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: "" });
  expect(stdout).toContain("alive after 28 rounds");
});

const MEBIBYTE = 2 ** 20;

test("what was queued when an environment ended is freed", async () => {
  setFlagsFromString("--expose-gc");
  const collectGarbage: () => void = runInNewContext("gc");
  const code = `import(${JSON.stringify(library)} + "runtime/device.js").then(({ Device }) => {
    for (let i = 0; i < 2; i++) {
      const resident = Device.open({ device: "cpu", threads: 2 }).resident("rows", [4 << 20], "uint8");
      for (let j = 0; j < 4; j++) {
        resident.write(new Uint8Array(4 << 20).fill(1));
        resident.read();
      }
    }
    require("node:worker_threads").parentPort.postMessage("queued");
  });`;
  const resident = async (workers: number): Promise<number> => {
    for (let i = 0; i < workers; i++) {
      const worker = new Worker(code, { eval: true });
      await once(worker, "message");
      await worker.terminate();
    }
    collectGarbage();
    return process.memoryUsage.rss() / MEBIBYTE;
  };
  const before = await resident(2);
  // Each worker held two residents and up to 16 jobs of 4 MiB.
  expect((await resident(6)) - before).toBeLessThan(30);
});

test("a result that finds no constructor is an error, and the next one comes", async () => {
  using device = Device.open({ device: "cpu", threads: 1 });
  const resident = device.resident("rows", [4], "float32");
  await resident.write(Float32Array.of(1, 2, 3, 4));
  const { Float32Array: original } = globalThis;
  const replaced = [
    undefined,
    class {},
    Float64Array,
    class {
      constructor() {
        throw new RangeError("Array buffer allocation failed");
      }
    },
  ];
  const codes = ["native", "native", "native", "memory"];
  for (const [index, replacement] of replaced.entries()) {
    const read = resident.read();
    globalThis.Float32Array = replacement as never;
    try {
      await expect(read).rejects.toMatchObject({
        code: codes[index],
        message: expect.stringContaining("no Float32Array of 4 elements"),
      });
    } finally {
      globalThis.Float32Array = original;
    }
  }
  expect([...(await resident.read())]).toEqual([1, 2, 3, 4]);
});

const limits = spawnSync("prlimit", ["--version"]).status === 0;

test.skipIf(!limits)("a result that finds no memory is an error, and the process lives (needs prlimit)", () => {
  // Room for one more copy of the resident, the one on the queue's thread, but not for JavaScript's.
  const program = `
    import { spawnSync } from "node:child_process";
    import { readFileSync } from "node:fs";
    const { Device } = await import(${JSON.stringify(library)} + "runtime/device.js");
    const device = Device.open({ device: "cpu", threads: 1 });
    const [large, small] = [device.resident("large", [1 << 26], "float32"), device.resident("small", [4], "float32")];
    await small.read();
    const bytes = Number(/VmSize:\\s+(\\d+)/.exec(readFileSync("/proc/self/status", "utf8"))[1]) * 1024;
    spawnSync("prlimit", ["--pid", String(process.pid), "--as=" + (bytes + 384 * 2 ** 20)]);
    await large.read().then(() => console.log("read"), ({ code, message }) => console.log(code, message));
    console.log((await small.read()).length);
    device.dispose();`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", program], { encoding: "utf8" });
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(stdout).toMatch(/^memory read "large": no Float32Array of 67108864 elements could be made: .*\n {2}hint: .*\n4\n$/);
});
