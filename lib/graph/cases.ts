import { describe, VaeError } from "../errors.js";
import { isRecord, listOf } from "./arguments.js";
import { compositionCases } from "./compositions.js";
import { convolutionFunctionCases } from "./convolution-transposed.js";
import { isArray } from "./kinds.js";
import { input } from "./leaves.js";
import { ops } from "./ops.js";
import { uniformDraws } from "./philox.js";
import { poolingCases } from "./pooling.js";
import { classCases } from "./softmax.js";
import { sortingCases } from "./sorting.js";
import type { OpCase, OpRow, SampleInput } from "./table.js";
import { type DType, sizeOf, type Tensor } from "./tensor.js";
import { triangularCases } from "./triangular.js";

/** A case with the op, or composition, that it belongs to. */
export interface NamedCase extends OpCase {
  readonly op: string;
  /** Unique over the whole list: `"matmul: batch tn"`. */
  readonly title: string;
}

/** The array that holds an element type on the host. */
export type HostData = Float32Array | Int32Array | Uint8Array;

/** A case made concrete. */
export interface InstantiatedCase {
  readonly output: Tensor;
  /** In the order of the case; each tensor is an `input` leaf. */
  readonly inputs: readonly { readonly tensor: Tensor; readonly data: HostData }[];
  /** The same, as `evaluate` takes it. */
  readonly feeds: ReadonlyMap<Tensor, HostData>;
}

const compositions = [compositionCases, convolutionFunctionCases, poolingCases, classCases, sortingCases, triangularCases];

/** The sample cases of every row and composition: one list for tests, gradient checks, backends and benchmarks. */
export function opCases(): readonly NamedCase[] {
  const rows = Object.values<OpRow>(ops).map(({ name, cases }) => [name, cases] as const);
  return [...rows, ...compositions.flatMap((cases) => Object.entries(cases))].flatMap(([op, cases]) =>
    cases.map((sample) => ({ ...sample, op, title: `${op}: ${sample.name}` })),
  );
}

/**
 * Builds the graph of a case and its data, the same on every call.
 *
 * @example
 * ```ts
 * for (const sample of opCases()) {
 *   const { output, inputs, feeds } = instantiate(sample);
 *   const [expected] = evaluate([output], feeds);
 * }
 * ```
 */
export function instantiate(sample: NamedCase): InstantiatedCase {
  const isInput = (input: unknown): boolean => isRecord(input) && isRecord(input.values) && isKind(input.values);
  const isCase = isRecord(sample) && typeof sample.title === "string" && isArray(sample.inputs);
  if (!isCase || !opCases().some(({ build }) => build === sample.build)) {
    throw new VaeError({ code: "argument", operation: "instantiate", expected: "a case of opCases()", received: describe(sample) });
  }
  listOf("instantiate", sample.inputs, "inputs as the cases of opCases() have", isInput);
  const inputs = sample.inputs.map((description, i) => ({
    tensor: input(`input${i}`, description.shape, description.dtype),
    data: sampleData(description, seedOf(`${sample.title} ${i}`)),
  }));
  const output = sample.build(...inputs.map(({ tensor }) => tensor));
  return { output, inputs, feeds: new Map(inputs.map(({ tensor, data }) => [tensor, data])) };
}

function isKind({ kind, low, high, avoid, offset, values }: Readonly<Record<string, unknown>>): boolean {
  const isList = (list: unknown): boolean => isArray(list) && Array.from(list).every((value) => typeof value === "number");
  if (kind === "list") return isList(values);
  const isRange = Number.isFinite(low) && Number.isFinite(high);
  return isRange && (kind === "integers" || (kind === "range" && isList(avoid)) || (kind === "distinct" && Number.isFinite(offset)));
}

const arrays: { readonly [Type in DType]: { from(values: ArrayLike<number>): HostData } } = {
  float32: Float32Array,
  int32: Int32Array,
  uint8: Uint8Array,
};

function sampleData({ shape, dtype, values }: SampleInput, seed: bigint): HostData {
  const draws = uniformDraws(sizeOf(shape), 0, 0, seed);
  return arrays[dtype].from(sampleValues(values, draws));
}

function sampleValues(values: SampleInput["values"], draws: Float64Array): ArrayLike<number> {
  switch (values.kind) {
    case "list":
      return values.values;
    case "integers":
      return draws.map((u) => values.low + Math.floor(u * (values.high - values.low)));
    case "range":
      return draws.map((u) => pushed(values.low + u * (values.high - values.low), values.avoid));
    case "distinct": {
      // The rank of each draw among all: a random permutation.
      const places = Float64Array.from(draws.keys()).sort((a, b) => draws[a]! - draws[b]!);
      const spacing = (values.high - values.low) / draws.length;
      return places.map((place) => values.low + (place + 0.25 + values.offset) * spacing);
    }
  }
}

const CLEARANCE = 0.1;

/** The value, moved to the nearest place that is clear of every point. */
function pushed(value: number, points: readonly number[]): number {
  const near = points.find((point) => Math.abs(value - point) < CLEARANCE);
  if (near === undefined) return value;
  return value < near ? near - CLEARANCE : near + CLEARANCE;
}

/** A number from a text: FNV-1a over its characters. */
function seedOf(text: string): bigint {
  let hash = 0x811c9dc5;
  for (const character of text) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193) >>> 0;
  return BigInt(hash);
}
