// Every kernel's answer on every instruction tier that this machine has, through plans written by hand.
import { afterEach, describe, expect, test } from "vitest";
import type { Plan } from "../../lib/compile/plan.js";
import { batchIndex, normalDraws, uniformDraws } from "../../lib/graph/philox.js";
import { Device } from "../../lib/runtime/device.js";
import { loadAddon } from "../../lib/runtime/native.js";
import type { RunRequest } from "../../lib/runtime/session.js";
import { distance, floats, gatherPlan, mapPlan, matmulPlan, randomPlan, wave } from "../support/plans.js";

const open: Device[] = [];
afterEach(() => {
  for (const device of open.splice(0)) device.dispose();
});

function openDevice(options: { threads: number; tier: string }): Device {
  const device = Device.open({ device: "cpu", ...options });
  open.push(device);
  return device;
}

describe.each(loadAddon().info().tiers)("kernels on %s", (tier) => {
  const runPlan = async (written: Plan, request: RunRequest, threads = 2) => openDevice({ threads, tier }).load(written).run(request);

  test("map computes elementwise", async () => {
    const [a, b] = [wave(1003), wave(1003, 1)];
    const { outputs, status, completed } = await runPlan(mapPlan(1003), { inputs: { a, b } });
    expect({ status, completed }).toEqual({ status: "done", completed: 1 });
    expect(
      distance(
        outputs.out,
        floats(1003, (i) => a[i]! * b[i]! + 1),
      ),
    ).toBeLessThan(1e-6);
  });

  test.each([1, 2])("matmul with an epilogue and reductions, %i threads", async (threads) => {
    const [m, k, n] = [130, 67, 101];
    const inputs = { a: wave(m * k), b: wave(k * n, 2), bias: wave(n, 3) };
    const { outputs } = await runPlan(matmulPlan(m, k, n), { inputs }, threads);
    const out = new Float64Array(m * n);
    const columns = new Float64Array(n);
    for (let row = 0; row < m; row++) {
      for (let column = 0; column < n; column++) {
        let sum = inputs.bias[column]!;
        for (let i = 0; i < k; i++) sum += inputs.a[row * k + i]! * inputs.b[i * n + column]!;
        out[row * n + column] = Math.max(0, sum);
        columns[column]! += Math.max(0, sum);
      }
    }
    expect(distance(outputs.out, out)).toBeLessThan(1e-5);
    expect(distance(outputs.columns, columns)).toBeLessThan(2e-4);
    expect(distance(outputs.top, [Math.max(...out)])).toBeLessThan(1e-5);
  });

  test.each([true, false])("batch order, gather of bytes, scatter_add; shuffle %s", async (shuffle) => {
    const [rows, columns, batch] = [50, 7, 20];
    const there = openDevice({ threads: 2, tier });
    const table = Uint8Array.from({ length: rows * columns }, (_, i) => i % 251);
    await there.resident("table", [rows, columns], "uint8").write(table);
    const session = there.load(gatherPlan(rows, columns, batch, shuffle));
    const { outputs } = await session.run({ firstStep: 4, seed: 99 });
    const indices = Array.from({ length: batch }, (_, i) => batchIndex({ step: 4, i }, { rows, batch, shuffle, stream: 7 }, 99n));
    expect([...outputs.indicesOut!]).toEqual(indices);
    const sums = new Float64Array(rows * columns);
    indices.forEach((row, i) => {
      for (let column = 0; column < columns; column++) {
        const scaled = table[row * columns + column]! / 255;
        expect(outputs.scaled![i * columns + column]).toBeCloseTo(scaled, 6);
        sums[row * columns + column]! += scaled;
      }
    });
    expect(distance(outputs.sums, sums)).toBeLessThan(1e-6);
  });

  test("noise is Philox by seed, step and stream", async () => {
    const [n, seed, firstStep] = [10_007, 2 ** 40 + 5, 3];
    const { outputs } = await runPlan(randomPlan(n), { seed, firstStep });
    expect(outputs.step![0]).toBe(firstStep);
    expect(outputs.uniform).toEqual(Float32Array.from(uniformDraws(n, 3, firstStep, BigInt(seed))));
    expect(distance(outputs.normal, normalDraws(n, 4, firstStep, BigInt(seed)))).toBeLessThan(1e-5);
  });
});
