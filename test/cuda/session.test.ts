// Sessions on the CUDA backend, run by the driver emulator: what sessions do on every device, and what is particular here,
// graphs of several steps, memory of its own, and a driver that may be missing.
import { spawnSync } from "node:child_process";
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { afterEach, describe, expect, test } from "vitest";
import { encodePlan } from "../../lib/compile/encode.js";
import { cumulativeSum, input } from "../../lib/graph/index.js";
import { adam, conv2d, dense, vae } from "../../lib/index.js";
import { Device } from "../../lib/runtime/device.js";
import { addonPath, loadAddon } from "../../lib/runtime/native.js";
import { clusteredRows } from "../support/data.js";
import { useEmulator } from "../support/emulator.js";
import {
  constant,
  distance,
  doublingPlan,
  load,
  map,
  mapPlan,
  matmulPlan,
  op,
  plan,
  randomPlan,
  resident,
  step,
  store,
  view,
  wave,
} from "../support/plans.js";
import { sessionCases } from "../support/session-cases.js";

const MEBIBYTE = 2 ** 20;
process.env.EMULATED_MEMORY = String(256 * MEBIBYTE);

const absent = useEmulator();
if (absent !== undefined) test.skip(`CUDA on the emulator: ${absent}`, () => undefined);

/** weight += 1; the terms are the weight before, and the step counter. */
const countingPlan = () =>
  plan(
    [resident("weight", 0, 1), ["terms", "float32", 2]],
    [
      map([1], [view(0, [0]), view(1, [0])], [load(0), store(0, 1)]),
      step("step_index", [1], { operands: [view(1, [0], 1)] }),
      map([1], [view(0, [0])], [load(0), constant(1), op("add", 0, 1), store(2, 0)]),
    ],
    { terms: 1, termNames: ["weight", "step"], commit: 2 },
  );

function open(weights = 1): Device {
  const device = Device.open({ device: "cuda" });
  device.resident("weight", [weights], "float32");
  return device;
}

describe.skipIf(absent !== undefined)("on CUDA", () => {
  sessionCases({ device: "cuda" });
});

describe.skipIf(absent !== undefined)("graphs of several steps", () => {
  afterEach(() => {
    delete process.env.NODE_VAE_CUDA_STEPS_PER_LAUNCH;
  });

  // 1300 steps go more than twice round the ring of terms, whose size no number of steps here divides but 1 and 64.
  test.each([1, 7, 64, 250])("of %i: every step's terms, in order", async (steps) => {
    process.env.NODE_VAE_CUDA_STEPS_PER_LAUNCH = String(steps);
    using device = open();
    const weight = device.resident("weight", [1], "float32");
    const session = device.load(countingPlan());
    for (const [firstStep, count] of [
      [0, 1300],
      [1300, 5],
    ] as const) {
      const { terms, completed, status } = await session.run({ steps: count, firstStep });
      expect({ completed, status }).toEqual({ completed: count, status: "done" });
      expect(terms).toEqual(Float32Array.from({ length: 2 * count }, (_, i) => firstStep + (i >> 1)));
      expect([...(await weight.read())]).toEqual([firstStep + count]);
    }
  });

  test("divergence in the middle of one is found at its step, and the weights are the last good ones", async () => {
    process.env.NODE_VAE_CUDA_STEPS_PER_LAUNCH = "50";
    using device = open();
    const weight = device.resident("weight", [1], "float32");
    await weight.write(Float32Array.of(1));
    const session = device.load(doublingPlan());
    const result = await session.run({ steps: 500 });
    expect(result).toMatchObject({ status: "diverged", completed: 63, divergedStep: 64, restoredStep: 63 });
    expect(result.terms).toEqual(Float32Array.from({ length: 63 }, (_, s) => 4 ** s));
    expect([...(await weight.read())]).toEqual([2 ** 63]);
  });

  test("buffers lie apart where there is memory for it, else as planned", () => {
    using device = open();
    for (const [mebibytes, apart] of [
      [1, true], // 10 of 256 MiB
      [12, false], // 120
    ] as const) {
      let x = input("x", [(mebibytes * MEBIBYTE) / 4]);
      for (let i = 0; i < 8; i++) x = cumulativeSum(x, 0);
      using session = device.session({ outputs: { x } });
      const { arena } = session.memory();
      if (apart) expect(arena).toBeGreaterThan(session.plan.arenaBytes);
      else expect(arena).toBe(session.plan.arenaBytes);
    }
  });

  test("a run with a profile takes the same course, and times every step of the plan", async () => {
    using device = open();
    const session = device.load(countingPlan());
    const { terms, profile } = await session.run({ steps: 4, profile: true });
    expect([...terms]).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect(profile.length).toBe(3);
    for (const nanoseconds of profile) expect(nanoseconds).toBeGreaterThan(0);
  });

  test("noise follows the counter, as on the CPU", async () => {
    using device = open();
    using cpu = Device.open({ device: "cpu", threads: 1 });
    const request = { steps: 9, firstStep: 2 ** 40, seed: 2 ** 45 + 3 };
    const [there, here] = [await device.load(randomPlan(33)).run(request), await cpu.load(randomPlan(33)).run(request)];
    expect(there.outputs.uniform).toEqual(here.outputs.uniform);
    expect(distance(there.outputs.normal, here.outputs.normal!)).toBeLessThan(1e-5);
    expect(there.outputs.step).toEqual(here.outputs.step);
  });
});

