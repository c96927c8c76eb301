// How rows are brought into the units that a model works in. What is learned of the training rows is kept with the weights, so it is
// saved with the model, applied to whatever rows come later, and inverted in what the model gives.
import { describe, VaeError } from "../errors.js";
import { add, divide, multiply, type Shape, sizeOf, subtract, type Tensor } from "../graph/index.js";
import type { Dataset } from "../io/dataset.js";
import { checkNames } from "../io/names.js";
import { standardizer } from "../io/standardizer.js";
import { type Behaviour, type Branded, type Fields, type ParameterSpec, Registry } from "../nn/index.js";

/** A preparation of the rows of x, as frozen plain data. */
export type Preparation = Branded<"preparation">;

/** What the preparations of one kind do. */
interface PreparationBehaviour<P extends Preparation = Preparation> extends Behaviour {
  parse(options: Fields): P;
  /** What is learned of the training rows, with what it is before that. */
  statistics(preparation: P, shape: Shape): Readonly<Record<string, ParameterSpec>>;
  /** The statistics of training rows. */
  fit(preparation: P, rows: Dataset): Readonly<Record<string, Float32Array>>;
  /** Rows `[rows, size]` as they are stored, to those that the model works with. */
  apply(preparation: P, x: Tensor, statistics: Readonly<Record<string, Tensor>>): Tensor;
  /** The way back, for what the model gives. */
  invert(preparation: P, x: Tensor, statistics: Readonly<Record<string, Tensor>>): Tensor;
}

export const preparations = new Registry<PreparationBehaviour>("preparation", ["statistics", "fit", "apply", "invert"]);

interface Standardize extends Preparation {
  readonly kind: "standardize";
  readonly except: readonly string[];
}

/** Options of {@link standardize}. */
export interface StandardizeOptions {
  /** Names of columns that stay as they are; default none. Columns of 0 and 1 of a text's categories (`"colour=red"`) do so anyway. */
  readonly except?: readonly string[];
}

/**
 * Every value of a row less its mean over the training rows, divided by its standard deviation (over the rows); a constant column
 * becomes 0. The statistics are learned from the rows of the first training, saved with the model as the parameters `prepare.mean`
 * and `prepare.standardDeviation`, and never trained. All methods take rows in their own units, and what `decode`,
 * `reconstruct`, `sample` and `interpolate` give is in these units again; nats of `evaluate` and `score` are those of the
 * standardized rows. The first training must be on rows that are all there, not on a stream; later ones may be on either.
 *
 * @example
 * ```ts
 * const model = vae({ ...presets.table({ columns: 4 }), prepare: standardize() });
 * await model.fit(await datasets.csv("sensors.csv"));
 * ```
 */
export function standardize(options: StandardizeOptions = {}, ...surplus: never[]): Preparation {
  return preparations.construct("standardize", { options, surplus, usual: "except" });
}

preparations.define("standardize", {
  parse: (options): Standardize => {
    const except = options.given("except", []);
    checkNames(options.operation, except, "except");
    return { kind: "standardize", except: [...(except as readonly string[])] };
  },
  statistics: (_, shape) => ({
    mean: { shape: [sizeOf(shape)], initializer: "zeros", trainable: false },
    standardDeviation: { shape: [sizeOf(shape)], initializer: "ones", trainable: false },
  }),
  fit: (preparation, rows) => {
    const { except } = preparation as Standardize;
    const { columns = [], categories = {} } = rows;
    const unknown = except.find((name) => !columns.includes(name));
    if (unknown !== undefined) {
      throw new VaeError({
        code: "argument",
        operation: "standardize",
        expected: `except to name columns of ${rows.name}`,
        received: describe(unknown),
      });
    }
    const indicators = Object.entries(categories).flatMap(([name, texts]) => texts.map((text) => `${name}=${text}`));
    const kept = [...new Set([...except, ...indicators])].filter((name) => columns.includes(name));
    // Rows that were standardized before are so again: that changes nothing.
    const { standardization: _before, ...own } = rows;
    const { mean, standardDeviation } = standardizer(own, { except: kept });
    return { mean: Float32Array.from(mean), standardDeviation: Float32Array.from(standardDeviation) };
  },
  apply: (_, x, { mean, standardDeviation }) => divide(subtract(x, mean!), standardDeviation!),
  invert: (_, x, { mean, standardDeviation }) => add(multiply(x, standardDeviation!), mean!),
});
