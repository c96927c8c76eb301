// The Gaussian: one distribution, as a posterior, as the standard normal prior, and as a likelihood.
import { describe, VaeError } from "../errors.js";
import { noMore } from "../graph/arguments.js";
import {
  absolute,
  add,
  broadcastTo,
  clamp,
  constantTensor,
  exp,
  isTensor,
  multiply,
  reciprocal,
  sign,
  sizeOf,
  slice,
  softplus,
  square,
  subtract,
  type Tensor,
} from "../graph/index.js";
import { isArray } from "../graph/kinds.js";
import type { Declared, Fields, Tagged } from "../nn/index.js";
import {
  type Distribution,
  defineLikelihood,
  definePosterior,
  definePrior,
  type FamilyBehaviour,
  type Likelihood,
  likelihoods,
  type Posterior,
  type Prior,
  posteriors,
  priors,
} from "./family.js";

const LOG_2PI = Math.log(2 * Math.PI);

/** A Gaussian with independent dimensions. */
export interface GaussianDistribution extends Distribution {
  readonly family: "gaussian";
  /** `[rows, size]`. */
  readonly mean: Tensor;
  /** `[rows, size]`. */
  readonly standardDeviation: Tensor;
  /** log σ², of any shape that broadcasts to `[rows, size]`. */
  readonly logVariance: Tensor;
}

/**
 * The Gaussian with these means, `[rows, size]`, and log-variances, of a shape that broadcasts to it.
 *
 * @throws VaeError `"argument"` for what is no tensor
 */
export function gaussianDistribution(mean: Tensor, logVariance: Tensor, ...surplus: never[]): GaussianDistribution {
  const operation = "gaussianDistribution";
  noMore(operation, surplus);
  for (const [name, tensor] of Object.entries({ mean, logVariance })) {
    if (isTensor(tensor)) continue;
    throw new VaeError({ code: "argument", operation, expected: `${name} to be a tensor`, received: describe(tensor) });
  }
  const deviation = exp(multiply(0.5, logVariance));
  return {
    family: "gaussian",
    mean,
    standardDeviation: broadcastTo(deviation, mean.shape),
    logVariance,
    draw: (noise) => {
      const epsilon = noise.normal(mean.shape);
      // log N(μ + σε; μ, σ²) = −½ (log 2π + log σ² + ε²)
      const logDensity = multiply(-0.5, add(add(logVariance, LOG_2PI), square(epsilon)));
      return { value: add(mean, multiply(deviation, epsilon)), logDensity };
    },
    // log N(z; μ, σ²) = −½ (log 2π + log σ² + (z − μ)²/σ²)
    logDensity: (z) => {
      const distance = multiply(square(subtract(z, mean)), exp(multiply(-1, logVariance)));
      return multiply(-0.5, add(add(logVariance, LOG_2PI), distance));
    },
  };
}

/** How a Gaussian comes by its standard deviation. */
type Scale = number | "learned" | "perDimension" | "predicted";

interface Gaussian extends Tagged {
  readonly kind: "gaussian";
  /** Absent in a posterior: predicted. */
  readonly scale?: Scale;
  /** Of likelihoods. */
  readonly minimumScale?: number;
  /** Of posteriors. */
  readonly logVarianceRange?: readonly [low: number, high: number];
}

const DEFAULT_RANGE = [-30, 20] as const;

function parseRange(options: Fields): readonly [low: number, high: number] {
  const range = options.given("logVarianceRange", DEFAULT_RANGE);
  const [low, high, ...rest] = (isArray(range) ? range : []) as readonly unknown[];
  if (typeof low !== "number" || typeof high !== "number" || rest.length > 0 || !(low < high) || !Number.isFinite(high - low)) {
    throw options.wrong("logVarianceRange", "two finite numbers [low, high] with low < high");
  }
  return [low, high];
}

const gaussianBehaviour: Omit<FamilyBehaviour<Gaussian>, "parse"> = {
  unitScale: true,
  headShape: ({ scale = "predicted" }, event) => (scale === "predicted" ? [2 * sizeOf(event)] : event),
  declare: ({ scale }, event): Declared => {
    if (scale !== "learned" && scale !== "perDimension") return {};
    return { parameters: { logScale: { shape: scale === "learned" ? [] : [sizeOf(event)], initializer: "zeros" } } };
  },
  distribution: (family, head, { event, rows, scope }) => {
    const { scale = "predicted" } = family;
    const size = sizeOf(event);
    if (scale === "predicted") {
      const [low, high] = predictedRange(family);
      const mean = slice(head!, [0, 0], [rows, size]);
      // Outside of the range exp overflows or the density becomes a spike that float32 cannot hold.
      return gaussianDistribution(mean, softlyBounded(slice(head!, [0, size], [rows, 2 * size]), low, high));
    }
    if (typeof scale === "number") return fixedGaussian(head!, scale);
    return scaledGaussian(head!, boundedLogScale(family.minimumScale!, scope.parameters.logScale!));
  },
};

/** A posterior says its bounds. Of a likelihood the lower one is its smallest σ, the upper one far above data of unit scale. */
function predictedRange({ logVarianceRange, minimumScale }: Gaussian): readonly [low: number, high: number] {
  return logVarianceRange ?? [2 * Math.log(minimumScale!), DEFAULT_RANGE[1]];
}

