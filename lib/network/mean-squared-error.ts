// The loss of regressions.
import { mean, reshapeTensor, type Shape, sizeOf, square, subtract } from "../graph/index.js";
import { defineLoss, type Loss, losses, readField } from "./losses.js";

/** What a regression predicts. */
export interface ValuePredictions {
  /** rows × product(shape), row-major. */
  readonly values: Float32Array;
}

/** How well a regression does. */
export interface ValueEvaluation {
  /** The mean squared error over rows and outputs, in the square of the field's unit. */
  readonly loss: number;
  /** The mean squared error over the rows, for every output. */
  readonly lossPerOutput: Float64Array;
  readonly rows: number;
}

/** The loss of {@link meanSquaredError}, as frozen plain data. */
export interface MeanSquaredError extends Loss<ValuePredictions, ValueEvaluation> {
  readonly kind: "meanSquaredError";
  readonly field: string;
  readonly shape: Shape;
}

/** Options of {@link meanSquaredError}. */
export interface MeanSquaredErrorOptions {
  /** The field of the rows that holds what is to be predicted; default `"y"`. Numbers of about unit scale suit networks. */
  readonly field?: string;
  /** The shape of one row's value; default `[]`, a number. */
  readonly shape?: Shape;
}

/**
 * Trains a network as a regression: the squared error, a mean over the rows of a batch and over the outputs of a row.
 *
 * @example
 * ```ts
 * const model = network({ input: [8], layers: [dense(32, { activation: "relu" })], loss: meanSquaredError() });
 * await model.fit({ x: rows, y: prices });
 * ```
 */
export function meanSquaredError(options: MeanSquaredErrorOptions = {}, ...surplus: never[]): MeanSquaredError {
  return losses.construct("meanSquaredError", { options, surplus, usual: "field" }) as MeanSquaredError;
}

defineLoss<MeanSquaredError>("meanSquaredError", {
  parse: (options) => ({
    kind: "meanSquaredError",
    field: readField(options, "y"),
    shape: options.raw("shape") === undefined ? [] : [...options.shape("shape")],
  }),
  fields: ({ field, shape }) => ({ [field]: { shape, dtypes: ["float32"] } }),
  outputShape: ({ shape }) => (shape.length === 0 ? [1] : shape),
  values: ({ field, shape }, output, fields) => {
    const flat = [output.shape[0]!, sizeOf(shape)];
    const lossPerOutput = square(subtract(reshapeTensor(output, flat), reshapeTensor(fields[field]!, flat)));
    return { loss: mean(lossPerOutput, { axes: [1] }), lossPerOutput };
  },
  predictions: ({ shape }, output) => ({ values: reshapeTensor(output, [output.shape[0]!, sizeOf(shape)]) }),
});
