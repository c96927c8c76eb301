// The VAE's own quantities on arrays. The first axis counts rows; log-likelihoods and divergences are sums over all other
// axes, in nats, so that their mean over rows is what the ELBO is made of. A vector is one row.
import { VaeError } from "../errors.js";
import { checkOptions, noMore } from "../graph/arguments.js";
import { add, divide, exp, expm1, log, multiply, normal, softplus, square, subtract, sum } from "../graph/index.js";
import { toTensor } from "../graph/leaves.js";
import { calledBy } from "../graph/table.js";
import { sameShape, showShape, type Tensor, type TensorLike } from "../graph/tensor.js";
import type { NdArray, Operand } from "./ndarray.js";
import { toNdArray } from "./ndarray.js";
import { type Draw, drawOptions, type Plans } from "./plans.js";

/** The functions of distributions, on arrays. */
export interface DistributionFunctions {
  /**
   * A draw from N(μ, σ²) through which gradients reach μ and σ: z = μ + exp(½ log σ²) · ε (Kingma & Welling 2014, §2.4).
   *
   * @param mean μ, of any shape
   * @param logVariance log σ², of the same shape
   * @param noise ε, broadcast with the mean (`[samples, rows, latent]` gives several draws per row), or how to draw a
   *   standard normal of the mean's shape; default `{ seed: 0, step: 0, stream: 0 }`
   *
   * @example
   * ```ts
   * const z = await reparameterize(mean, logVariance, { seed: 1, step: 42 });
   * ```
   */
  reparameterize(mean: Operand, logVariance: Operand, noise?: Operand | Draw): Promise<NdArray>;
  /**
   * KL(N(μ, σ²) ‖ N(0, 1)) of every row in nats, in closed form: ½ Σ (μ² + σ² − 1 − log σ²) (Kingma & Welling 2014,
   * appendix B).
   *
   * @param mean μ, `[rows, latent]`
   * @param logVariance log σ², of the same shape
   * @returns `[rows]`
   * @throws VaeError `"shape"` unless both have one shape
   */
  gaussianKl(mean: Operand, logVariance: Operand): Promise<NdArray>;
  /**
   * log p(x) of every row in nats, for independent Bernoulli values with probabilities sigmoid(l):
   * Σ x log p + (1 − x) log(1 − p) = Σ x·l − softplus(l), finite for every finite logit (Kingma & Welling 2014, appendix
   * C.1).
   *
   * @param logits l, `[rows, ...]`
   * @param x values in [0, 1], of the same shape; float32
   * @returns `[rows]`
   * @throws VaeError `"shape"` unless both have one shape
   */
  bernoulliLogLikelihood(logits: Operand, x: Operand): Promise<NdArray>;
  /**
   * log N(x; μ, σ²) of every row in nats: Σ −½ ((x − μ) / σ)² − log σ − ½ log 2π, a density with all its constants (Kingma &
   * Welling 2014, appendix C.2).
   *
   * @param mean μ, `[rows, ...]`
   * @param x of the same shape
   * @param scale σ > 0, a standard deviation and not a variance: a number, or an array that broadcasts to the mean's shape
   * @returns `[rows]`
   * @throws VaeError `"shape"` for shapes that do not fit, `"argument"` for a number that is not above 0
   */
  gaussianLogLikelihood(mean: Operand, x: Operand, scale: Operand): Promise<NdArray>;
}

