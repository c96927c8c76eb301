import { VaeError } from "../errors.js";
import { add, matmul, reshapeTensor, type Shape, showShape, sizeOf } from "../graph/index.js";
import { type Activation, activate, activations } from "./activations.js";
import { defineLayer, type Layer, type LayerOptions, layers } from "./layer.js";
import { type Initializer, initializers } from "./parameters.js";

/** A fully connected layer, as data. */
export interface Dense extends Layer {
  readonly kind: "dense";
  readonly units: number;
  readonly activation: Activation;
  readonly bias: boolean;
  readonly initializer: Initializer;
}

/** Options of {@link dense}. */
export interface DenseOptions extends LayerOptions {
  /** Default `"linear"`. */
  readonly activation?: Activation;
  /** Whether a bias is added; default true. */
  readonly bias?: boolean;
  /**
   * How the weights begin; default `"glorotUniform"`, as in Keras; `"heUniform"` suits deep stacks of relu. Biases begin at
   * zero, except with `"fanInUniform"`, which draws them like the weights.
   */
  readonly initializer?: Initializer;
}

/**
 * A fully connected layer, activation(x · weight + bias), with weight `[inputs, units]` and bias `[units]`. A sample of
 * more than one axis is flattened first, so `dense(400)` takes an image as it is.
 */
export function dense(units: number, options: DenseOptions = {}, ...surplus: never[]): Layer {
  return layers.construct("dense", { positional: { units }, options, surplus, usual: "activation" });
}

/** Columns of a matrix product at most (native/plan_check.h). */
const MOST_COLUMNS = 2 ** 26;

defineLayer<Dense>("dense", {
  parse: (options) => {
    const units = options.number("units", { minimum: 1, integer: true });
    const activation = options.choice("activation", activations, "linear");
    const bias = options.boolean("bias", true);
    const initializer = options.choice("initializer", initializers, "glorotUniform");
    return { kind: "dense", units, activation, bias, initializer };
  },
  outputShape: ({ units }, input) => {
    if (Math.max(sizeOf(input), units) <= MOST_COLUMNS) return [units];
    const received = `a sample ${showShape(input)} and ${units} units`;
    throw new VaeError({ code: "shape", operation: "dense", expected: "at most 2^26 values in a sample and at most 2^26 units", received });
  },
  declare: ({ units, bias, initializer }, input: Shape) => {
    const fan = { fanIn: sizeOf(input), fanOut: units };
    const weight = { shape: [fan.fanIn, units], initializer, ...fan };
    if (!bias) return { parameters: { weight } };
    return {
      parameters: { weight, bias: { shape: [units], initializer: initializer === "fanInUniform" ? initializer : "zeros", ...fan } },
    };
  },
  apply: ({ activation }, x, { parameters: { weight, bias } }) => {
    const rows = x.shape.length === 2 ? x : reshapeTensor(x, [x.shape[0]!, sizeOf(x.shape.slice(1))]);
    const product = matmul(rows, weight!);
    return activate(activation, bias === undefined ? product : add(product, bias));
  },
});
