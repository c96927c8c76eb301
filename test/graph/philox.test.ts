import { describe, expect, test } from "vitest";
import { evaluate, normal, shuffledIndices, uniform } from "../../lib/graph/index.js";
import { batchIndex, normalDraws, permutedIndex, philox4x32, philoxBlock, uniformDraws, type Words4 } from "../../lib/graph/philox.js";

const seed = 0x123456789abcdef0n;
const ones = 0xffffffff;
const count = (size: number, element: (i: number) => number) => Array.from({ length: size }, (_, i) => element(i));

test("Philox4x32-10 gives the known answers published with Random123", () => {
  const hex = (words: Words4) => words.map((word) => word.toString(16).padStart(8, "0")).join(" ");
  expect(hex(philox4x32([0, 0, 0, 0], [0, 0]))).toBe("6627e8d5 e169c58d bc57ac4c 9b00dbd8");
  expect(hex(philox4x32([ones, ones, ones, ones], [ones, ones]))).toBe("408f276d 41c83b0e a20bc7c6 6d5451fd");
  const pi = philox4x32([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]);
  expect(hex(pi)).toBe("d16cfe09 94fdcceb 5001e420 24126ea1");
});

// These numbers were printed by native/philox.h.
describe("the native header's numbers", () => {
  test("blocks: element, stream, step and seed stand where the header puts them", () => {
    expect(philoxBlock(0, 0, 0, seed)).toEqual([153918276, 2016955328, 3388702910, 725345501]);
    expect(philoxBlock(1, 7, 3, seed)).toEqual([2270716236, 4186000179, 1416761423, 678463939]);
    expect(philoxBlock(ones, 0x80000000, 5 * 2 ** 32 + 9, seed)).toEqual([965415769, 181710481, 1702310219, 2633942373]);
  });

  test("permutations", () => {
    expect(count(10, (i) => permutedIndex(i, 10, 3, 0, 42n))).toEqual([7, 8, 1, 4, 5, 0, 2, 9, 3, 6]);
    expect(count(10, (i) => permutedIndex(i, 10, 3, 1, 42n))).toEqual([9, 2, 6, 0, 8, 7, 3, 5, 1, 4]);
    expect(count(8, (i) => permutedIndex(i * 7, 1000, 1, 2, 42n))).toEqual([860, 192, 196, 749, 419, 305, 45, 524]);
    expect(count(4, (i) => permutedIndex(i * 1e9, 4e9, 1, 2, 42n))).toEqual([1657665253, 886568978, 1979632041, 2429661364]);
  });

  test("a batch that runs across epochs", () => {
    const options = { rows: 5, batch: 13, shuffle: true, stream: 1 };
    expect(count(13, (i) => batchIndex({ step: 2, i }, options, 42n))).toEqual([1, 0, 4, 3, 0, 3, 1, 4, 2, 1, 2, 3, 4]);
  });
});

test("uniform and normal are made from the words as the header says", () => {
  const [w0, w1, w2, w3] = philoxBlock(1, 7, 3, seed);
  const draws = uniformDraws(7, 7, 3, seed); // the last block is cut
  expect([...draws.slice(4)]).toEqual([w0, w1, w2].map((word) => Math.floor(word / 256) / 2 ** 24));
  const radius = Math.sqrt(-2 * Math.log((Math.floor(w2 / 256) + 1) / 2 ** 24));
  const angle = 2 * Math.PI * (Math.floor(w3 / 256) / 2 ** 24);
  expect([...normalDraws(8, 7, 3, seed).slice(6)]).toEqual([radius * Math.cos(angle), radius * Math.sin(angle)]);
  expect([...normalDraws(7, 7, 3, seed)]).toEqual([...normalDraws(8, 7, 3, seed).slice(0, 7)]);
});

/** Mean, variance, skewness and excess kurtosis. */
function moments(draws: Float64Array): [number, number, number, number] {
  const average = (f: (x: number) => number) => draws.reduce((total, x) => total + f(x), 0) / draws.length;
  const mean = average((x) => x);
  const variance = average((x) => (x - mean) ** 2);
  return [mean, variance, average((x) => (x - mean) ** 3) / variance ** 1.5, average((x) => (x - mean) ** 4) / variance ** 2 - 3];
}

test("moments of a hundred thousand draws lie within five standard errors", () => {
  const size = 100_000;
  const [mean, variance, skewness, kurtosis] = moments(normalDraws(size, 4, 9, 1n));
  expect(Math.abs(mean)).toBeLessThan(5 / Math.sqrt(size));
  expect(Math.abs(variance - 1)).toBeLessThan(5 * Math.sqrt(2 / size));
  expect(Math.abs(skewness)).toBeLessThan(5 * Math.sqrt(6 / size));
  expect(Math.abs(kurtosis)).toBeLessThan(5 * Math.sqrt(24 / size));
  const draws = uniformDraws(size, 4, 9, 1n);
  const [center, spread] = moments(draws);
  expect(Math.abs(center - 0.5)).toBeLessThan(5 * Math.sqrt(1 / 12 / size));
  expect(Math.abs(spread - 1 / 12)).toBeLessThan(5 * Math.sqrt(1 / 180 / size));
  expect(draws.every((u) => u >= 0 && u < 1)).toBe(true);
});

test.each([1, 2, 3, 4, 5, 10, 1000])("the order of %i rows is a permutation in every epoch", (rows) => {
  for (const epoch of [0, 1, 2 ** 33]) {
    const order = count(rows, (i) => permutedIndex(i, rows, 5, epoch, seed));
    expect([...order].sort((a, b) => a - b)).toEqual(count(rows, (i) => i));
  }
});

test("orders differ between epochs, streams and seeds", () => {
  const order = (stream: number, epoch: number, key: bigint) => count(100, (i) => permutedIndex(i, 100, stream, epoch, key)).join();
  expect(new Set([order(0, 0, 1n), order(0, 1, 1n), order(1, 0, 1n), order(0, 0, 2n), order(0, 0, 1n + 2n ** 32n)]).size).toBe(5);
});

test("every row comes once per epoch, whatever the batch", () => {
  const indices = shuffledIndices({ rows: 10, batch: 4, shuffle: true, stream: 2 });
  const rows = count(5, (step) => step).flatMap((step) => [...evaluate([indices], new Map(), { step, seed: 3 })[0]!]);
  expect(rows.slice(0, 10).sort()).toEqual(count(10, (i) => i));
  expect(rows.slice(10).sort()).toEqual(count(10, (i) => i));
  const ordered = shuffledIndices({ rows: 10, batch: 4, shuffle: false, stream: 2 });
  expect([...evaluate([ordered], new Map(), { step: 2 })[0]!]).toEqual([8, 9, 0, 1]);
});

test("draws depend on the stream, the step and the seed, and on nothing else", () => {
  const draw = (stream: number, step: number, key: number | bigint) =>
    [...evaluate([normal([2, 3], stream)], new Map(), { step, seed: key })[0]!].join();
  expect(draw(1, 2, 3)).toBe(draw(1, 2, 3n));
  expect(new Set([draw(1, 2, 3), draw(0, 2, 3), draw(1, 0, 3), draw(1, 2, 0)]).size).toBe(4);
  const [a, b] = evaluate([uniform([6], 1), uniform([2, 3], 1)]);
  expect(a).toEqual(b);
});