describe.skipIf(absent !== undefined)("launches side by side", () => {
  afterEach(() => {
    for (const name of ["NODE_VAE_CUDA_STEPS_PER_LAUNCH", "NODE_VAE_CUDA_GRAPH", "EMULATED_GRAPH_ORDER"]) delete process.env[name];
  });

  /** Losses and weights of a training run whose graphs have so many steps, and whose launches run in this order. */
  async function train(graph: "chain" | "parallel", order: string): Promise<ReadonlyMap<string, readonly number[]>> {
    Object.assign(process.env, {
      NODE_VAE_CUDA_STEPS_PER_LAUNCH: "3",
      NODE_VAE_CUDA_GRAPH: graph,
      EMULATED_GRAPH_ORDER: order,
    });
    const data = Uint8Array.from(clusteredRows(40, 36, 4), (value) => Math.round(255 * value));
    await using model = vae({
      input: [6, 6, 1],
      latent: 3,
      encoder: [conv2d(4, 3, { stride: 2, activation: "relu" }), dense(12, { activation: "relu" })],
      decoder: [dense(12, { activation: "relu" }), dense(36)],
      likelihood: "bernoulli",
      seed: 7,
      device: "cuda",
    });
    const losses: number[] = [];
    for await (const { metrics } of model.train(data, { steps: 11, every: 11, batchSize: 8, optimizer: adam() }))
      losses.push(metrics.loss!);
    const weights = [...(await model.parameters())].map(([name, { data: values }]) => [name, [...values]] as const);
    return new Map([["losses", losses], ...weights]);
  }

  test.each(["forward", "reverse", "random:1", "random:2", "random:3"])("give the same bits in the order %s", async (order) => {
    expect(await train("parallel", order)).toEqual(await train("chain", "forward"));
  });

  /** index = the step counter; output = table[index], behind a write of the table that has to wait for its reader. */
  const faultingPlan = (rows: number) =>
    plan(
      [resident("weight", 0, 1), ["terms", "float32", 1], ["index", "int32", 1], ["table", "float32", rows], ["picked", "float32", 1]],
      [
        step("shuffled_indices", [1], { operands: [view(2, [1])], attributes: [2 * rows, 0, 0] }),
        map([rows], [view(0, [0]), view(3, [1])], [load(0), store(0, 1)]),
        map([1], [view(0, [0]), view(1, [0])], [load(0), store(0, 1)]),
        step("gather", [1, 1], { operands: [view(3, [0, 1]), view(2, [1, 0]), view(4, [1, 1])], attributes: [rows, 1] }),
        map([1], [view(0, [0])], [load(0), constant(1), op("add", 0, 1), store(2, 0)]),
      ],
      { terms: 1, termNames: ["weight"], commit: 3, outputs: [4] },
    );

  test.each(["forward", "reverse", "random:4"])(
    "a bad index in the middle of a graph ends the run there, in the order %s",
    async (order) => {
      Object.assign(process.env, { NODE_VAE_CUDA_STEPS_PER_LAUNCH: "20", EMULATED_GRAPH_ORDER: order });
      using device = open();
      const session = device.load(faultingPlan(16));
      const failed = session.run({ steps: 40 });
      await expect(failed).rejects.toThrow(/\(gather\) of training step 16: gather: index 16 at position 0/);
      expect([...(await device.resident("weight", [1], "float32").read())]).toEqual([0]); // as before the run
      expect((await session.run({ steps: 10, firstStep: 32 })).completed).toBe(10);
      expect([...(await device.resident("weight", [1], "float32").read())]).toEqual([10]);
    },
  );

  test("a graph in an unknown shape is refused", () => {
    process.env.NODE_VAE_CUDA_GRAPH = "tree";
    using device = open();
    expect(() => device.load(countingPlan())).toThrow(/NODE_VAE_CUDA_GRAPH: expected "parallel" or "chain", received "tree"/);
  });
});

