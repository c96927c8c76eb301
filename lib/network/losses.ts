// What a network is trained for, as data: which fields of the rows it reads, what it minimises, and what it predicts.
import type { Shape, Tensor } from "../graph/index.js";
import { checkFieldName } from "../io/field.js";
import { type Behaviour, type Branded, type Declared, type Fields, Registry, type Scope } from "../nn/index.js";
import type { Batch, FieldSpec } from "../train/trainable.js";

/** Where a {@link Loss} keeps its types; there is no such property when a program runs. */
export declare const gives: unique symbol;

/**
 * What a network is trained for, as frozen plain data.
 *
 * @typeParam P what `predict` gives with it, arrays by name
 * @typeParam E what `evaluate` gives with it
 */
export interface Loss<P extends object = object, E extends object = object> extends Branded<"loss"> {
  readonly [gives]?: { readonly predictions: P; readonly evaluation: E };
}

/** Values per row by name, `[rows]` or `[rows, k]`. */
export type RowValues = { readonly loss: Tensor } & Readonly<Record<string, Tensor>>;

/**
 * What the losses of one kind do.
 *
 * @example The absolute error:
 * ```ts
 * defineLoss("absoluteError", {
 *   parse: () => ({ kind: "absoluteError" }),
 *   fields: () => ({ y: { shape: [], dtypes: ["float32"] } }),
 *   outputShape: () => [1],
 *   values: (_, output, { y }) => ({ loss: absolute(subtract(reshape(output, y!.shape), y!)) }),
 *   predictions: (_, output) => ({ values: output }),
 * });
 * network({ input: [4], layers: [dense(8)], loss: { kind: "absoluteError" } });
 * ```
 */
export interface LossBehaviour<L extends Loss = Loss> extends Behaviour {
  parse(options: Fields): L;
  /** The fields of the rows that it reads beside x, by name. */
  fields(loss: L): Readonly<Record<string, FieldSpec>>;
  /** The shape of what the network gives for one row; a linear head is added where the layers end in another one. */
  outputShape(loss: L): Shape;
  /** Parameters and networks of its own, called `loss.…` in the whole. */
  declare?(loss: L): Declared;
  /**
   * Numbers for every row, float32 `[rows]`, that depend on this row and the parameters alone. The mean of `loss` over a batch is
   * minimised; the means of the others are recorded beside it, and `evaluate` gives all of them over all rows. Of `[rows, k]` it gives k
   * means, which are not recorded.
   *
   * @param output of the network, `[rows, …outputShape]`
   * @param fields the loss's own, `[rows, …shape]` each
   */
  values(loss: L, output: Tensor, fields: Batch, scope: Scope): RowValues;
  /** What `predict` gives, tensors `[rows]` or `[rows, k]` by name; of int32 ones it makes `Int32Array`s. */
  predictions(loss: L, output: Tensor, scope: Scope): Readonly<Record<string, Tensor>>;
}

export const losses = new Registry<LossBehaviour>("loss", ["fields", "outputShape", "values", "predictions"], ["declare"]);

/** Adds a kind of loss, for every {@link network} from here on. */
export function defineLoss<L extends Loss>(kind: string, behaviour: LossBehaviour<L>, ...surplus: never[]): void {
  losses.define(kind, behaviour, surplus);
}

/** Reads the option `field`: where the rows keep what is to be predicted. */
export function readField(options: Fields, usual: string): string {
  const name = options.given("field", usual);
  checkFieldName(name, options.operation);
  if (name === "x") throw options.wrong("field", "a field beside x");
  return name;
}