/** With log N(x; μ, σ²) = −½ ((x − μ)/σ)² − log σ − ½ log 2π for a number σ: its constants are folded here. */
function fixedGaussian(mean: Tensor, scale: number): GaussianDistribution {
  return {
    ...gaussianDistribution(mean, constantTensor(2 * Math.log(scale))),
    logDensity: (x) => add(multiply(-0.5 / scale ** 2, square(subtract(x, mean))), -0.5 * LOG_2PI - Math.log(scale)),
  };
}

/** The same for a tensor log σ. */
function scaledGaussian(mean: Tensor, logScale: Tensor): GaussianDistribution {
  return {
    ...gaussianDistribution(mean, multiply(2, logScale)),
    logDensity: (x) => {
      const squares = multiply(multiply(-0.5, square(subtract(x, mean))), exp(multiply(-2, logScale)));
      return add(subtract(squares, logScale), -0.5 * LOG_2PI);
    },
  };
}

/** A soft lower bound, with a gradient everywhere: below a hard clamp nothing would bring the scale back. */
function boundedLogScale(minimumScale: number, logScale: Tensor): Tensor {
  const low = Math.log(minimumScale);
  return add(low, softplus(subtract(logScale, low)));
}

/** Options of {@link gaussianPosterior}. */
export interface GaussianPosteriorOptions {
  /**
   * What log σ² is kept within, by a bound that is soft and has a gradient everywhere; default [-30, 20]. In the middle three fifths
   * of it, [-20, 10], the bound changes nothing.
   */
  readonly logVarianceRange?: readonly [low: number, high: number];
}

/** Independent Gaussian latents; the encoder gives means and log-variances, `[2 · latent]`. */
export function gaussianPosterior(options: GaussianPosteriorOptions = {}, ...surplus: never[]): Posterior {
  return posteriors.construct("gaussian", { options, surplus, usual: "logVarianceRange", operation: "gaussianPosterior" });
}

definePosterior<Gaussian>("gaussian", {
  ...gaussianBehaviour,
  parse: (options) => ({ kind: "gaussian", logVarianceRange: parseRange(options) }),
});

/** Options of the likelihood {@link gaussian}. */
export interface GaussianLikelihoodOptions {
  /**
   * The standard deviation σ: a number (default 1), `"learned"` for one learned σ (σ-VAE, Rybkin et al. 2021), `"perDimension"`
   * for a learned σ of every value, or `"predicted"` for a σ of every value that the decoder gives beside the mean.
   */
  readonly scale?: number | "learned" | "perDimension" | "predicted";
  /** What a learned σ cannot fall below; default 0.001. */
  readonly minimumScale?: number;
}

/** Independent Gaussian values; the decoder gives means, and log-variances where σ is predicted. */
export function gaussian(options: GaussianLikelihoodOptions = {}, ...surplus: never[]): Likelihood {
  return likelihoods.construct("gaussian", { options, surplus, usual: "scale" });
}

defineLikelihood<Gaussian>("gaussian", {
  ...gaussianBehaviour,
  parse: (options) => {
    const raw = options.raw("scale");
    const scale =
      typeof raw === "string"
        ? options.choice("scale", ["learned", "perDimension", "predicted"])
        : options.number("scale", { above: 0, maximum: 1e18 }, 1);
    const minimumScale = options.number("minimumScale", { minimum: 1e-18, maximum: 1 }, 1e-3);
    return { kind: "gaussian", scale, minimumScale };
  },
});

/** Independent standard normal latents. */
export function standardNormal(...surplus: never[]): Prior {
  return priors.construct("standardNormal", { surplus });
}

definePrior<Prior>("standardNormal", {
  parse: () => ({ kind: "standardNormal" }),
  distribution: (_, _head, { event, rows }) => {
    const shape = [rows, sizeOf(event)];
    const logDensity = (z: Tensor): Tensor => multiply(-0.5, add(square(z), LOG_2PI));
    return {
      family: "standardNormal",
      mean: broadcastTo(constantTensor(0), shape),
      standardDeviation: broadcastTo(constantTensor(1), shape),
      draw: (noise) => {
        const value = noise.normal(shape);
        return { value, logDensity: logDensity(value) };
      },
      logDensity,
    };
  },
});

/**
 * `x` within (low, high), with a gradient everywhere. A clamp has none outside: where data of a large scale had pushed a
 * log-variance beyond the bound, nothing brought it back. Softplus at both ends has one that falls like e^−|x|, which in float32
 * is 0 from a distance of 104 on, and an encoder of unscaled data gives thousands.
 *
 * With w a fifth of the range, c = x clamped to [low + w, high − w], and e = x − c what lies outside of that:
 *
 *     c + w · sign(e) · (1 − 1 / (1 + |e| / w))
 *
 * Inside e is 0 and this is x to the bit. Outside its slope is 1 / (1 + |e| / w)², 1 at the knee and 10⁻⁶ at x = 10⁴ for the
 * default range, which Adam takes like any other; it leaves float32 at |x| = 10¹⁹. Written as w · |e| / (w + |e|) the slope
 * would be a difference of two nearly equal numbers.
 */
function softlyBounded(x: Tensor, low: number, high: number): Tensor {
  const width = (high - low) / 5;
  const inside = clamp(x, low + width, high - width);
  const outside = multiply(1 / width, subtract(x, inside));
  const part = subtract(1, reciprocal(add(1, absolute(outside))));
  return add(inside, multiply(multiply(width, sign(outside)), part));
}
