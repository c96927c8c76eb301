// The loss of classifiers.
import {
  cast,
  constantTensor,
  softmaxCrossEntropy as entropies,
  equal,
  max,
  reshapeTensor,
  softmax,
  subtract,
  type Tensor,
  topK,
  where,
} from "../graph/index.js";
import { readCategories } from "../train/categories.js";
import { defineLoss, type Loss, losses, readField } from "./losses.js";

/** What a classifier predicts. */
export interface ClassPredictions {
  /** The probability of every category, rows × categories, row-major; each row adds up to 1. */
  readonly probabilities: Float32Array;
  /** The number of the most probable category of every row, the first of equals. */
  readonly labels: Int32Array;
}

/** How well a classifier does. */
export interface ClassEvaluation {
  /** The mean cross-entropy in nats per row. */
  readonly loss: number;
  /** The part of the rows whose most probable category is the right one, from 0 to 1. */
  readonly accuracy: number;
  readonly rows: number;
}

/** The loss of {@link crossEntropy}, as frozen plain data. */
export interface CrossEntropy extends Loss<ClassPredictions, ClassEvaluation> {
  readonly kind: "crossEntropy";
  /** Of the categories, by number. */
  readonly names: readonly string[];
  readonly field: string;
}

/** Options of {@link crossEntropy}. */
export interface CrossEntropyOptions {
  /** The field of the rows that holds the categories; default `"label"`, where loaders put labels. */
  readonly field?: string;
}

/**
 * Trains a network as a classifier: −log p(category | x), in nats, with p the softmax of as many outputs as there are categories.
 *
 * The field holds whole numbers from 0, or has names of its own, which are matched with these: the numbers of another data set may
 * be others. An unknown category is `"data"`.
 *
 * @param names of the categories, all different; a number n stands for `"0"` … `"n − 1"`
 * @example
 * ```ts
 * network({ input: [28, 28, 1], layers: [dense(64, { activation: "relu" })], loss: crossEntropy(10) });
 * network({ input: [4], layers: [], loss: crossEntropy(["setosa", "versicolor", "virginica"], { field: "species" }) });
 * ```
 */
export function crossEntropy(names: number | readonly string[], options: CrossEntropyOptions = {}, ...surplus: never[]): CrossEntropy {
  return losses.construct("crossEntropy", { positional: { names }, options, surplus, usual: "field" }) as CrossEntropy;
}

defineLoss<CrossEntropy>("crossEntropy", {
  parse: (options) => ({ kind: "crossEntropy", names: readCategories(options), field: readField(options, "label") }),
  fields: ({ names, field }) => ({ [field]: { shape: [], dtypes: ["int32"], names } }),
  outputShape: ({ names }) => [names.length],
  values: ({ field }, logits, fields) => {
    const category = fields[field]!;
    return { loss: entropies(logits, category), accuracy: equal(mostProbable(logits), cast(category)) };
  },
  predictions: (_, logits) => ({ probabilities: softmax(logits), labels: reshapeTensor(topK(logits, 1).indices, [logits.shape[0]!]) }),
});

/** The first category of the greatest output, as a float32; −1 where NaN has no greatest. Cheaper in every step than sorting the outputs. */
function mostProbable(logits: Tensor): Tensor {
  const count = logits.shape.at(-1)!;
  const fromLast = constantTensor({ data: Array.from({ length: count }, (_, index) => count - index), shape: [count] });
  const places = max(where(equal(logits, max(logits, { axes: -1, keepDimensions: true })), fromLast, 0), { axes: -1 });
  return where(places, subtract(count, places), -1);
}
