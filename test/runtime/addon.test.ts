// The addon in its process: loading, devices and threads, worker threads, the event loop, memory.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test, vi } from "vitest";
import { encodePlan } from "../../lib/compile/encode.js";
import type { Plan } from "../../lib/compile/plan.js";
import { Device } from "../../lib/runtime/device.js";
import { addonPath, loadAddon } from "../../lib/runtime/native.js";
import { defaultThreads, processorQuota } from "../../lib/runtime/threads.js";
import { doublingPlan, mapPlan, matmulPlan, plan, resident, slowPlan } from "../support/plans.js";

const sleep = (milliseconds: number) => new Promise((done) => setTimeout(done, milliseconds));

/** Collects garbage, whatever flags node was started with. */
function collectGarbage(): void {
  setFlagsFromString("--expose-gc");
  runInNewContext("gc")();
}

describe("loading", () => {
  const folders: string[] = [];
  afterEach(() => {
    vi.unstubAllEnvs();
    vi.resetModules();
    for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
  });
  const temporary = () => {
    const folder = mkdtempSync(join(tmpdir(), "node-vae-"));
    folders.push(folder);
    return folder;
  };
  const fresh = async () => {
    vi.resetModules();
    return import("../../lib/runtime/native.js");
  };

  test("takes the file that NODE_VAE_ADDON names", async () => {
    const path = join(temporary(), "elsewhere.node");
    copyFileSync(addonPath(), path);
    vi.stubEnv("NODE_VAE_ADDON", path);
    const native = await fresh();
    expect(native.addonPath()).toBe(path);
    expect(native.loadAddon().info().version).toMatch(/^\d+\.\d+\.\d+/);
  });

  test.each(["missing.node", "broken.node"])("names the place, the cause and the command for a %s", async (file) => {
    const path = join(temporary(), file);
    if (file === "broken.node") writeFileSync(path, "no library");
    vi.stubEnv("NODE_VAE_ADDON", path);
    const native = await fresh();
    const cause = file === "missing.node" ? "no such file" : "file too short|invalid ELF|not a mach-o|not a valid";
    expect(() => native.loadAddon()).toThrow(
      expect.objectContaining({
        name: "VaeError",
        code: "native",
        message: expect.stringMatching(new RegExp(`${file}: .*(${cause})[^]*npm run build:native`)),
      }),
    );
  });

  test("names every kernel and instruction, and the processor's tiers", () => {
    const info = loadAddon().info();
    expect(info.kernels).toContain("matmul");
    expect(info.instructions.slice(0, 4)).toEqual(["load", "accumulator", "constant", "store"]);
    expect(info.tiers).toContain("portable");
    expect(info.tiers).toContain(info.tier);
    expect(info.processors).toBeGreaterThan(0);
  });

  test("probes give speeds", () => {
    const { fma, l1 } = loadAddon().probe(loadAddon().info().tier, 0.02);
    expect(fma).toBeGreaterThan(0.1);
    expect(l1).toBeGreaterThan(0.1);
  });
});

describe("devices", () => {
  test("auto is a device that is there", () => {
    using device = Device.open({ threads: 3 });
    expect(device.name).toMatch(/^(cpu|cuda:0)$/);
    expect(device.threads).toBe(3);
    expect(device.tier).toBe(loadAddon().info().tier);
  });

  test("unknown and unusable ones are refused", () => {
    const open = (options: object) => () => Device.open(options);
    const failure = (code: string, message: RegExp) => expect.objectContaining({ code, message: expect.stringMatching(message) });
    expect(open({ device: "tpu" })).toThrow(failure("device", /"auto", "cpu", "cuda".*received "tpu"/));
    expect(open({ device: "cuda:x" })).toThrow(failure("device", /received "cuda:x"/));
    expect(open({ device: "cuda:99" })).toThrow(failure("device", /cuda:99/));
    if (!loadAddon().info().cuda.compiled) expect(open({ device: "cuda" })).toThrow(failure("device", /has no CUDA backend/));
    expect(open({ device: "cpu", tier: "mmx" })).toThrow(failure("device", /no instruction tier "mmx"; it has .*portable/));
    for (const threads of [0, -1, 1.5, 1025, Number.NaN, "2"])
      expect(open({ device: "cpu", threads })).toThrow(failure("argument", /threads/));
  });

  test("a resident is one by name and type", () => {
    using device = Device.open({ device: "cpu", threads: 1 });
    const weight = device.resident("weight", [2, 3], "float32");
    expect(device.resident("weight", [2, 3], "float32")).toBe(weight);
    expect(() => device.resident("weight", [3, 2], "float32")).toThrow(expect.objectContaining({ code: "shape" }));
    expect(() => device.resident("weight", [2, 3], "uint8")).toThrow(expect.objectContaining({ code: "dtype" }));
    expect(() => device.resident("other", [2, 0], "float32")).toThrow(expect.objectContaining({ code: "shape" }));
    expect(() => device.resident("other", [2 ** 30, 2 ** 9], "float32")).toThrow(/out of memory/);
  });

  test("constants of a plan are written by the session", async () => {
    using device = Device.open({ device: "cpu", threads: 1 });
    const base = mapPlan(3);
    const b = { kind: "resident", name: "constant", dtype: "float32", elements: 3, slot: 0, writable: false, data: [1, 10, 100] } as const;
    const buffers = base.buffers.map((buffer, i) => (i === 1 ? b : buffer));
    const session = device.load({ ...base, buffers, inputs: base.inputs.slice(0, 1) });
    collectGarbage(); // the session alone keeps the constant
    const { outputs } = await session.run({ inputs: { a: Float32Array.of(1, 2, 3) } });
    expect([...outputs.out!]).toEqual([2, 21, 301]);
  });
});

