// What a session does on every device, driven by plans written by hand: how runs are stopped, diverge and fail, in which
// order things happen, and how they end.
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { Plan } from "../../lib/compile/plan.js";
import { VaeError } from "../../lib/errors.js";
import { Device, type DeviceOptions } from "../../lib/runtime/device.js";
import type { SessionResult } from "../../lib/runtime/session.js";
import {
  accumulator,
  constant,
  distance,
  doublingPlan,
  floats,
  load,
  map,
  mapPlan,
  op,
  plan,
  resident,
  slowPlan,
  step,
  store,
  view,
  wave,
} from "./plans.js";

export async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(VaeError);
  return (error as VaeError).code;
}

export function sessionCases(options: DeviceOptions): void {
  let device: Device;
  beforeEach(() => {
    device?.dispose();
    device = Device.open(options);
  });
  afterAll(() => device?.dispose());

  describe("runs", () => {
    /** weight += 1, and the term is 1 / (limit - weight): infinite when the weight reaches the limit. */
    const countingPlan = (limit: number): Plan =>
      plan(
        [resident("weight", 0, 1), ["terms", "float32", 1]],
        [
          map([1], [view(0, [0]), view(1, [0])], [constant(limit), load(0), op("subtract", 0, 1), op("reciprocal", 2), store(3, 1)]),
          map([1], [view(0, [0])], [load(0), constant(1), op("add", 0, 1), store(2, 0)]),
        ],
        { terms: 1, termNames: ["gap"], commit: 1 },
      );
    const weight = async () => (await device.resident("weight", [1], "float32").read())[0];
    const setWeight = (value: number) => device.resident("weight", [1], "float32").write(Float32Array.of(value));
    const summary = ({ status, completed, divergedStep, divergedTerm, restoredStep }: SessionResult) => ({
      status,
      completed,
      divergedStep,
      divergedTerm,
      restoredStep,
    });

    test("every step leaves a row of terms, and counters go on", async () => {
      await setWeight(0);
      const session = device.load(countingPlan(1e9));
      const { terms, termNames, completed } = await session.run({ steps: 5 });
      expect({ termNames, completed, rows: terms.length }).toEqual({ termNames: ["gap"], completed: 5, rows: 5 });
      expect(await weight()).toBe(5);
    });

    test("stop ends after a whole step; the next run goes on", async () => {
      await setWeight(0);
      const session = device.load(countingPlan(1e12));
      const running = session.run({ steps: 1e9 });
      const queued = session.run({ steps: 10 });
      setTimeout(() => session.stop(), 30);
      const result = await running;
      expect(result.status).toBe("stopped");
      expect(result.completed).toBeGreaterThan(0);
      expect(result.terms.length).toBe(result.completed);
      expect(summary(await queued)).toMatchObject({ status: "stopped", completed: 0 });
      expect((await session.run({ steps: 3, firstStep: result.restoredStep })).completed).toBe(3);
    });

    test("a signal aborted before rejects with its reason, aborted meanwhile stops", async () => {
      await setWeight(0);
      const session = device.load(countingPlan(1e12));
      const reason = new Error("enough");
      await expect(session.run({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
      const controller = new AbortController();
      setTimeout(() => controller.abort(reason), 30);
      expect((await session.run({ steps: 1e9, signal: controller.signal })).status).toBe("stopped");
    });

    test("divergence restores the weights whose own terms were last finite, and replays up to them", async () => {
      await setWeight(1);
      const session = device.load(doublingPlan());
      const result = await session.run({ steps: 100 });
      const expected = { status: "diverged", completed: 63, divergedStep: 64, divergedTerm: "square", restoredStep: 63 };
      expect(summary(result)).toEqual(expected);
      expect([...result.terms]).toEqual(Array.from({ length: 63 }, (_, s) => Math.fround(4 ** s)));
      expect(await weight()).toBe(2 ** 63);
      // Going on from there meets the same end: the weights stay.
      expect(summary(await session.run({ steps: 9, firstStep: 63 }))).toEqual({ ...expected, completed: 0 });
      expect(await weight()).toBe(2 ** 63);
    });

    test("divergence restores weights that a convolution's program updates", async () => {
      // weight += 1 x weight, by a convolution of one pixel with a filter of one; the store is not to the last operand.
      const pixel = [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 1];
      await setWeight(1);
      const [square] = doublingPlan().steps;
      const session = device.load(
        plan(
          [resident("weight", 0, 1), ["terms", "float32", 1], ["one", "float32", 1], ["zero", "float32", 1]],
          [
            square!,
            map([1], [view(2, [0])], [constant(1), store(0, 0)]),
            step("conv2d", [1, 1], {
              operands: [view(2, []), view(0, []), view(0, [0, 0]), view(3, [0, 0])],
              attributes: pixel,
              program: [accumulator, load(2), op("add", 0, 1), load(3), op("add", 2, 3), store(4, 2)],
            }),
          ],
          { terms: 1, termNames: ["square"], commit: 1 },
        ),
      );
      expect(summary(await session.run({ steps: 100 }))).toMatchObject({ status: "diverged", divergedStep: 64, restoredStep: 63 });
      expect(await weight()).toBe(2 ** 63);
    });

    test.each([1, 7, 64])("divergence across runs of %i steps", async (steps) => {
      await setWeight(1);
      const session = device.load(doublingPlan());
      let [firstStep, result] = [0, undefined as SessionResult | undefined];
      for (; result?.status !== "diverged"; firstStep += steps) result = await session.run({ steps, firstStep });
      expect(summary(result)).toMatchObject({ divergedStep: 64, restoredStep: 63 });
      expect(await weight()).toBe(2 ** 63);
    });

    test("a long way after the first copy of the weights", async () => {
      await setWeight(0);
      const session = device.load(countingPlan(1000));
      let [firstStep, result] = [0, undefined as SessionResult | undefined];
      for (; result?.status !== "diverged"; firstStep += 30) result = await session.run({ steps: 30, firstStep });
      expect(summary(result)).toMatchObject({ divergedStep: 1000, restoredStep: 999 });
      expect(await weight()).toBe(999);
    });

    test("weights that others wrote are never taken back", async () => {
      await setWeight(0);
      const session = device.load(countingPlan(10));
      await session.run({ steps: 4 });
      await setWeight(10);
      const expected = { status: "diverged", completed: 0, divergedStep: 4, restoredStep: 4 };
      expect(summary(await session.run({ steps: 4, firstStep: 4 }))).toMatchObject(expected);
      expect(await weight()).toBe(10);
      // Another session's updates count as well.
      await setWeight(0);
      await session.run({ steps: 4 });
      await device.load(countingPlan(1e6)).run({ steps: 6 });
      expect(summary(await session.run({ steps: 4, firstStep: 4 }))).toMatchObject(expected);
      expect(await weight()).toBe(10);
    });

    test("with inputs: one step per run is taken back exactly, more to the last run's start", async () => {
      // weight *= factor; the term is the weight's square.
      const scaling = plan(
        [resident("weight", 0, 1), ["factor", "float32", 1], ["terms", "float32", 1]],
        [
          map([1], [view(0, [0]), view(2, [0])], [load(0), op("square", 0), store(1, 1)]),
          map([1], [view(0, [0]), view(1, [0])], [load(0), load(1), op("multiply", 0, 1), store(2, 0)]),
        ],
        { inputs: [1], terms: 2, termNames: ["square"], commit: 1 },
      );
      const by = (factor: number) => ({ factor: Float32Array.of(factor) });
      await setWeight(1);
      const session = device.load(scaling);
      await session.run({ firstStep: 0, inputs: by(3) });
      await session.run({ firstStep: 1, inputs: by(1e30) });
      expect(summary(await session.run({ firstStep: 2, inputs: by(1) }))).toMatchObject({ divergedStep: 2, restoredStep: 1 });
      expect(await weight()).toBe(3);

      await setWeight(1);
      await session.run({ firstStep: 0, steps: 2, inputs: by(5) });
      await session.run({ firstStep: 2, steps: 2, inputs: by(1e10) });
      const result = await session.run({ firstStep: 4, inputs: by(1) });
      expect(summary(result)).toMatchObject({ status: "diverged", completed: 0, divergedStep: 4, restoredStep: 2 });
      expect(await weight()).toBe(25);
    });

    test("a fault in a kernel names the step, and the weights are those from before the run", async () => {
      // At step s, row s % 10 of a table of 5 rows.
      const faulty = plan(
        [resident("weight", 0, 1), resident("table", 1, 5, false), ["index", "int32", 1], ["row", "float32", 1]],
        [
          map([1], [view(0, [0])], [load(0), constant(1), op("add", 0, 1), store(2, 0)]),
          step("shuffled_indices", [1], { operands: [view(2, [1])], attributes: [10, 0, 1] }),
          step("gather", [1, 1], { operands: [view(1, [0, 1]), view(2, [1, 0]), view(3, [1, 1])], attributes: [5, 1] }),
        ],
        { outputs: [3] },
      );
      await setWeight(0);
      device.resident("table", [5], "float32");
      const session = device.load(faulty);
      await session.run({ steps: 3 });
      await expect(session.run({ steps: 4, firstStep: 3 })).rejects.toThrow(/plan step 2 \(gather\) of training step 5: .*index 5/);
      expect(await weight()).toBe(3);
      expect((await session.run({ steps: 2, firstStep: 3 })).status).toBe("done");
      expect(await weight()).toBe(5);
    });

    test("profile measures every step of the plan", async () => {
      const { profile } = await device.load(slowPlan(200)).run({ steps: 3, profile: true });
      expect(profile.length).toBe(1);
      expect(profile[0]).toBeGreaterThan(1000);
    });
  });

  describe("the queue", () => {
    test("jobs keep their order", async () => {
      const counter = device.resident("weight", [1], "float32");
      const session = device.load(doublingPlan());
      const write = counter.write(Float32Array.of(3));
      const first = session.run({ steps: 2 });
      const between = counter.read();
      const overwrite = counter.write(Float32Array.of(5));
      const second = session.run({ steps: 1, firstStep: 2 });
      const after = counter.read();
      await Promise.all([write, first, overwrite, second]);
      expect([(await between)[0], (await after)[0]]).toEqual([12, 10]);
    });

    test("inputs are copied before run returns", async () => {
      const [a, b] = [wave(64), wave(64, 1)];
      const expected = floats(64, (i) => Math.fround(a[i]! * b[i]!) + 1);
      const running = device.load(mapPlan(64)).run({ inputs: { a, b } });
      structuredClone(a.buffer, { transfer: [a.buffer] });
      b.fill(0);
      expect(distance((await running).outputs.out, expected)).toBeLessThan(1e-6);
    });

    test("a large write goes in pieces, and notices a buffer that is taken away", async () => {
      const elements = 3 << 20;
      const target = device.resident("large", [elements], "float32");
      const data = floats(elements, (i) => i);
      await target.write(data);
      expect(distance(await target.read(), data)).toBe(0);
      const writing = target.write(data);
      structuredClone(data.buffer, { transfer: [data.buffer] });
      expect(await codeOf(writing)).toBe("detached");
    });
  });

  describe("disposal", () => {
    test("is idempotent, and use afterwards says so", async () => {
      const target = device.resident("weight", [1], "float32");
      const session = device.load(doublingPlan());
      session.dispose();
      session.dispose();
      session.stop();
      expect(await codeOf(session.run())).toBe("disposed");
      expect(() => session.memory()).toThrow(expect.objectContaining({ code: "disposed" }));
      target.release();
      target.release();
      expect(await codeOf(target.read())).toBe("disposed");
      expect(device.has("weight")).toBe(false);
      device.dispose();
      device.dispose();
      expect(() => device.resident("weight", [1], "float32")).toThrow(expect.objectContaining({ code: "disposed" }));
      expect(() => device.load(slowPlan(2))).toThrow(expect.objectContaining({ code: "disposed" }));
    });

    test("during a run stops it after a whole step; every promise settles", async () => {
      const target = device.resident("weight", [1], "float32");
      const session = device.load(slowPlan(300));
      const running = session.run({ steps: 1e9 });
      const queued = session.run({ steps: 5 });
      const reading = target.read();
      await new Promise((done) => setTimeout(done, 20));
      device.dispose();
      expect((await running).status).toBe("stopped");
      expect((await queued).completed).toBe(0);
      expect([...(await reading)]).toEqual([0]);
    });

    test("a session keeps residents that were released", async () => {
      const target = device.resident("weight", [1], "float32");
      await target.write(Float32Array.of(2));
      const session = device.load(doublingPlan());
      target.release();
      expect([...(await session.run({ steps: 2 })).terms]).toEqual([4, 16]);
    });
  });
}
