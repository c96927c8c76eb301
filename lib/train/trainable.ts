// All that training and inference know of what they run: parameters in their places, the fields of its rows, and its terms.
import { type DType, type Shape, sizeOf, type Tensor } from "../graph/index.js";
import type { Dataset } from "../io/dataset.js";
import { type NamedParameter, type Place, parametersIn, type Scope } from "../nn/index.js";

/** One field of the rows that are trained on. */
export interface FieldSpec {
  /** The shape of one row's value; `[]` for a number. */
  readonly shape: Shape;
  /** How it may be stored. */
  readonly dtypes: readonly DType[];
  /** The values that it may have; any finite ones when left out. */
  readonly range?: () => { readonly low: number; readonly high: number } | undefined;
  /** Whether it should have means near 0 and standard deviations near 1. */
  readonly unitScale?: boolean;
  /** Names of its categories, for int32 fields that hold numbers of them. */
  readonly names?: readonly string[];
}

/** Tensors of fields by name, `[rows, …shape]` each, as they are stored. */
export type Batch = Readonly<Record<string, Tensor>>;

/** Scalars by name. */
export type Terms = Readonly<Record<string, Tensor>>;

/**
 * What can be trained: a VAE, a classifier, a probe, a discriminator, … Training knows nothing else of it.
 *
 * @example Least squares:
 * ```ts
 * const place = placeOf("", { networks: { body: { layers: [dense(1)], input: [4] } } }, "regression");
 * const trainable: Trainable = {
 *   place,
 *   fields: { x: { shape: [4], dtypes: ["float32"] }, y: { shape: [1], dtypes: ["float32"] } },
 *   terms: ({ x, y }, scope) => ({ loss: mean(square(subtract(scope.network("body")(x!), y!))) }),
 * };
 * ```
 */
export interface Trainable {
  /** Parameters, networks and parts, under their names. */
  readonly place: Place;
  /** What rows consist of; there is one called x. */
  readonly fields: Readonly<Record<string, FieldSpec>>;
  /** Scalars of one batch: `loss`, which is minimised, the losses of groups of parameters, and whatever else is to be recorded. */
  terms(batch: Batch, scope: Scope): Terms;
  /**
   * What is learned of the rows of the first training before its first step, by the names of parameters that are not trained: means
   * and deviations of columns.
   */
  fit?(rows: Dataset): Readonly<Record<string, Float32Array>>;
}

/** All its parameters, in the order of their names' places. */
export function parametersOf({ place }: Trainable): readonly NamedParameter[] {
  const known = parameters.get(place) ?? parametersIn(place);
  parameters.set(place, known);
  return known;
}

const parameters = new WeakMap<Place, readonly NamedParameter[]>();

/** Values of a field in one row. */
export function fieldSize({ shape }: Pick<FieldSpec, "shape">): number {
  return sizeOf(shape);
}
