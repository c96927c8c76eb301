import { expect, test } from "vitest";
import { chart } from "../../bench/chart.js";
import type { Candidate } from "../../bench/contestants.js";
import { syntheticDigits, syntheticRows } from "../../bench/digits.js";
import { modelOptions } from "../../bench/model.js";
import { bestPeers, type Race, race, ratio } from "../../bench/rounds.js";
import { quantile, threeDigits } from "../../bench/statistics.js";
import { layersOf, parseNetwork, products, stepOperations, workloads } from "../../bench/workload.js";
import { conv2d, presets } from "../../lib/index.js";

test("operations of a step: the published 0.420, 3.36, 5.17 and 6.85 GFLOP", () => {
  expect(stepOperations(workloads.W1!)).toBe(419_840_000);
  expect(stepOperations(workloads.W1b!)).toBe(8 * 419_840_000);
  expect(stepOperations(workloads.W2!) / 1e9).toBeCloseTo(5.17, 2);
  expect(stepOperations(workloads.W3!) / 1e9).toBeCloseTo(6.85, 2);
  // 14 · 14 places of 32 filters with 9 · 1 weights, and 7 · 7 pixels spread by 9 · 64 weights for 64 channels.
  expect(layersOf(workloads.W2!).map(products)).toEqual([56_448, 903_168, 50_176, 50_176, 50_176, 1_806_336, 3_612_672, 225_792]);
});

test("the convolutional workloads are the presets, but for the derived head", () => {
  const { encoder, decoder, ...rest } = presets.image28();
  expect(modelOptions(workloads.W2!)).toEqual({ ...rest, encoder, decoder: [...decoder, conv2d(1, 3)] });
  // The preset pads by 1, which is what "same" comes to for a 4 × 4 kernel of stride 2.
  const same = JSON.parse(JSON.stringify(presets.image64()).replaceAll('"padding":1', '"padding":"same"'));
  expect(modelOptions(workloads.W3!)).toEqual(same);
});

test("synthetic images have colours of their own, one stroke in all channels", () => {
  const rows = syntheticRows(workloads.W3!, 3);
  expect(rows).toHaveLength(3 * 64 * 64 * 3);
  const [first, second] = [rows.subarray(0, 3), rows.subarray(12_288, 12_291)];
  expect(first).not.toEqual(second);
  // The corner is ground; where one channel differs from it, so does every other.
  for (let pixel = 0; pixel < 64 * 64; pixel++) {
    const moved = [0, 1, 2].map((channel) => Math.abs(rows[3 * pixel + channel]! - first[channel]!));
    if (Math.max(...moved) > 60) expect(Math.min(...moved)).toBeGreaterThan(0);
  }
  expect(syntheticRows(workloads.W1!, 5)).toEqual(syntheticDigits(5, 784));
});

test("a network from the command line is mirrored, and nonsense is refused", () => {
  const widths = layersOf(parseNetwork("37-113-64-5", 50)).map((layer) => layer.kind === "dense" && [layer.inputs, layer.outputs]);
  expect(widths).toEqual([
    [37, 113],
    [113, 64],
    [64, 5],
    [64, 5],
    [5, 64],
    [64, 113],
    [113, 37],
  ]);
  for (const network of ["37-5", "37-0-5", "37-x-5", ""]) expect(() => parseNetwork(network, 50)).toThrow(RangeError);
  expect(() => parseNetwork("37-113-5", 0)).toThrow(RangeError);
});

test("quantiles are linear between neighbours, in any order", () => {
  expect(quantile([4, 1, 3, 2], 0.5)).toBe(2.5);
  expect(quantile([10, 0], 0.1)).toBe(1);
  expect(quantile([7], 0.9)).toBe(7);
  expect(quantile([], 0.5)).toBeNaN();
  expect([0.01234, 4.561, 171.4, 25_300, Number.NaN].map(threeDigits)).toEqual(["0.0123", "4.56", "171", "25300", "–"]);
});

test("synthetic digits are the same every time, differ from row to row, and have MNIST's empty margin", () => {
  const digits = syntheticDigits(200, 784);
  expect(syntheticDigits(200, 784)).toEqual(digits);
  expect(digits.subarray(0, 784)).not.toEqual(digits.subarray(784, 2 * 784));
  const used = Array.from({ length: 784 }, (_, pixel) => Array.from({ length: 200 }).some((_, row) => digits[row * 784 + pixel]! > 0));
  expect(used.slice(0, 28)).not.toContain(true);
  expect(used.filter(Boolean).length).toBeGreaterThan(400);
  const ink = digits.filter((value) => value > 0).length / digits.length;
  expect(ink).toBeGreaterThan(0.08);
  expect(ink).toBeLessThan(0.25);
});