describe("threads by default", () => {
  const files = (content: Record<string, string>) => (path: string) => content[path];

  test("NODE_VAE_THREADS comes first, and is checked", () => {
    expect(defaultThreads({ NODE_VAE_THREADS: "7" })).toBe(7);
    expect(() => defaultThreads({ NODE_VAE_THREADS: "many" })).toThrow(expect.objectContaining({ code: "argument" }));
    expect(defaultThreads({})).toBeGreaterThanOrEqual(1);
  });

  test.each<[name: string, content: Record<string, string>, expected: number]>([
    ["no control groups", {}, Number.POSITIVE_INFINITY],
    ["version 2, unlimited", { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "max 100000\n" }, Number.POSITIVE_INFINITY],
    ["version 2 in a container", { "/proc/self/cgroup": "0::/\n", "/sys/fs/cgroup/cpu.max": "150000 100000\n" }, 1.5],
    [
      "version 2, a group above",
      { "/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/b/cpu.max": "max 100000", "/sys/fs/cgroup/a/cpu.max": "200000 100000" },
      2,
    ],
    [
      "version 1",
      {
        "/proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/docker/x\n",
        "/sys/fs/cgroup/cpu,cpuacct/docker/x/cpu.cfs_quota_us": "-1\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
        "/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
      },
      0.5,
    ],
    [
      "version 1 with a named mount",
      {
        "/proc/self/cgroup": "4:cpu,cpuacct:/\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "300000\n",
        "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
      },
      3,
    ],
  ])("processors by quota: %s", (_, content, expected) => {
    expect(processorQuota(files(content))).toBe(expected);
  });
});

/** A worker thread that runs a plan with the bare addon and posts what it gave. */
function startWorker(written: Plan, steps: number, threads: number, weight: number): Worker {
  const code = `
    const { parentPort, workerData } = require("node:worker_threads");
    const { path, words, steps, threads, weight } = workerData;
    const addon = require(path);
    const context = addon.openContext("cpu", threads, "", "float32");
    const buffer = addon.allocate(context, "float32", 1);
    addon.write(buffer, 0, Float32Array.of(weight));
    const session = addon.compile(context, words, [buffer]);
    addon.run(session, { steps, firstStep: 0, seedLow: 1, seedHigh: 0, inputs: [], profile: false })
      .then(({ terms, status, completed }) => parentPort.postMessage({ terms, status, completed }));
    parentPort.postMessage("running");`;
  const words = encodePlan(written, loadAddon().info());
  return new Worker(code, { eval: true, workerData: { path: addonPath(), words, steps, threads, weight } });
}

/** Each step multiplies n x n matrices and then doubles a weight. */
function slowDoubling(n: number): Plan {
  const [slow, doubling] = [slowPlan(n), doublingPlan()];
  const [first] = slow.steps;
  const shift = { ...first!, operands: first!.operands.map((operand) => ({ ...operand, buffer: operand.buffer + 2 })) };
  const terms = [resident("weight", 0, 1), ["terms", "float32", 1]] as const;
  const matrices = slow.buffers.map(({ name, dtype, elements }) => [name, dtype, elements] as const);
  return plan([...terms, ...matrices], [shift, ...doubling.steps], { terms: 1, termNames: ["square"], commit: 2 });
}