describe.skipIf(absent !== undefined)("memory", () => {
  test("too much is an error that says how much, of what, where; everything else goes on", async () => {
    using device = open();
    const session = device.load(countingPlan());
    await session.run({ steps: 2 });
    const message = /out of memory on cuda:0 \(.*\): a resident needs 1\.0 GiB, and \d.* of 256\.0 MiB are free/;
    expect(() => device.resident("huge", [2 ** 28], "float32")).toThrow(message);
    expect(() => device.load(mapPlan(2 ** 26))).toThrow(/out of memory on cuda:0 .*: the arena of a session needs 768\.0 MiB/);
    expect((await session.run({ steps: 2, firstStep: 2 })).completed).toBe(2);
    expect([...(await device.resident("weight", [1], "float32").read())]).toEqual([4]);
  });

  test("no room for the copy of the weights ends the run before it changes anything", async () => {
    const elements = 40 * MEBIBYTE; // 160 MiB: there is no room for two of them
    using device = open(elements);
    const session = device.load(doublingPlan(elements));
    await expect(session.run()).rejects.toThrow(/out of memory .*: the copy of the weights that divergence goes back to needs 160\.0 MiB/);
  });

  test("is given back, also when it was let go of during a run", async () => {
    using device = open();
    const session = device.load(countingPlan());
    for (let i = 0; i < 8; i++) {
      const running = session.run({ steps: 50, firstStep: 50 * i });
      device.resident(`large ${i}`, [25 * MEBIBYTE], "float32").release();
      await running;
    }
    using other = device.load(mapPlan(8));
    const { outputs } = await other.run({ inputs: { a: wave(8), b: wave(8) } });
    expect(
      distance(
        outputs.out,
        wave(8).map((x) => x * x + 1),
      ),
    ).toBeLessThan(1e-6);
  });

  test("residents start as zeros and hold what is written", async () => {
    using device = open();
    const target = device.resident("bytes", [5 * MEBIBYTE + 3], "uint8");
    expect((await target.read()).every((byte) => byte === 0)).toBe(true);
    const data = Uint8Array.from({ length: 5 * MEBIBYTE + 3 }, (_, i) => i % 251);
    await target.write(data);
    await target.write(Uint8Array.of(9, 9), { offset: 7 });
    data.set([9, 9], 7);
    expect(Buffer.compare(Buffer.from((await target.read()) as Uint8Array), Buffer.from(data))).toBe(0);
  });

  test("sessions tell what they use", async () => {
    using device = open(1000);
    const session = device.load(doublingPlan(1000));
    const before = session.memory();
    expect(before).toMatchObject({ arena: 64, residents: 4000 });
    await session.run();
    expect(session.memory().scratch - before.scratch).toBe(4000); // the copy of the weights
  });
});