export function distributionFunctions(plans: Plans): DistributionFunctions {
  const reparameterize: DistributionFunctions["reparameterize"] = async (mean, logVariance, noise = {}, ...surplus: unknown[]) => {
    calledBy(reparameterize, surplus, () => undefined);
    const shared = { operation: "reparameterize", caller: reparameterize, build: reparameterized };
    if (typeof noise === "number" || toNdArray("reparameterize", noise)) {
      return plans.run({ ...shared, arguments: [mean, logVariance, noise] }) as Promise<NdArray>;
    }
    const draw = calledBy(reparameterize, [], () => checkOptions(shared.operation, noise as Draw, drawOptions));
    return plans.run({ ...shared, arguments: [mean, logVariance, { stream: draw.stream ?? 0 }], draw }) as Promise<NdArray>;
  };
  const gaussianKl: DistributionFunctions["gaussianKl"] = async (...inputs) =>
    plans.run({ operation: "gaussianKl", caller: gaussianKl, arguments: inputs, build: gaussianDivergence }) as Promise<NdArray>;
  const bernoulliLogLikelihood: DistributionFunctions["bernoulliLogLikelihood"] = async (...inputs) =>
    plans.run({
      operation: "bernoulliLogLikelihood",
      caller: bernoulliLogLikelihood,
      arguments: inputs,
      build: bernoulliLogDensity,
    }) as Promise<NdArray>;
  const gaussianLogLikelihood: DistributionFunctions["gaussianLogLikelihood"] = async (...inputs) =>
    plans.run({
      operation: "gaussianLogLikelihood",
      caller: gaussianLogLikelihood,
      arguments: inputs,
      build: gaussianLogDensity,
    }) as Promise<NdArray>;
  return { reparameterize, gaussianKl, bernoulliLogLikelihood, gaussianLogLikelihood };
}

function reparameterized(mean: TensorLike, logVariance: TensorLike, noise: TensorLike | { readonly stream: number }): Tensor {
  const [center, spread] = alike("reparameterize", { mean, logVariance });
  const epsilon = typeof noise === "object" && "stream" in noise ? normal(center.shape, noise.stream) : noise;
  return add(center, multiply(exp(multiply(0.5, spread)), epsilon));
}

function gaussianDivergence(mean: TensorLike, logVariance: TensorLike, ...surplus: unknown[]): Tensor {
  noMore("gaussianKl", surplus);
  const [center, spread] = alike("gaussianKl", { mean, logVariance });
  // σ² − 1 as expm1 keeps its digits near the prior, where σ² is close to 1.
  return multiply(0.5, sumOfRows(add(square(center), subtract(expm1(spread), spread))));
}

function bernoulliLogDensity(logits: TensorLike, x: TensorLike, ...surplus: unknown[]): Tensor {
  noMore("bernoulliLogLikelihood", surplus);
  const [l, values] = alike("bernoulliLogLikelihood", { logits, x });
  return sumOfRows(subtract(multiply(values, l), softplus(l)));
}

function gaussianLogDensity(mean: TensorLike, x: TensorLike, scale: TensorLike, ...surplus: unknown[]): Tensor {
  noMore("gaussianLogLikelihood", surplus);
  const operation = "gaussianLogLikelihood";
  const [center, values] = alike(operation, { mean, x });
  if (typeof scale === "number" && !(scale > 0 && scale < Infinity)) {
    throw new VaeError({ code: "argument", operation, expected: "a finite scale above 0", received: String(scale) });
  }
  const logScale = typeof scale === "number" ? Math.log(scale) : log(scale);
  const squares = multiply(-0.5, square(divide(subtract(values, center), scale)));
  const density = subtract(squares, add(logScale, 0.5 * Math.log(2 * Math.PI)));
  if (!sameShape(density.shape, center.shape)) {
    throw new VaeError({
      code: "shape",
      operation,
      expected: `a scale that broadcasts to the mean's shape ${showShape(center.shape)}`,
      received: showShape(toTensor(operation, scale).shape),
    });
  }
  return sumOfRows(density);
}

/** Two arguments as tensors of one shape: broadcasting one of them would count it several times, which nobody means. */
function alike(operation: string, named: Readonly<Record<string, TensorLike>>): readonly [Tensor, Tensor] {
  const names = Object.keys(named);
  const [a, b] = Object.values(named).map((value) => toTensor(operation, value)) as [Tensor, Tensor];
  if (sameShape(a.shape, b.shape)) return [a, b];
  throw new VaeError({
    code: "shape",
    operation,
    expected: `${names.join(" and ")} of one shape`,
    received: `${showShape(a.shape)} and ${showShape(b.shape)}`,
    hint: "broadcastTo repeats an array to a larger shape",
  });
}

/** The sum over all axes but the first; over everything for a vector. */
function sumOfRows(x: Tensor): Tensor {
  return x.shape.length < 2 ? sum(x) : sum(x, { axes: x.shape.map((_, axis) => axis).slice(1) });
}
