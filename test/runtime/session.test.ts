// The native session on the processor: what sessions do on every device, what is handed over to them, and what holds of
// kernels on the processor alone.
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { Device } from "../../lib/runtime/device.js";
import { loadAddon } from "../../lib/runtime/native.js";
import { distance, mapPlan, matmulPlan, wave } from "../support/plans.js";
import { codeOf, sessionCases } from "../support/session-cases.js";

sessionCases({ device: "cpu", threads: 2 });

const open: Device[] = [];
let device: Device;
beforeEach(() => {
  for (const old of open.splice(0)) old.dispose();
  device = openDevice({ threads: 2 });
});
afterAll(() => device.dispose());

function openDevice(options: { threads?: number; tier?: string }): Device {
  const opened = Device.open({ device: "cpu", ...options });
  open.push(opened);
  return opened;
}

describe("kernels", () => {
  test("the same bits with any number of threads", async () => {
    const inputs = { a: wave(300 * 200), b: wave(200 * 150, 2), bias: wave(150, 3) };
    const run = (threads: number) =>
      openDevice({ threads })
        .load(matmulPlan(300, 200, 150))
        .run({ inputs });
    const [one, two, five] = [await run(1), await run(2), await run(5)];
    for (const name of ["out", "columns", "top"]) {
      expect(distance(two.outputs[name], one.outputs[name]!)).toBe(0);
      expect(distance(five.outputs[name], one.outputs[name]!)).toBe(0);
    }
  });

  test("denormals are flushed in kernels, and not in JavaScript", async () => {
    const tiny = Float32Array.of(1e-30);
    const { outputs } = await device.load(mapPlan(1)).run({ inputs: { a: tiny, b: Float32Array.of(1e-12) } });
    expect(outputs.out![0]).toBe(1);
    expect(Math.fround(1e-30 * 1e-12)).toBeGreaterThan(0);
  });
});

describe("what is handed over", () => {
  test("inputs and writes of the wrong kind", async () => {
    const session = device.load(mapPlan(4));
    const b = new Float32Array(4);
    const gone = new Float32Array(4);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(await codeOf(session.run({ inputs: { a: gone, b } }))).toBe("detached");
    expect(await codeOf(session.run({ inputs: { a: new Float32Array(5), b } }))).toBe("shape");
    expect(await codeOf(session.run({ inputs: { a: new Int32Array(4), b } }))).toBe("dtype");
    expect(await codeOf(session.run({ inputs: { b } }))).toBe("argument");
    expect(await codeOf(session.run({ inputs: { a: b, b, c: b } }))).toBe("argument");
    for (const request of [{ steps: 0 }, { steps: 1.5 }, { firstStep: -1 }, { seed: 2 ** 60 }]) {
      expect(await codeOf(session.run({ ...request, inputs: { a: b, b } }))).toBe("argument");
    }
    const target = device.resident("weight", [4], "float32");
    expect(await codeOf(target.write(gone))).toBe("detached");
    expect(await codeOf(target.write(new Float32Array(3)))).toBe("shape");
    expect(await codeOf(target.write(new Float32Array(3), { offset: 2 }))).toBe("shape");
    expect(await codeOf(target.write(new Uint8Array(4)))).toBe("dtype");
    await target.write(Float32Array.of(7, 8), { offset: 2 });
    expect([...(await target.read())]).toEqual([0, 0, 7, 8]);
  });

  test("native code checks for itself", () => {
    const addon = loadAddon();
    const context = addon.openContext("cpu", 1, "", "float32");
    const buffer = addon.allocate(context, "float32", 4);
    const codeThrown = (call: () => unknown) => {
      try {
        call();
      } catch (error) {
        return (error as { code?: string }).code;
      }
      return "nothing thrown";
    };
    const gone = new Float32Array(2);
    structuredClone(gone.buffer, { transfer: [gone.buffer] });
    expect(codeThrown(() => addon.write(buffer, 0, gone))).toBe("detached");
    expect(codeThrown(() => addon.write(buffer, 3, new Float32Array(2)))).toBe("shape");
    expect(codeThrown(() => addon.write(buffer, 2 ** 53, new Float32Array(1)))).toBe("argument");
    expect(codeThrown(() => addon.write(buffer, 0, new Int32Array(1)))).toBe("dtype");
    // A handle of another kind, and no handle at all.
    expect(codeThrown(() => addon.read(context as never))).toBe("argument");
    expect(codeThrown(() => addon.read({} as never))).toBe("argument");
    expect(codeThrown(() => addon.compile(context, new Int32Array(3), []))).toBe("plan");
    addon.closeContext(context);
    addon.closeContext(context);
    expect(codeThrown(() => addon.read(buffer))).toBe("disposed");
    expect(codeThrown(() => addon.allocate(context, "float32", 4))).toBe("disposed");
  });
});