describe("worker threads", () => {
  test("several use the addon at once", async () => {
    const workers = [1, 2, 3].map((threads) => startWorker(slowDoubling(100), 40, threads, 1));
    const results = await Promise.all(
      workers.map(
        (worker) =>
          new Promise((resolve, reject) => {
            worker.on("message", (message) => message !== "running" && resolve(message));
            worker.on("error", reject);
          }),
      ),
    );
    const terms = Float32Array.from({ length: 40 }, (_, s) => 4 ** s);
    for (const result of results) expect(result).toEqual({ terms, status: "done", completed: 40 });
    await Promise.all(workers.map((worker) => worker.terminate()));
  });

  test.each([
    ["many short steps", 60, 1],
    ["steps of seconds", 3000, 1],
    ["steps of seconds on two threads", 3000, 2],
  ])("terminate() ends a run of %s at once", async (_, n, threads) => {
    // What else goes on on the machine may hold up any process: the best of a few tries is about us.
    const tries: number[] = [];
    while (tries.length < 3 && !tries.some((milliseconds) => milliseconds < 100)) {
      const worker = startWorker(slowDoubling(n), 1e9, threads, 0);
      const messages: unknown[] = [];
      worker.on("message", (message) => messages.push(message));
      await once(worker, "message");
      await sleep(150);
      const begin = performance.now();
      await worker.terminate();
      tries.push(performance.now() - begin);
      expect(messages).toEqual(["running"]); // it was still at it
    }
    expect(Math.min(...tries)).toBeLessThan(100);
  });

  test("a process may exit during a run", () => {
    const words = [...encodePlan(slowPlan(2000), loadAddon().info())];
    const code = `
      const addon = require(${JSON.stringify(addonPath())});
      const context = addon.openContext("cpu", 2, "", "float32");
      const session = addon.compile(context, Int32Array.from(${JSON.stringify(words)}), []);
      addon.run(session, { steps: 1e9, firstStep: 0, seedLow: 0, seedHigh: 0, inputs: [], profile: false });
      setTimeout(() => process.exit(7), 100);`;
    const { status, signal } = spawnSync(process.execPath, ["-e", code], { timeout: 10_000 });
    expect({ status, signal }).toEqual({ status: 7, signal: null });
  });

  test("a process ends by itself when nothing is queued, with a device still open", () => {
    const code = `
      const addon = require(${JSON.stringify(addonPath())});
      const buffer = addon.allocate(addon.openContext("cpu", 2, "", "float32"), "float32", 4);
      addon.read(buffer).then((values) => console.log(values.length));`;
    const { status, stdout } = spawnSync(process.execPath, ["-e", code], { timeout: 10_000, encoding: "utf8" });
    expect({ status, stdout }).toEqual({ status: 0, stdout: "4\n" });
  });
});

describe("the event loop", () => {
  /** How late a 5 ms timer was at most during some milliseconds. */
  async function lateness(milliseconds: number): Promise<number> {
    let [latest, due] = [0, performance.now() + 5];
    const timer = setInterval(() => {
      const now = performance.now();
      latest = Math.max(latest, now - due);
      due = now + 5;
    }, 5);
    await sleep(milliseconds);
    clearInterval(timer);
    return latest;
  }

  test("turns while steps run", async () => {
    using device = Device.open({ device: "cpu" });
    device.resident("weight", [1], "float32");
    const session = device.load(slowDoubling(300));
    // What else goes on on the machine may hold up any process: the best of a few tries is about us.
    const tries: number[] = [];
    for (let i = 0; i < 4 && !(tries.at(-1)! < 20); i++) {
      const running = session.run({ steps: 1e9 });
      tries.push(await lateness(400));
      session.stop();
      expect((await running).status).toBe("stopped");
    }
    expect(Math.min(...tries)).toBeLessThan(20);
  });

  test("is not held up by a large write", async () => {
    using device = Device.open({ device: "cpu", threads: 1 });
    const elements = 16 << 20;
    const data = new Float32Array(elements).fill(1);
    const target = device.resident("data", [elements], "float32");
    const late = lateness(300);
    await target.write(data);
    expect(await late).toBeLessThan(40);
  });
});

describe("memory", () => {
  /** Opens a device, computes on it, and leaves nothing behind. */
  async function useDevice(dispose: boolean): Promise<void> {
    const device = Device.open({ device: "cpu", threads: 2 });
    await device.resident("data", [1 << 20], "float32").write(new Float32Array(1 << 20).fill(1));
    const session = device.load(matmulPlan(256, 256, 256));
    const inputs = { a: new Float32Array(65_536), b: new Float32Array(65_536), bias: new Float32Array(256) };
    await session.run({ steps: 2, inputs });
    if (dispose) device.dispose();
  }

  /** MiB that are still there after that many devices. */
  async function growth(count: number, dispose: boolean): Promise<number> {
    for (let i = 0; i < 10; i++) await useDevice(true);
    collectGarbage();
    await sleep(50);
    const before = process.memoryUsage().rss;
    for (let i = 0; i < count; i++) {
      await useDevice(dispose);
      if (!dispose && i % 10 === 9) collectGarbage();
    }
    collectGarbage();
    await sleep(100);
    return (process.memoryUsage().rss - before) / 2 ** 20;
  }

  test("100 devices opened and disposed leave nothing behind", async () => {
    const first = await growth(100, true);
    // Other allocators' pages come and go in the process: what leaks does so every time.
    expect(first < 20 ? first : await growth(100, true)).toBeLessThan(20);
  });

  test("devices dropped without dispose are collected", async () => {
    expect(await growth(100, false)).toBeLessThan(60);
  });

  test("sessions tell what they use", () => {
    using device = Device.open({ device: "cpu", threads: 2 });
    const written = matmulPlan(64, 64, 64);
    const { arena, scratch, residents } = device.load(written).memory();
    expect({ arena, residents }).toEqual({ arena: written.arenaBytes, residents: 0 });
    expect(scratch).toBeGreaterThan(0);
    device.resident("weight", [20], "float32");
    expect(device.load(doublingPlan(20)).memory().residents).toBe(80);
  });
});
