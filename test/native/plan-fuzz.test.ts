// A plan is untrusted input: thousands of corrupted ones must each be refused, or run without harm. Run it once under a
// memory checker as well, with an addon built by `npx cmake-js build --CDNODE_VAE_SANITIZE=address -O build/address`:
//   ASAN_OPTIONS=detect_leaks=0 NODE_VAE_ADDON=build/address/Release/node_vae.node \
//     LD_PRELOAD=$(gcc -print-file-name=libasan.so) npx vitest run test/native/plan-fuzz.test.ts
import { describe, expect, test } from "vitest";
import { encodePlan } from "../../lib/compile/encode.js";
import { compile as compileGraph } from "../../lib/compile/index.js";
import type { Plan } from "../../lib/compile/plan.js";
import {
  cast,
  cholesky,
  conv2dInputGradient,
  conv2dWeightGradient,
  convolve2d,
  cumulativeSum,
  fold,
  input,
  relu,
  sort,
  square,
  triangularSolve,
  unfold,
} from "../../lib/graph/index.js";
import { type HostArray, loadAddon, type NativeBuffer, type NativeContext, type NativeSession } from "../../lib/runtime/native.js";
import { doublingPlan, gatherPlan, mapPlan, matmulPlan, randomPlan } from "../support/plans.js";

const MUTANTS_PER_PLAN = 800;
/** A corrupted plan that is still valid may be a lot of work; those are compiled but not run. */
const MOST_ITERATIONS = 2 ** 22;
const MOST_ELEMENTS = 2 ** 22;

const addon = loadAddon();

/** Mulberry32: a small generator with a fixed seed, so that a failure can be found again. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

const EXTREMES = [0, 1, -1, 2, 3, 63, 64, 65, 255, 4096, 2 ** 16, 2 ** 24, 2 ** 30, 2 ** 31 - 1, -(2 ** 31), -(2 ** 31) + 1, 0x7fffffc0];

function mutate(words: Int32Array, below: (n: number) => number): Int32Array {
  const mutant = words.slice();
  const changes = 1 + below(3);
  for (let i = 0; i < changes; i++) {
    const at = below(mutant.length);
    switch (below(6)) {
      case 0:
        mutant[at] = below(2 ** 32) | 0;
        break;
      case 1:
        mutant[at]! ^= 1 << below(32);
        break;
      case 2:
        mutant[at] = EXTREMES[below(EXTREMES.length)]!;
        break;
      case 3:
        mutant[at]! += below(9) - 4;
        break;
      case 4:
        mutant[at] = mutant[below(mutant.length)]!;
        break;
      default:
        if (below(4) > 0) mutant[at]! += below(3) - 1;
        else if (below(2) === 0) return mutant.slice(0, at);
        else return Int32Array.from([...mutant, ...mutant.slice(at)]);
    }
  }
  return mutant;
}

/** What a plan that native code has taken asks of its residents, and how much work a step of it is. */
function decode(words: Int32Array) {
  let at = 2;
  const word = () => words[at++]!;
  const wide = () => (word() >>> 0) + word() * 2 ** 32;
  wide();
  const [slots, buffers, inputs, outputs, , , steps] = [word(), word(), word(), word(), word(), word(), word()] as const;
  const specs = Array.from({ length: buffers }, () => ({
    resident: word() === 1,
    dtype: word(),
    elements: wide(),
    offset: wide(),
    w: word(),
  }));
  const residents = Array.from({ length: slots }, (_, slot) => specs.find(({ resident, offset }) => resident && offset === slot)!);
  const inputSpecs = Array.from({ length: inputs }, () => specs[word()]!);
  at += outputs;
  let iterations = 0;
  for (let i = 0; i < steps; i++) {
    const kernel = addon.info().kernels[word()]!;
    const space = Array.from({ length: 6 }, wide);
    const [operands, count, instructions] = [word(), word(), word()] as const;
    at += operands * 15;
    const attributes = words.subarray(at, at + count);
    at += count + 4 * instructions;
    iterations += work(kernel, space, attributes);
  }
  return { residents, inputs: inputSpecs, iterations };
}

/** Multiplications, or elements touched, of one step; at least. */
function work(kernel: string, space: readonly number[], attributes: Int32Array): number {
  const product = (values: readonly number[]) => values.reduce((all, value) => all * value, 1);
  const [first = 1] = attributes;
  if (kernel === "matmul") return product(space) * first;
  if (kernel === "scatter_add") return product(space) + first * space[5]!;
  if (kernel === "fold" || kernel.startsWith("conv2d")) {
    const at = (i: number) => attributes[i]!;
    const padded = (axis: 0 | 1) => {
      const [size, out, kernel, stride, pad, dilation] = [1, 4, 7, 9, 11, 13].map((i) => at(i + axis)) as [number, ...number[]];
      return Math.max(size + pad!, (out! - 1) * stride! + (kernel! - 1) * dilation! + 1);
    };
    return padded(0) * padded(1) * at(0) * at(3) + product([0, 3, 4, 5, 6, 7, 8].map(at));
  }
  // Sorts, factorizations: no more than an element's row for each element.
  return product(space) * (["map", "gather"].includes(kernel) || kernel.startsWith("random") ? 1 : Math.max(...space));
}

const DTYPES = ["float32", "int32", "uint8"] as const;
const ARRAYS = [Float32Array, Int32Array, Uint8Array] as const;

function filled({ dtype, elements }: { readonly dtype: number; readonly elements: number }): HostArray {
  return new ARRAYS[dtype]!(elements).map((_: number, i: number) => i % 5);
}