describe.skipIf(absent !== undefined)("several devices and sessions", () => {
  test("run at the same time, each in its own order", async () => {
    using first = open();
    using second = open();
    const runs = [first, first, second, second].map(async (device, i) => {
      const session = device.load(countingPlan());
      const { terms } = await session.run({ steps: 200, firstStep: 1000 * i });
      return Array.from({ length: 200 }, (_, step) => terms[2 * step + 1]);
    });
    (await Promise.all(runs)).forEach((steps, i) => {
      expect(steps).toEqual(Array.from({ length: 200 }, (_, step) => 1000 * i + step));
    });
    for (const device of [first, second]) expect([...(await device.resident("weight", [1], "float32").read())]).toEqual([400]);
  });

  test("equal plans share their modules, and one that is disposed leaves them to the other", async () => {
    using device = open();
    const [first, second] = [device.load(countingPlan()), device.load(countingPlan())];
    await first.run({ steps: 3 });
    const running = second.run({ steps: 500, firstStep: 3 });
    first.dispose();
    expect((await running).completed).toBe(500);
    second.dispose();
    expect((await device.load(countingPlan()).run({ steps: 2, firstStep: 503 })).completed).toBe(2);
    expect([...(await device.resident("weight", [1], "float32").read())]).toEqual([505]);
  });
});

describe.skipIf(absent !== undefined)("the process", () => {
  const words = () => encodePlan(countingPlan(), loadAddon().info());
  const start = `
    const context = addon.openContext("cuda:0", 1, "", "float32");
    const session = addon.compile(context, Int32Array.from(words), [addon.allocate(context, "float32", 1)]);
    addon.run(session, { steps: 1e9, firstStep: 0, seedLow: 0, seedHigh: 0, inputs: [], profile: false });`;

  test("terminate() ends a run at once", async () => {
    const code = `
      const { parentPort, workerData: { path, words } } = require("node:worker_threads");
      const addon = require(path);${start}
      parentPort.postMessage("running");`;
    const worker = new Worker(code, { eval: true, workerData: { path: addonPath(), words: words() } });
    await once(worker, "message");
    await new Promise((done) => setTimeout(done, 100));
    const begin = performance.now();
    await worker.terminate();
    expect(performance.now() - begin).toBeLessThan(1000);
  });

  test("goes on turning while the first run compiles its kernels", async () => {
    using device = Device.open({ device: "cuda" });
    // Each has a text of its own, for its strides stand in it.
    const sessions = Array.from({ length: 20 }, (_, i) => ({ k: 30 + i, session: device.load(matmulPlan(40, 30 + i, 20)) }));
    let [last, longest] = [performance.now(), 0];
    const turn = () => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    };
    const timer = setInterval(turn, 1);
    const begin = performance.now();
    await Promise.all(sessions.map(({ k, session }) => session.run({ inputs: { a: wave(40 * k), b: wave(k * 20), bias: wave(20) } })));
    const elapsed = performance.now() - begin;
    clearInterval(timer);
    turn();
    expect(longest, `of ${elapsed} ms`).toBeLessThan(Math.max(20, elapsed / 3));
  });

  test("may exit during a run", () => {
    const code = `const addon = require(${JSON.stringify(addonPath())}), words = ${JSON.stringify([...words()])};${start}
      setTimeout(() => process.exit(7), 100);`;
    const { status, signal } = spawnSync(process.execPath, ["-e", code], { timeout: 20_000 });
    expect({ status, signal }).toEqual({ status: 7, signal: null });
  });
});
