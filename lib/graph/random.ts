import { checkOptions } from "./arguments.js";
import { checkStream, checkUsersStream, FIRST_RESERVED_STREAM } from "./leaves.js";
import { batchIndex, normalDraws, uniformDraws } from "./philox.js";
import { calledBy, checkWhole, makeNode, type None, notDifferentiable, type OpRow, type Rows } from "./table.js";
import { checkShape, type Shape, sizeOf, type Tensor } from "./tensor.js";

export { FIRST_RESERVED_STREAM };

type StreamAttributes = { readonly stream: number };
/** What {@link shuffledIndices} is told. */
export type ShuffledIndicesOptions = { readonly rows: number; readonly batch: number; readonly shuffle: boolean; readonly stream: number };

interface RandomSignatures {
  uniform: { inputs: None; attributes: StreamAttributes };
  normal: { inputs: None; attributes: StreamAttributes };
  shuffled_indices: { inputs: None; attributes: ShuffledIndicesOptions };
}

function draw<Name extends "uniform" | "normal">(
  name: Name,
  draws: typeof uniformDraws,
  make: (shape: Shape, stream: number) => Tensor,
): OpRow<Name, None, StreamAttributes> {
  return {
    name,
    family: "random",
    type(_inputs, attributes, requested) {
      const shape = requested?.shape ?? [];
      checkShape(name, shape);
      checkStream(name, attributes.stream);
      return { shape, dtype: "float32" };
    },
    derivative: notDifferentiable,
    evaluate: (_inputs, attributes, type, { step, seed }) => draws(sizeOf(type.shape), attributes.stream, step, seed),
    cases: [
      { name: "matrix", inputs: [], build: () => make([3, 5], 7) },
      { name: "scalar", inputs: [], build: () => make([], 0) },
      { name: "large", inputs: [], large: true, build: () => make([128, 401], 2 ** 32 - 1) },
    ],
  };
}

export const randomRows: Rows<RandomSignatures> = {
  uniform: draw("uniform", uniformDraws, drawUniform),
  normal: draw("normal", normalDraws, drawNormal),
  shuffled_indices: {
    name: "shuffled_indices",
    family: "random",
    type(_inputs, { rows, batch, stream }) {
      checkWhole("shuffledIndices", "rows", rows, 1, 2 ** 31 - 1);
      checkWhole("shuffledIndices", "batch", batch, 1, 2 ** 31 - 1);
      checkStream("shuffledIndices", stream);
      return { shape: [batch], dtype: "int32" };
    },
    derivative: notDifferentiable,
    evaluate: (_inputs, attributes, _type, { step, seed }) =>
      Float64Array.from({ length: attributes.batch }, (_, i) => batchIndex({ step, i }, attributes, seed)),
    cases: [
      { name: "shuffled", inputs: [], build: () => shuffledIndices({ rows: 10, batch: 4, shuffle: true, stream: 3 }) },
      { name: "across epochs", inputs: [], build: () => shuffledIndices({ rows: 5, batch: 13, shuffle: true, stream: 1 }) },
      { name: "in order", inputs: [], build: () => shuffledIndices({ rows: 7, batch: 5, shuffle: false, stream: 0 }) },
      { name: "one row", inputs: [], build: () => shuffledIndices({ rows: 1, batch: 3, shuffle: true, stream: 0 }) },
      { name: "large", inputs: [], large: true, build: () => shuffledIndices({ rows: 60_000, batch: 1024, shuffle: true, stream: 9 }) },
    ],
  },
};

/**
 * Uniform noise in [0, 1), float32. A pure function of the run's seed, the step, the stream and the element: give each
 * draw of a graph a stream of its own, or they are equal.
 *
 * @param stream from 0 to 2³¹ − 1; those above are what the parts of a model draw from, so that no draw of yours equals one of
 *   theirs. Where you are handed a noise source, ask it instead: its draws differ from all others
 */
export function uniform(shape: Shape, stream: number): Tensor;
export function uniform(shape: Shape, stream: number, ...surplus: unknown[]): Tensor {
  return calledBy(uniform, surplus, () => {
    checkUsersStream("uniform", stream);
    return drawUniform(shape, stream);
  });
}

/**
 * Standard normal noise, float32, keyed like {@link uniform}.
 *
 * @example
 * ```ts
 * const z = add(mean, multiply(standardDeviation, normal(mean.shape, 0)));
 * ```
 */
export function normal(shape: Shape, stream: number): Tensor;
export function normal(shape: Shape, stream: number, ...surplus: unknown[]): Tensor {
  return calledBy(normal, surplus, () => {
    checkUsersStream("normal", stream);
    return drawNormal(shape, stream);
  });
}

/** {@link uniform} from any stream, the reserved ones included. */
export function drawUniform(shape: Shape, stream: number): Tensor {
  return makeNode(randomRows.uniform, [], { stream }, { shape, dtype: "float32" });
}

/** {@link normal} from any stream, the reserved ones included. */
export function drawNormal(shape: Shape, stream: number): Tensor {
  return makeNode(randomRows.normal, [], { stream }, { shape, dtype: "float32" });
}

/**
 * The rows of this step's batch, int32 `[batch]`: position p = step * batch + i is row p % rows of epoch p / rows, in an
 * order of its own in every epoch when shuffled. Every row comes once per epoch and every batch has the same size. The stream is
 * one that {@link uniform} takes, and no draw's.
 */
export function shuffledIndices(options: ShuffledIndicesOptions): Tensor;
export function shuffledIndices(options: ShuffledIndicesOptions, ...surplus: unknown[]): Tensor {
  return calledBy(shuffledIndices, surplus, () => {
    const { rows, batch, shuffle, stream } = checkOptions("shuffledIndices", options, ["rows", "batch", "shuffle", "stream"], ["shuffle"]);
    checkUsersStream("shuffledIndices", stream);
    return drawIndices({ rows, batch, shuffle, stream });
  });
}

/** {@link shuffledIndices} from any stream, the reserved ones included. */
export function drawIndices({ rows, batch, shuffle, stream }: ShuffledIndicesOptions): Tensor {
  return makeNode(randomRows.shuffled_indices, [], { rows, batch, shuffle, stream });
}