type Fate = "refused" | "too large" | "ran" | "failed";

/** Compiles; "argument" is a valid plan that wants other residents. */
function compile(context: NativeContext, words: Int32Array, residents: readonly NativeBuffer[]): NativeSession | Fate | "argument" {
  try {
    return addon.compile(context, words, residents);
  } catch (error) {
    const { code } = error as { code: string };
    if (code === "plan") return "refused";
    if (code === "memory") return "too large";
    if (code === "argument") return "argument";
    throw error;
  }
}

async function fateOf(context: NativeContext, words: Int32Array): Promise<Fate> {
  // Without residents first: a plan's own checks come before those of what it is bound to.
  const unbound = compile(context, words, []);
  if (unbound === "refused" || unbound === "too large") return unbound;
  if (typeof unbound === "object") addon.disposeSession(unbound);
  const wanted = decode(words);
  const elements = [...wanted.residents, ...wanted.inputs].reduce((sum, spec) => sum + spec.elements, 0);
  if (wanted.iterations > MOST_ITERATIONS || elements > MOST_ELEMENTS) return "too large";
  const residents = wanted.residents.map((spec) => addon.allocate(context, DTYPES[spec.dtype]!, spec.elements));
  await Promise.all(residents.map((buffer, slot) => addon.write(buffer, 0, filled(wanted.residents[slot]!))));
  const session = compile(context, words, residents);
  if (session === "too large") return session;
  expect(session).toBeTypeOf("object");
  const inputs = wanted.inputs.map(filled);
  try {
    await addon.run(session as NativeSession, { steps: 1, firstStep: 0, seedLow: 1, seedHigh: 0, inputs, profile: false });
    return "ran";
  } catch (error) {
    expect(error).toMatchObject({ code: "native", message: expect.stringMatching(/^plan step \d+ .*index/) });
    return "failed";
  } finally {
    addon.disposeSession(session as NativeSession);
    for (const buffer of residents) addon.release(buffer);
  }
}

/** The same plan with an allocation of its own for every buffer, so that a memory checker sees every step beyond one. */
function apart(written: Plan): Plan {
  const buffers = written.buffers.map(({ name, dtype, elements }, slot) => ({
    kind: "resident" as const,
    name,
    dtype,
    elements,
    slot,
    writable: true,
  }));
  return { ...written, arenaBytes: 0, buffers, inputs: [], outputs: [], terms: { names: [], buffer: -1 }, commit: 0 };
}

/** A convolution with its two gradients, strided, padded and in groups. */
function convolutions(): Plan {
  const image = input("image", [2, 7, 6, 4]);
  const weights = input("weights", [3, 2, 2, 6]);
  const options = { stride: [2, 1], padding: "same", groups: 2 } as const;
  const out = relu(convolve2d(image, weights, options));
  return compileGraph({
    outputs: {
      out,
      image: conv2dInputGradient(out, weights, { ...options, inputSize: [7, 6] }),
      weights: conv2dWeightGradient(image, out, { ...options, kernelSize: [3, 2] }),
    },
  });
}

/** Kernels without a program, for small rows of the op table. */
function specials(): Plan {
  const windows = unfold(input("image", [1, 5, 6, 3]), { kernelSize: [2, 3] });
  const matrices = cholesky(input("matrices", [2, 4, 4]));
  const row = input("rows", [3, 9]);
  return compileGraph({
    outputs: {
      folded: fold(square(windows), { inputSize: [5, 6] }),
      cumulated: cumulativeSum(row, 1, { reverse: true }),
      sorted: sort(row).values,
      order: cast(sort(row).indices),
      solved: triangularSolve(matrices, input("right", [2, 4, 3])),
    },
  });
}

describe("corrupted plans", () => {
  const together: readonly (readonly [string, Plan])[] = [
    ["map", mapPlan(37)],
    ["matmul", matmulPlan(17, 9, 21)],
    ["gather", gatherPlan(10, 6, 8, true)],
    ["random", randomPlan(50)],
    ["doubling", doublingPlan(20)],
    ["convolution", convolutions()],
    ["special", specials()],
  ];
  const plans = [...together, ...together.map(([name, written]) => [`${name}, every buffer apart`, apart(written)] as const)];

  test.each(plans)("%s", async (_, written) => {
    const words = encodePlan(written, addon.info());
    const context = addon.openContext("cpu", 2, "", "float32");
    const below = generator(words.length);
    const fates: Record<Fate, number> = { refused: 0, "too large": 0, ran: 0, failed: 0 };
    expect(await fateOf(context, words)).toBe("ran");
    for (let i = 0; i < MUTANTS_PER_PLAN; i++) fates[await fateOf(context, mutate(words, below))]++;
    addon.closeContext(context);
    // Most are refused, and a fair number are other valid plans: else the corruption would test too little.
    expect(fates.refused).toBeGreaterThan(MUTANTS_PER_PLAN / 3);
    expect(fates.ran).toBeGreaterThan(MUTANTS_PER_PLAN / 100);
    expect(fates["too large"]).toBeLessThan(MUTANTS_PER_PLAN / 4);
  });

  test("every truncation is refused", () => {
    const context = addon.openContext("cpu", 1, "", "float32");
    for (const [, written] of plans) {
      const words = encodePlan(written, addon.info());
      for (let length = 0; length < words.length; length++) {
        expect(() => addon.compile(context, words.subarray(0, length), [])).toThrow(expect.objectContaining({ code: "plan" }));
      }
    }
    addon.closeContext(context);
  });
});
