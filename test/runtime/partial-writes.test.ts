// Writing a part of a resident: where it lands, what it leaves alone, its place in the queue, and what is refused.
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import type { DType } from "../../lib/graph/tensor.js";
import { Device, type DeviceOptions } from "../../lib/runtime/device.js";
import { useEmulator } from "../support/emulator.js";
import { failure } from "../support/io.js";
import { distance, doublingPlan, floats, gatherPlan } from "../support/plans.js";

const absent = useEmulator();
if (absent !== undefined) test.skip(`partial writes on the emulator: ${absent}`, () => undefined);

describe("on the processor", () => cases({ device: "cpu", threads: 2 }));
describe.skipIf(absent !== undefined)("on CUDA", () => cases({ device: "cuda" }));

function cases(options: DeviceOptions): void {
  let device: Device;
  beforeEach(() => {
    device?.dispose();
    device = Device.open(options);
  });
  afterAll(() => device?.dispose());

  test.each([
    ["float32", Float32Array],
    ["int32", Int32Array],
    ["uint8", Uint8Array],
  ] as const)("lands at its offset and leaves the rest: %s", async (dtype: DType, type) => {
    const target = device.resident("target", [2, 5], dtype);
    await target.write(type.from([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));
    await target.write(type.from([70, 80]), { offset: 6 });
    await target.write(type.of(20), { offset: 0 });
    await target.write(type.of(100), { offset: 9 });
    await target.write(type.of(), { offset: 10 });
    expect([...(await target.read())]).toEqual([20, 2, 3, 4, 5, 6, 70, 80, 9, 100]);
    await target.write(type.from([1, 1, 1, 1, 1, 1, 1, 1, 1, 2]), {});
    expect([...(await target.read())]).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 2]);
  });

  test("one of several pieces lands in its place", async () => {
    const elements = 3 << 20;
    const target = device.resident("large", [elements], "float32");
    const offset = 12_345;
    const data = floats(elements - offset - 1, (i) => i + 1);
    await target.write(data, { offset });
    const expected = new Float32Array(elements);
    expected.set(data, offset);
    expect(distance(await target.read(), expected)).toBe(0);
  });

  test("many parts that wait behind a run, their memory used again and again", async () => {
    const elements = 5 << 18;
    const target = device.resident("large", [elements], "float32");
    device.resident("weight", [1], "float32");
    const session = device.load(doublingPlan());
    const expected = new Float32Array(elements);
    for (let round = 0, at = 0; round < 4; round++) {
      const pending: Promise<unknown>[] = [session.run({ steps: 3, firstStep: 3 * round })];
      for (const length of [1 << 20, 40_000, 3, 32_768, 200_001]) {
        const data = floats(length, (i) => i + at);
        at = (at + 77_777) % (elements - length);
        expected.set(data, at);
        pending.push(target.write(data, { offset: at }));
        data.fill(-1);
      }
      await Promise.all(pending);
      expect(distance(await target.read(), expected)).toBe(0);
    }
  });

  test("keeps its place in the queue, and its data are copied when it is called", async () => {
    const target = device.resident("weight", [3], "float32");
    const session = device.load(doublingPlan(3));
    const data = Float32Array.of(1, 2, 3);
    const pending: Promise<unknown>[] = [target.write(data), session.run({ steps: 2 })];
    data[0] = 10;
    pending.push(target.write(data.subarray(0, 1), { offset: 1 }));
    data.fill(-1);
    pending.push(session.run({ steps: 1, firstStep: 2 }));
    const content = target.read();
    await Promise.all(pending);
    expect([...(await content)]).toEqual([8, 20, 24]);
  });

  test("rows that are replaced behind queued steps are read by those after it only", async () => {
    const [rows, columns, batch] = [4, 3, 2];
    const table = device.resident("table", [rows, columns], "uint8");
    const session = device.load(gatherPlan(rows, columns, batch, false));
    const bytes = (first: number) => Uint8Array.from({ length: batch * columns }, (_, i) => first + i);
    const runs = [];
    for (let step = 0; step < 6; step++) {
      const writing = table.write(bytes(40 * step), { offset: (step % 2) * batch * columns });
      runs.push(writing, session.run({ firstStep: step }));
    }
    const results = (await Promise.all(runs)).filter((result) => result !== undefined);
    results.forEach(({ outputs }, step) => {
      expect(
        distance(
          outputs.scaled,
          Float32Array.from(bytes(40 * step), (byte) => byte / 255),
        ),
      ).toBeLessThan(1e-6);
    });
  });

  test("what does not fit is refused, and nothing is written", async () => {
    const target = device.resident("target", [4], "float32");
    const two = Float32Array.of(1, 2);
    const error = await failure("shape", () => target.write(two, { offset: 3 }));
    expect(error.message).toBe('write "target": expected at most 1 element from offset 3 on, in a resident of 4; received 2');
    await failure("shape", () => target.write(two, { offset: 5 }));
    await failure("shape", () => target.write(two, { offset: 2 ** 53 - 1 }));
    await failure("shape", () => target.write(two));
    await failure("shape", () => target.write(two, { offset: undefined } as never));
    for (const offset of [-1, 0.5, Number.NaN, 2 ** 53, "1", null]) await failure("argument", () => target.write(two, { offset } as never));
    for (const options of [{ ofset: 1 }, 2, null]) await failure("argument", () => target.write(two, options as never));
    await failure("dtype", () => target.write(Int32Array.of(1, 2), { offset: 0 }));
    expect([...(await target.read())]).toEqual([0, 0, 0, 0]);
    target.release();
    await failure("disposed", () => target.write(two, { offset: 0 }));
  });

  test("a buffer that is taken away is noticed, before and between pieces", async () => {
    const target = device.resident("large", [3 << 20], "float32");
    const gone = new Float32Array(2);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    await failure("detached", () => target.write(gone, { offset: 0 }));
    const data = new Float32Array(2 << 20).fill(1);
    const writing = target.write(data, { offset: 5 });
    structuredClone(data.buffer, { transfer: [data.buffer] });
    await failure("detached", () => writing);
  });
}