/** A contestant in a few lines, whose answer to a run is the given code. */
function contestant(name: string, family: Candidate["family"], onRun: string): Candidate {
  const code = `
    const say = (answer) => console.log(JSON.stringify(answer));
    console.log("a banner that is no answer");
    say({ type: "ready", library: "${name} 1", startup: 5, firstStep: 7, loss: 9 });
    let runs = 0;
    const ran = (turns) => say({ type: "ran", turns, loss: 3, peakMemory: 1e6 });
    require("node:readline").createInterface({ input: process.stdin }).on("line", (line) => {
      if (JSON.parse(line).type === "exit") process.exit();
      runs++;
      ${onRun}
    });`;
  const args = ["-e", code];
  return { name, family, configuration: "", threads: 2, tier: "avx2", command: process.execPath, args, environment: {} };
}

async function held(candidates: readonly Candidate[]): Promise<{ result: Race; reports: string[]; probed: unknown[] }> {
  const [reports, probed]: [string[], unknown[]] = [[], []];
  const probes = {
    peak: async (...asked: [string, number]) => {
      probed.push(asked);
      return { fma: 2, l1: 1.5 };
    },
  };
  const workload = parseNetwork("10-10-5", 1000);
  const result = await race(candidates, workload, "none", probes, { seconds: 0.01, rounds: 3 }, (line) => reports.push(line));
  return { result, reports, probed };
}

test("contestants take turns, are measured by medians, and are probed before every turn", async () => {
  const fast = contestant("fast", "node-vae", "ran([[2, 0.002 * runs], [2, 0.002 * runs]])");
  const slow = contestant("slow", "PyTorch", "ran([[1, 0.004 * runs]])");
  const { result, reports, probed } = await held([fast, slow]);
  const turns = reports.filter((line) => line.includes("round")).map((line) => line.split(", ")[1]);
  expect(turns).toEqual(["fast", "slow", "fast", "slow", "fast", "slow"]);
  expect(probed).toEqual(Array.from({ length: 6 }, () => ["avx2", 2]));
  expect(result.failures).toEqual([]);
  // The first run warms up: rounds see runs 2, 3 and 4.
  const [one, other] = result.measurements as [Race["measurements"][0], Race["measurements"][0]];
  expect(one.rounds.map(Math.round)).toEqual([500, 333, 250]);
  expect(one.stepsPerSecond).toBeCloseTo(1000 / 3);
  expect(one.quietStepSeconds).toBeCloseTo(0.002);
  expect(one.fractionOfPeak).toBeCloseTo((stepOperations(result.workload) * 1000) / 3 / 2e9);
  expect(one.loss).toEqual({ first: 9, last: 3, steps: 1 + 4 * 4 });
  expect(ratio(one, other)).toBeCloseTo(4);
  expect(bestPeers(result.measurements)).toEqual([other]);
  const drawing = chart([result], "a < b");
  expect(drawing.match(/<rect /g)).toHaveLength(2);
  expect(drawing).toContain("a &lt; b");
});

test("a contestant that cannot start, dies, or says that it failed is listed with its reason, and the others go on", async () => {
  const sound = contestant("sound", "node-vae", "ran([[1, 0.01]])");
  const mute: Candidate = { ...sound, name: "mute", args: ["-e", "console.error('no such library'); process.exit(3)"] };
  const missing: Candidate = { ...sound, name: "missing", command: "no-such-program-anywhere" };
  const dying = { ...contestant("dying", "tfjs-cpu", "if (runs === 3) process.exit(1); ran([[1, 0.01]])") };
  const failing = { ...contestant("failing", "jax-js", 'say({ type: "failed", message: "out of memory" })') };
  const { result } = await held([mute, missing, dying, failing, sound]);
  expect(result.measurements.map(({ name }) => name)).toEqual(["sound"]);
  expect(result.measurements[0]!.rounds).toHaveLength(3);
  const reasons = Object.fromEntries(result.failures.map(({ name, reason }) => [name, reason]));
  expect(reasons).toEqual({
    mute: "it ended: no such library",
    missing: expect.stringContaining("ENOENT"),
    dying: "it ended: without a word",
    failing: "out of memory",
  });
});
